"""What a customer is, beside who: places, circumstances, interests, and how the customer came."""
import subprocess
import uuid

import pytest

from support import facts, ingest_stream, questions, quintile
from support.refusals import INVALID_ARGUMENT

GIVEN = {
    "kind": "CUSTOMER_KIND_CONTACT", "owner": "sue", "region": "north", "country": "DE", "department": "retail", "language": "de",
    "currency": "EUR", "acquisition_channel": "search", "acquisition_campaign": "spring",
    "acquisition_date": {"year": 1996, "month": 2, "day": 29}, "gender": "diverse", "income_band": "30-50k",
    "household": "family with children", "interests": ["tea", "kites", "tea"], "values": ["thrift"]}
KEPT = GIVEN | {"interests": ["tea", "kites"]}
TEXTS = ("owner", "region", "department", "language", "acquisition_channel", "acquisition_campaign", "gender", "income_band",
         "household")


def person(customer, *, referrer=None, **attributes):
    referred = {"referrer": referrer} if referrer else {}
    return {"customer": {"identities": [facts.identity(customer)], "attributes": attributes, **referred}}


def get(client, name):
    return client.call("CustomerService/GetCustomer", {"name": name})


def camel(name):
    """A field's name as the JSON of a mask has it."""
    first, *others = name.split("_")
    return first + "".join(each.title() for each in others)


def attributes_of(client, name):
    """{attribute: value} of those that say something."""
    attributes = get(client, name).attributes
    plain = {field.name: getattr(attributes, field.name) for field, _ in attributes.ListFields()}
    if "acquisition_date" in plain:
        date = plain["acquisition_date"]
        plain["acquisition_date"] = {"year": date.year, "month": date.month, "day": date.day}
    if "kind" in plain:
        plain["kind"] = attributes.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[plain["kind"]].name
    return {key: list(value) if key in ("interests", "values") else value for key, value in plain.items()}


def all_of_them_are_kept_and_each_is_changed_by_its_name(admin, new):
    questions.take_in(admin, person(new, **GIVEN))
    name = questions.find(admin, new)
    assert attributes_of(admin, name) == KEPT
    kept = dict(KEPT)
    admin.call("CustomerService/UpdateCustomer", {"customer": {"name": name, "referrer": "friend 9"}, "update_mask": "referrer"})
    assert get(admin, name).referrer == "friend 9"
    for key, value in {"country": "FR", "interests": ["wine", "wine"], "acquisition_date": None, "gender": "", "household": None,
                       "currency": ""}.items():
        given = {"kind": KEPT["kind"]} | ({} if value is None else {key: value})
        admin.call("CustomerService/UpdateCustomer", {"customer": {"name": name, "attributes": given}, "update_mask": f"attributes.{camel(key)}"})
        kept.pop(key)
        kept |= {key: ["wine"] if key == "interests" else value} if value else {}
        assert attributes_of(admin, name) == kept


def a_row_changes_what_it_says_and_leaves_the_rest(admin, new):
    questions.take_in(admin, person(new, referrer="partner 7", **GIVEN))
    name = questions.find(admin, new)
    for said in ({"country": "FR"}, {"interests": ["wine"]}, {"kind": "CUSTOMER_KIND_LEAD"}):
        questions.take_in(admin, person(new, **said))
        kept = attributes_of(admin, name)
        assert kept == kept | said
    assert kept == KEPT | {"country": "FR", "interests": ["wine"], "kind": "CUSTOMER_KIND_LEAD"}
    assert get(admin, name).referrer == "partner 7"
    again = admin.call("IngestService/IngestBatch", facts.batch(person(new, country="FR"), person(new)))
    assert (again.applied, again.duplicates) == (0, 2)
    # Of whom nobody says what it is: a customer.
    questions.take_in(admin, person(f"{new}-2", country="FR"))
    assert attributes_of(admin, questions.find(admin, f"{new}-2")) == {"country": "FR", "kind": "CUSTOMER_KIND_CUSTOMER"}
    [reject] = admin.call("IngestService/IngestBatch", facts.batch(person(new, kind=77))).rejects
    assert reject.field == "customer.attributes.kind"


