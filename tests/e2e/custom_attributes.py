"""Custom attributes: declared with a class, and seen by everybody as values of that class are; what is not declared is nobody's."""
import uuid

import grpc
import pytest

from support import canaries, facts, questions, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, Refusal
from support.rpc_cases import read_stream

PHONE, NATIONAL_PHONE = "+8613871657731", "13871657731"
PLATE, NOTE, SIZE = "苏D4X770", "asks for Mr Thistlewood", "XXL-7731"
CANARIES = canaries.Hidden(texts=(PLATE, NOTE, "Thistlewood", SIZE), digits=(NATIONAL_PHONE[-8:],))
OWNER = "ann-of-sales"
HIDDEN = "****"
CLASSES = {"phone": ("PHONE", PHONE), "plate": ("LICENSE_PLATE", PLATE), "note": ("FREE_TEXT", NOTE), "size": ("NONE", SIZE)}
ALL, HALF, NOTHING = [PHONE, PLATE, NOTE, SIZE], ["138****7731", "苏D4***0", NOTE, SIZE], [HIDDEN, HIDDEN, HIDDEN, SIZE]
SEEN = {"admin": ALL, "service": ALL, "support": HALF, "sales": [PHONE, "苏D4***0", NOTE, SIZE], "marketer": NOTHING,
        "analyst": NOTHING, "data-engineer": NOTHING}


def declare(client, attribute_id, sensitivity, **fields):
    attribute = {"sensitivity": f"SENSITIVITY_{sensitivity}"}
    return client.call("AttributeService/CreateAttribute", {"attribute_id": attribute_id, "attribute": attribute} | fields)


def take_back(client, attribute_id):
    client.call("AttributeService/DeleteAttribute", {"name": f"attributes/{attribute_id}"})


def custom(**values):
    """Values by key, as a request has them. A key's underscores stand for hyphens."""
    return {"custom_attributes": [{"key": key.replace("_", "-"), "text": text} for key, text in values.items()]}


def create(client, customer=None, **fields):
    request = {"customer": {"identities": [facts.identity(customer or uuid.uuid4().hex)]} | fields}
    return client.call("CustomerService/CreateCustomer", request).name


def replace(client, name, **values):
    request = {"customer": {"name": name} | custom(**values), "update_mask": "customAttributes"}
    return client.call("CustomerService/UpdateCustomer", request)


def get(client, name):
    return client.call("CustomerService/GetCustomer", {"name": name})


def texts(customer):
    return {each.key: each.text for each in customer.custom_attributes}


def export(client, name):
    call = client.start("PrivacyService/ExportPersonalData", [{"name": name}], seconds=waiting.SECONDS)
    return [part for part, _ in read_stream(call, lambda part: part.complete)]


def field_of(refusal):
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    return refusal.bad_request.field_violations[0].field


@pytest.fixture
def new():
    """The id of an attribute, and of a customer, that no other test uses."""
    return f"a{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def planted(shared):
    """A customer with a value of each of `CLASSES`, whom every role reaches."""
    admin = shared.client("admin")
    for key, (sensitivity, _) in CLASSES.items():
        declare(admin, key, sensitivity)
    values = custom(**{key: value for key, (_, value) in CLASSES.items()})
    name = create(admin, "planted", attributes={"kind": "CUSTOMER_KIND_CUSTOMER", "owner": OWNER}, **values)
    admin.call("PrivacyService/SetConsent",
               {"name": name, "purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN"})
    position = questions.take_in(admin, facts.order("planted", "e")).facts_position
    questions.wait_for(admin, position)
    return name


@pytest.mark.parametrize("role", SEEN)
def a_value_is_seen_by_every_role_as_values_of_its_class_are(shared, planted, role):
    client = shared.api().client(shared.token(role, subject=OWNER if role == "sales" else None))
    expected = dict(zip(CLASSES, SEEN[role]))
    listed = questions.everything(client, "CustomerService/ListCustomers", "customers")
    answers = [get(client, planted), next(each for each in listed if each.name == planted),
               client.call("ProfileService/GetProfile", {"name": f"{planted}/profile"}).customer]
    if role in ("admin", "support"):
        answers += [part.customer for part in export(client, planted) if part.HasField("customer")]
        answers.append(client.call("CustomerService/LookupCustomer", {"identity": facts.identity("planted")}))
    if role in ("admin", "service", "support", "sales"):
        answers.append(client.call("CustomerService/UpdateCustomer", {
            "customer": {"name": planted, "attributes": {"language": role}}, "update_mask": "attributes.language"}))
    for answer in answers:
        assert texts(answer) == expected
        classes = {each.key: type(answer.custom_attributes[0]).DESCRIPTOR.fields_by_name["sensitivity"].enum_type
                   .values_by_number[each.sensitivity].name for each in answer.custom_attributes}
        assert classes == {key: f"SENSITIVITY_{sensitivity}" for key, (sensitivity, _) in CLASSES.items()}


def an_attribute_that_is_not_declared_is_refused_wherever_it_comes(admin, new):
    name = create(admin)
    undeclared = custom(**{new: "x"})
    identities = {"identities": [facts.identity(new)]}
    assert field_of(admin.refused("CustomerService/CreateCustomer", {"customer": identities | undeclared})) == (
        "customer.custom_attributes[0].key")
    assert field_of(admin.refused("CustomerService/UpdateCustomer", {
        "customer": {"name": name} | undeclared, "update_mask": "customAttributes"})) == "customer.custom_attributes[0].key"
    answer = admin.call("IngestService/IngestBatch", facts.batch(
        facts.customer(f"{new}-1", **undeclared), facts.customer(f"{new}-2")))
    assert (answer.applied, [(each.row, each.field) for each in answer.rejects]) == (
        1, [(0, "customer.custom_attributes[0].key")])
    assert new not in answer.rejects[0].message
    declare(admin, new, "NAME")
    assert texts(replace(admin, name, **{new: "x"})) == {new: "x"}


def what_a_client_says_of_a_class_counts_for_nothing(admin, shared, new):
    declare(admin, new, "PHONE")
    claimed = {"key": new, "text": PHONE, "sensitivity": "SENSITIVITY_NONE"}
    refused = facts.customer(f"{new}-1", custom_attributes=[claimed], phone="no phone")
    answer = admin.call("IngestService/IngestBatch", facts.batch(
        facts.customer(f"{new}-1", custom_attributes=[claimed]), refused))
    assert (answer.applied, len(answer.rejects)) == (1, 1)
    name = questions.find(admin, f"{new}-1")
    support = shared.client("support")
    assert texts(get(support, name)) == {new: "138****7731"}
    rejects = [reject for part in export(support, name) for reject in part.rejects]
    assert [texts(reject.customer) for reject in rejects] == [{new: "138****7731"}]


def rows_replace_the_values_of_their_keys_and_an_update_replaces_all(admin, new):
    keys = [f"{new[:20]}{n}" for n in range(3)]
    for key in keys:
        declare(admin, key, "DEMOGRAPHIC")
    questions.take_in(admin, facts.customer(new, **custom(**{keys[0]: "a", keys[1]: "b"})))
    questions.take_in(admin, facts.customer(new, **custom(**{keys[1]: "B", keys[2]: "c"})))
    questions.take_in(admin, facts.customer(new, display_name="Somebody"))
    name = questions.find(admin, new)
    assert texts(get(admin, name)) == {keys[0]: "a", keys[1]: "B", keys[2]: "c"}
    again = admin.call("IngestService/IngestBatch", facts.batch(facts.customer(new, **custom(**{keys[1]: "B"}))))
    assert (again.applied, again.duplicates) == (0, 1)
    assert texts(replace(admin, name, **{keys[2]: "C"})) == {keys[2]: "C"}
    assert texts(replace(admin, name)) == texts(get(admin, name)) == {}