def of_equal_rows_of_a_new_customer_one_is_applied(admin, new):
    answer = admin.call("IngestService/IngestBatch", facts.batch(person(new, country="FR"), person(new, country="FR")))
    assert (answer.applied, answer.duplicates) == (1, 1)


def of_rows_of_one_batch_that_differ_the_last_holds_and_each_is_applied(admin, new):
    rows = [person(new, country="FR"), facts.order(new, "o"), person(new, country="DE"), person(new, country="FR")]
    answer = admin.call("IngestService/IngestBatch", facts.batch(*rows))
    assert (answer.applied, answer.duplicates) == (4, 0)
    assert attributes_of(admin, questions.find(admin, new))["country"] == "FR"
    # Two identities in a row have each batch of a commit taken in by itself.
    countries = ("DE", "IT", "DE", "ES", "PT", "ES")
    with ingest_stream.connection(admin, f"stream-{new}") as stream:
        for offset, country in enumerate(countries):
            row = person(new, country=country)
            row["customer"]["identities"].append(facts.identity(new, "crm"))
            stream.put(offset, [row])
        taken, acknowledged = 0, 0
        while acknowledged < len(countries):
            answer = stream.answer()
            taken, acknowledged = taken + answer.applied, answer.acked_offset
    assert taken == len(countries) and attributes_of(admin, questions.find(admin, new))["country"] == "ES"


def of_a_merged_customer_each_is_what_was_said_last_and_a_merge_taken_back_parts_them(admin, new):
    ids = f"{new}-1", f"{new}-2"
    said = ({"kind": "CUSTOMER_KIND_LEAD", "country": "DE", "interests": ["tea"], "values": ["thrift"], "gender": "male"},
            {"kind": "CUSTOMER_KIND_CUSTOMER", "country": "FR", "interests": ["wine"], "acquisition_date": GIVEN["acquisition_date"]})
    for customer, attributes in zip(ids, said, strict=True):
        questions.take_in(admin, person(customer, **attributes))
    first, second = (questions.find(admin, customer) for customer in ids)
    merged = admin.call("IdentityService/MergeCustomers", {"customer": first, "other": second})
    # The second said later what it said; of the rest, the first has not been contradicted.
    assert attributes_of(admin, first) == said[0] | said[1]
    again = admin.call("IngestService/IngestBatch", facts.batch(person(ids[1], **said[1])))
    assert (again.applied, again.duplicates) == (0, 1) and attributes_of(admin, first) == said[0] | said[1]
    admin.call("IdentityService/UnmergeCustomers", {"name": merged.name})
    assert [attributes_of(admin, name) for name in (first, second)] == list(said)


@pytest.mark.parametrize(("field", "value"), [
    *((name, "x" * 300) for name in TEXTS), *((name, "a\nb") for name in TEXTS),
    *(("country", value) for value in ("de", "DEU", "D1", "Deutschland", "ZZ")), *(("currency", value) for value in ("eur", "EURO", "XAU")),
    ("acquisition_date", {"year": 1995, "month": 2, "day": 29}), ("acquisition_date", {"year": 1996}),
    *(("acquisition_date", {"year": 1998, "month": 7, "day": day}) for day in (3, 31)),
    *((name, value) for name in ("interests", "values") for value in ([""], ["x" * 300], ["a\nb"], [str(n) for n in range(33)]))])
def one_that_cannot_be_is_refused_by_its_name_wherever_it_comes(admin, new, field, value):
    attributes = {"kind": "CUSTOMER_KIND_CUSTOMER", field: value}
    [reject] = admin.call("IngestService/IngestBatch", facts.batch(person(new, **attributes))).rejects
    assert reject.field.startswith(f"customer.attributes.{field}"), reject
    request = {"customer": {"identities": [facts.identity(new)], "attributes": attributes}, "request_id": str(uuid.uuid4())}
    refusal = admin.refused("CustomerService/CreateCustomer", request)
    refusal.must_be(INVALID_ARGUMENT, {"INVALID_FIELD", "INVALID_TEXT", "INVALID_MONEY"})
    assert refusal.bad_request.field_violations[0].field.startswith(f"customer.attributes.{field}"), refusal


def segments_ask_for_them(admin, new):
    """By a campaign that is this test's alone."""
    taken = questions.take_in(admin, person(f"{new}-1", **GIVEN | {"acquisition_campaign": new}),
                              person(f"{new}-2", kind="CUSTOMER_KIND_CUSTOMER", acquisition_campaign=new))
    questions.wait_for(admin, taken.facts_position, None)
    theirs = f'acquisition_campaign == "{new}" && '
    for rule in ('country == "DE"', 'currency == "EUR"', 'gender in ["diverse", "female"]', 'income_band == "30-50k"',
                 'household.startsWith("family")', 'acquired_at == timestamp("1996-02-29T00:00:00Z")', 'has(acquired_at)'):
        assert questions.preview(admin, theirs + rule).customers == 1, rule
        assert questions.preview(admin, f"{theirs}!({rule})").customers == 1, rule


def a_file_brings_them(shared, admin, new, tmp_path):
    (tmp_path / "people.csv").write_text(
        "id,country,since,likes,sex,money,home,friend\n"
        f"{new}-1,DE,29.02.1996,tea; kites;,diverse,EUR,alone,partner 7\n"
        f"{new}-2,,,,,,,\n"
        f"{new}-3,Germany,,,,,,\n", encoding="utf-8")
    mapping = tmp_path / "people.toml"
    mapping.write_text(f"""
        source = "{facts.SOURCE}"
        [[table]]
        customer_id = "id"
        [[table.customer]]
        attributes.kind = {{ constant = "customer" }}
        attributes.country = "country"
        attributes.acquisition_date = {{ column = "since", format = "%d.%m.%Y" }}
        attributes.interests = "likes"
        attributes.gender = "sex"
        attributes.currency = "money"
        attributes.household = "home"
        referrer = "friend"
    """, encoding="utf-8")
    done = subprocess.run(shared.command("import", tmp_path / "people.csv", "--mapping", mapping), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    plain = {"kind": "CUSTOMER_KIND_CUSTOMER"}
    name = questions.find(admin, f"{new}-1")
    assert get(admin, name).referrer == "partner 7"
    assert attributes_of(admin, name) == plain | {
        "country": "DE", "acquisition_date": {"year": 1996, "month": 2, "day": 29}, "interests": ["tea", "kites"], "gender": "diverse",
        "currency": "EUR", "household": "alone"}
    assert attributes_of(admin, questions.find(admin, f"{new}-2")) == plain
    assert "country" in done.stdout + done.stderr, "the line with a country that is none is told"


def a_file_that_says_one_attribute_leaves_the_others_and_lists_come_as_json_too(shared, admin, new, tmp_path):
    questions.take_in(admin, person(new, **GIVEN))
    (tmp_path / "people.csv").write_text(f'id,country,likes\n{new},FR,"[""wine; red"", ""tea""]"\n', encoding="utf-8")
    mapping = tmp_path / "people.toml"
    mapping.write_text(f"""
        source = "{facts.SOURCE}"
        [[table]]
        customer_id = "id"
        [[table.customer]]
        attributes.country = "country"
        attributes.interests = "likes"
    """, encoding="utf-8")
    done = subprocess.run(shared.command("import", tmp_path / "people.csv", "--mapping", mapping), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert attributes_of(admin, questions.find(admin, new)) == KEPT | {"country": "FR", "interests": ["wine; red", "tea"]}
    command = [quintile.binary(), "customer", "show", questions.find(admin, new).split("/")[1], "--data-dir", str(shared.data)]
    shown = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100).stdout
    assert all(text in shown for text in ("contact", "sue", "FR", "30-50k", "wine; red, tea", "search, spring, 1996-02-29")), shown