def a_customer_has_at_most_thirty_two_custom_attributes(shared):
    tenant = f"many-{uuid.uuid4().hex[:8]}"
    shared.client("admin").call("TenantService/CreateTenant", {"tenant_id": tenant})
    admin = shared.client("admin", tenant)
    keys = [f"k{n:03}" for n in range(200)]
    waiting.until(lambda: known(admin), "the new tenant to be known")
    for key in keys:
        declare(admin, key, "NONE")
    refusal = admin.refused("AttributeService/CreateAttribute", {
        "attribute_id": "one-more", "attribute": {"sensitivity": "SENSITIVITY_NONE"}})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    listed = questions.everything(admin, "AttributeService/ListAttributes", "attributes", page_size=70)
    assert [each.name for each in listed] == [f"attributes/{key}" for key in keys]
    values = dict.fromkeys(keys[:32], "v")
    questions.take_in(admin, facts.customer("many", **custom(**values)))
    answer = admin.call("IngestService/IngestBatch", facts.batch(
        facts.customer("many", **custom(**{keys[32]: "v"})), facts.customer("many", **custom(**{keys[0]: "w"}))))
    assert (answer.applied, [(each.row, each.field) for each in answer.rejects]) == (1, [(0, "customer.custom_attributes")])
    assert texts(get(admin, questions.find(admin, "many"))) == values | {keys[0]: "w"}
    # Those that are not declared any more make room.
    take_back(admin, keys[1])
    questions.take_in(admin, facts.customer("many", **custom(**{keys[32]: "v"})))
    values.pop(keys[1])
    assert texts(get(admin, questions.find(admin, "many"))) == values | {keys[0]: "w", keys[32]: "v"}
    too_many = facts.customer("more", **custom(**dict.fromkeys(keys[2:35], "v")))
    assert [each.field for each in admin.call("IngestService/IngestBatch", facts.batch(too_many)).rejects] == [
        "customer.custom_attributes"]


def known(client):
    """Whether ingestion has heard of the client's tenant."""
    try:
        client.call("AttributeService/ListAttributes")
        return True
    except Refusal as refusal:
        assert refusal.code.name in ("UNAUTHENTICATED", "UNAVAILABLE", "NOT_FOUND"), refusal
        return False


def what_is_not_declared_any_more_is_hidden_from_everybody_and_leaves(admin, shared, new):
    kept = f"kept-{new[:20]}"
    declare(admin, new, "PHONE")
    declare(admin, kept, "NONE")
    name = create(admin, new, **custom(**{new: PHONE, kept: "k"}))
    take_back(admin, new)
    for role in ("admin", "service", "support", "analyst"):
        client = shared.client(role)
        assert texts(get(client, name)) == {new: HIDDEN, kept: "k"}, role
    # Declared with a class that hides less, it does not show what came under another.
    declare(admin, new, "NONE")
    for answer in (get(admin, name), *(part.customer for part in export(admin, name) if part.HasField("customer"))):
        assert texts(answer) == {new: HIDDEN, kept: "k"}
    assert {each.key: each.sensitivity for each in get(admin, name).custom_attributes} == {new: 0, kept: 1}
    admin.call("PrivacyService/SetConsent", {"name": name, "purpose": "PURPOSE_ANALYTICS", "state": "CONSENT_STATE_GIVEN"})
    assert texts(get(admin, name)) == {kept: "k"}
    take_back(admin, new)
    declare(admin, new, "PHONE")
    assert texts(get(admin, name)) == {kept: "k"}
    assert texts(replace(admin, name, **{new: PHONE})) == {new: PHONE}


def a_declaration_is_made_once_read_and_taken_back(admin, shared, new):
    request_id = str(uuid.uuid4())
    made = declare(admin, new, "EMAIL", request_id=request_id)
    assert made == declare(admin, new, "EMAIL", request_id=request_id)
    assert (made.name, made.sensitivity, made.HasField("create_time"), bool(made.etag)) == (f"attributes/{new}", 4, True, True)
    order = {"attribute_id": new, "attribute": {"sensitivity": "SENSITIVITY_NAME"}}
    admin.refused("AttributeService/CreateAttribute", order | {"request_id": request_id}).must_be(
        FAILED_PRECONDITION, "BODY_CONFLICT")
    admin.refused("AttributeService/CreateAttribute", order).must_be(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    for role in ("service", "support", "sales", "marketer", "analyst", "data-engineer"):
        client = shared.client(role)
        assert client.call("AttributeService/GetAttribute", {"name": made.name}) == made
        assert made in client.call("AttributeService/ListAttributes", {"page_size": 200}).attributes
        if role != "data-engineer":
            for method, request in [("CreateAttribute", order), ("DeleteAttribute", {"name": made.name})]:
                client.refused(f"AttributeService/{method}", request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    stale = {"name": made.name, "etag": '"1"'}
    admin.refused("AttributeService/DeleteAttribute", stale).must_be(grpc.StatusCode.ABORTED, "STALE_ETAG")
    admin.call("AttributeService/DeleteAttribute", {"name": made.name, "etag": made.etag})
    for method in ("GetAttribute", "DeleteAttribute"):
        admin.refused(f"AttributeService/{method}", {"name": made.name}).must_be(NOT_FOUND, "NOT_FOUND")
    engineer = shared.client("data-engineer")
    assert declare(engineer, new, "NAME").etag != made.etag
    take_back(engineer, new)


@pytest.mark.parametrize("request_fields,field", [
    ({"attribute": {"sensitivity": "SENSITIVITY_NAME"}}, "attribute_id"),
    ({"attribute_id": "Upper", "attribute": {"sensitivity": "SENSITIVITY_NAME"}}, "attribute_id"),
    ({"attribute_id": "x" * 64, "attribute": {"sensitivity": "SENSITIVITY_NAME"}}, "attribute_id"),
    ({"attribute_id": "x"}, "attribute"),
    ({"attribute_id": "x", "attribute": {}}, "attribute.sensitivity"),
    ({"attribute_id": "x", "attribute": {"sensitivity": 99}}, "attribute.sensitivity"),
    ({"attribute_id": "x", "attribute": {"sensitivity": "SENSITIVITY_NAME", "description": "x" * 1025}}, "attribute.description"),
    ({"attribute_id": "x", "attribute": {"sensitivity": "SENSITIVITY_NAME"}, "request_id": "1"}, "request_id")],
    ids=[f"{n}" for n in range(8)])
def a_declaration_that_is_not_whole_is_refused(admin, request_fields, field):
    assert field_of(admin.refused("AttributeService/CreateAttribute", request_fields)) == field


def no_file_no_table_and_no_log_holds_a_custom_attribute_in_clear(fresh):
    admin = fresh.client("admin")
    for key, (sensitivity, _) in CLASSES.items():
        declare(admin, key, sensitivity)
    values = custom(**{key: value for key, (_, value) in CLASSES.items()})
    name = create(admin, "planted", **values)
    answer = admin.call("IngestService/IngestBatch", facts.batch(
        facts.customer("in-bulk", **values), facts.customer("refused", phone="no phone", **values)))
    assert (answer.applied, len(answer.rejects)) == (1, 1)
    refused = {"customer": {"name": name} | custom(undeclared=NOTE), "update_mask": "customAttributes"}
    refusal = admin.refused("CustomerService/UpdateCustomer", refused)
    assert canaries.found_in_refusal(refusal, CANARIES) == []
    assert set(canaries.found_in_message(get(admin, name), CANARIES)) == {*CANARIES.texts, *CANARIES.digits}
    export(admin, name)
    places = dict(fresh.at_rest())
    assert len(places) >= 6, places.keys()
    assert {place: found for place, data in places.items() if (found := canaries.found_in_bytes(data, CANARIES))} == {}
    assert canaries.found_in_json_log(fresh.log.read_text(errors="replace"), CANARIES) == []
