"""Whom a role does not reach is not there: not found, listed, counted, summed, streamed or told apart from nobody."""
import uuid
from types import SimpleNamespace

import pytest

from support import facts, field_forms, going_on, policies, questions, quintile, waiting
from support.reach import ABSENT, CUSTOMERS, LEAP_DAY, OF_ONE, OF_ONE_BY_EVERYTHING, REACHED, ROLES, orders_of
from support.reflection import authorization
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, UNAUTHENTICATED, Refusal
from support.watching import watch

COUNTED = "orders >= 1"


@pytest.fixture(scope="module")
def town(shared):
    """The customers with their orders, a segment, and a role that may do everything to its own customers."""
    admin = shared.client("admin")
    names = {}
    for customer, (owner, word, _) in CUSTOMERS.items():
        attributes = {"kind": "CUSTOMER_KIND_CUSTOMER", "region": "north"} | ({"owner": owner} if owner else {})
        names[customer] = admin.call("CustomerService/CreateCustomer", {
            "customer": {"identities": [facts.identity(customer)], "attributes": attributes, "birth_date": LEAP_DAY}}).name
        if word:
            admin.call("PrivacyService/SetConsent", {"name": names[customer], "purpose": "PURPOSE_MARKETING",
                                                     "state": f"CONSENT_STATE_{word}"})
    position = questions.take_in(admin, *orders_of()).facts_position
    segment = questions.save_segment(admin, "buyers", COUNTED)
    policies.publish(admin, policies.role_like(admin, "admin", "scoped", without=policies.TAKING_IN,
                                               row_scope="owner == caller.subject"))
    questions.wait_for(admin, position)
    clients = {"sales": shared.client("sales", subject="ann"), "marketer": shared.client("marketer"),
               "scoped": policies.client_of(shared, "scoped", "ann")}
    town = SimpleNamespace(suite=shared, admin=admin, names=names, segment=segment, clients=clients)
    waiting.until(lambda: all(population(town.clients[role]) == len(REACHED[role]) for role in ROLES),
                  "consents to reach segmentation")
    return town


def population(client):
    return questions.distribution(client).population


def reached(town, role):
    return {town.names[customer] for customer in REACHED[role]}


def foreign(town, role):
    return set(town.names.values()) - reached(town, role)


def number(name):
    return int(name.split("/")[1])


def in_order(names):
    return sorted(names, key=number)


@pytest.mark.parametrize("role", ROLES)
def whom_a_role_does_not_reach_is_answered_byte_by_byte_like_nobody(town, role):
    client = town.clients[role]
    for method, field, part in OF_ONE_BY_EVERYTHING if role == "scoped" else OF_ONE:
        nobody = client.refused(method, {field: ABSENT + part}).must_be(NOT_FOUND, "NOT_FOUND")
        for name in foreign(town, role):
            refusal = client.refused(method, {field: name + part})
            assert (refusal.answer, undated(refusal)) == (nobody.answer, undated(nobody)), (method, name)


def undated(refusal):
    return [(key, value) for key, value in refusal.trailers if key != "date"]


@pytest.mark.parametrize("role", ROLES)
def whom_a_role_reaches_is_answered_by_every_rpc_of_one_customer(town, role):
    client = town.clients[role]
    for name in reached(town, role):
        for method, field, part in OF_ONE:
            assert client.call(method, {field: name + part}).name == name + part
        profile = client.call("ProfileService/GetProfile", {"name": f"{name}/profile"})
        assert list(profile.missing_parts) == [] and profile.labels


@pytest.mark.parametrize("role", ["sales", "scoped"])
def whom_a_role_does_not_reach_is_not_changed_by_it_either(town, role):
    client = town.clients[role]
    changes = [{"attributes": {"owner": "ann"}}, {"attributes": {"language": "fr"}}, {"attributes": {"language": "fr"}, "etag": "x"}]
    for change in changes:
        mask = "attributes." + next(iter(change["attributes"]))
        ask = lambda name: client.refused("CustomerService/UpdateCustomer",  # noqa: E731
                                          {"customer": {"name": name} | change, "update_mask": mask})
        nobody = ask(ABSENT).must_be(NOT_FOUND, "NOT_FOUND")
        for name in foreign(town, role):
            assert ask(name).answer == nobody.answer
            customer = town.admin.call("CustomerService/GetCustomer", {"name": name})
            assert customer.attributes.owner != "ann" and customer.attributes.language == ""


def nothing_is_erased_restricted_or_consented_for_whom_a_role_does_not_reach(town):
    client = town.clients["scoped"]
    consent = {"purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN"}
    nobody = client.refused("PrivacyService/SetConsent", {"name": ABSENT} | consent).must_be(NOT_FOUND, "NOT_FOUND")
    for name in foreign(town, "scoped"):
        before = town.admin.call("PrivacyService/GetConsents", {"name": name})
        assert client.refused("PrivacyService/SetConsent", {"name": name} | consent).answer == nobody.answer
        assert town.admin.call("PrivacyService/GetConsents", {"name": name}) == before
        assert town.admin.call("CustomerService/GetCustomer", {"name": name}).name == name


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("page_size", [1, 2, 1000])
def lists_end_and_name_all_whom_a_role_reaches_and_nobody_else(town, role, page_size):
    client, expected = town.clients[role], in_order(reached(town, role))
    listed = questions.everything(client, "CustomerService/ListCustomers", "customers", page_size=page_size)
    assert [customer.name for customer in listed] == expected
    members = questions.everything(client, "SegmentService/ListMembers", "customers", parent=town.segment, page_size=page_size)
    assert members == [name for name in expected if is_buyer(town, name)]
    labelled = [name for parent in questions.labels(client).values() for name in questions.everything(
        client, "SegmentService/ListMembers", "customers", parent=parent, page_size=page_size)]
    assert in_order(labelled) == expected


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def a_birthday_is_that_of_those_whom_a_role_reaches(town, page_size):
    day = {"month": LEAP_DAY["month"], "day": LEAP_DAY["day"], "page_size": page_size}
    for client, those in ((town.clients["scoped"], reached(town, "scoped")), (town.admin, town.names.values())):
        assert questions.everything(client, "CustomerService/ListBirthdays", "customers", **day) == in_order(those)


@pytest.mark.parametrize("role", ["marketer", "scoped"])
def an_export_and_the_records_are_of_those_whom_a_role_reaches_and_name_nobody_else(town, role):
    client, expected = town.clients[role], in_order(reached(town, role))
    assert [customer.name for customer in questions.exported(client, "CUSTOMER")] == expected
    orders = {(fact.customer, fact.order.event_id) for fact in questions.exported(client, "ORDER")}
    assert orders == {(town.names[each], f"{each}-{n}") for each in REACHED[role] for n in range(len(CUSTOMERS[each][2]))}
    for page_size in (1, 2, 1000):
        records = questions.everything(client, "StageService/ListRecords", "records", page_size=page_size)
        assert [f"customers/{record.customer_id}" for record in records] == expected
        members = questions.everything(client, "SegmentService/ListMemberRecords", "records", parent=town.segment, page_size=page_size)
        assert [f"customers/{record.customer_id}" for record in members] == [name for name in expected if is_buyer(town, name)]


def is_buyer(town, name):
    customer = next(customer for customer, known in town.names.items() if known == name)
    return bool(CUSTOMERS[customer][2])


@pytest.mark.parametrize("role", ROLES)
def a_batch_or_a_check_leaves_out_whom_a_role_does_not_reach_as_it_leaves_out_nobody(town, role):
    client, asked = town.clients[role], [ABSENT, *in_order(town.names.values())]
    expected = in_order(reached(town, role))
    scores = client.call("ScoreService/BatchGetScores", {"names": [f"{name}/score" for name in asked]}).scores
    assert [score.name for score in scores] == [f"{name}/score" for name in expected]
    checked = client.call("SegmentService/CheckMembers", {"parent": town.segment, "customers": asked})
    assert list(checked.members) == [name for name in expected if is_buyer(town, name)]
    outside = [f"{name}/score" for name in foreign(town, role)]
    theirs = client.call("ScoreService/BatchGetScores", {"names": outside}).SerializeToString()
    assert theirs == client.call("ScoreService/BatchGetScores", {"names": [f"{ABSENT}/score"]}).SerializeToString()


@pytest.mark.parametrize("role", ROLES)
def counts_and_sums_are_those_of_the_customers_that_a_role_reaches(town, role):
    client, mine = town.clients[role], reached(town, role)
    stages, labels = {}, {}
    for name in mine:
        stages[questions.stage(town.admin, name)] = stages.get(questions.stage(town.admin, name), 0) + 1
        labels[questions.label(town.admin, name)] = labels.get(questions.label(town.admin, name), 0) + 1
    revenue = {name: facts.cents_of(questions.features(town.admin, name).net_revenue) for name in mine}
    funnel = client.call("StageService/GetFunnel").stages
    assert {questions.stage_name(row): row.customers for row in funnel if row.customers} == stages
    told = questions.distribution(client)
    assert {row.title: row.customers for row in told.labels if row.customers} == labels
    assert sum(facts.cents_of(row.net_revenue) for row in told.labels) == sum(revenue.values())
    buyers = {name for name in mine if is_buyer(town, name)}
    segment = client.call("SegmentService/GetSegment", {"name": town.segment})
    listed = [each for each in client.call("SegmentService/ListSegments").segments if each.name == town.segment]
    assert segment.members == len(buyers) and [each.members for each in listed] == [len(buyers)]


@pytest.mark.parametrize("role", ["marketer", "scoped"])
@pytest.mark.parametrize("expression", [
    COUNTED, "true", "false", 'owner == "bob"', 'owner != "ann"', "!has(owner)", 'segment("buyers")', '!segment("buyers")',
    "net_revenue >= 100", 'consent.marketing == "given"', "!has(consent.marketing)"])
def a_preview_counts_sums_and_samples_those_whom_a_role_reaches(town, role, expression):
    client, mine = town.clients[role], reached(town, role)
    everybody = questions.preview(town.admin, expression, sample_size=100)
    seen = questions.preview(client, expression, sample_size=100)
    expected = [name for name in everybody.sample if name in mine]
    revenue = sum(facts.cents_of(questions.features(town.admin, name).net_revenue) for name in expected)
    assert (seen.customers, seen.population, list(seen.sample)) == (len(expected), len(mine), expected)
    assert facts.cents_of(seen.net_revenue) == revenue


def what_takes_in_anybodys_facts_is_for_no_role_with_a_row_scope(town):
    for method in policies.TAKING_IN:
        role = policies.role_like(town.admin, "service", "wide", row_scope="owner == caller.subject")
        others = tuple(each for each in policies.TAKING_IN if each != method)
        role["methods"] = [each for each in role["methods"] if not each.endswith(others)]
        for asked in ("PreviewPolicy", "PublishPolicy"):
            refusal = town.admin.refused(f"PolicyService/{asked}", {"roles": [role]})
            refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")


def a_look_up_finds_nobody_whom_a_role_does_not_reach(town):
    client = town.clients["scoped"]
    ask = lambda customer: client.refused("CustomerService/LookupCustomer", {"identity": facts.identity(customer)})  # noqa: E731
    nobody = ask("who is that").must_be(NOT_FOUND, "NOT_FOUND")
    for customer in CUSTOMERS.keys() - REACHED["scoped"]:
        assert ask(customer).answer == nobody.answer
    assert questions.find(client, "ann-2") == town.names["ann-2"]


def a_contact_that_others_share_is_found_as_if_they_had_it_not(town):
    client = town.clients["scoped"]
    phones = {"ann-3": "+8613800000001", "bob-2": "+8613800000001", "none-2": "+8613800000002", "anna": "+8613800000002"}
    for customer, phone in phones.items():
        town.admin.call("CustomerService/UpdateCustomer", {
            "customer": {"name": town.names[customer], "phone": phone}, "update_mask": "phone"})
    refusal = town.admin.refused("CustomerService/LookupCustomer", {"phone": phones["ann-3"]})
    refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert client.call("CustomerService/LookupCustomer", {"phone": phones["ann-3"]}).name == town.names["ann-3"]
    theirs = client.refused("CustomerService/LookupCustomer", {"phone": phones["anna"]}).must_be(NOT_FOUND, "NOT_FOUND")
    assert theirs.answer == client.refused("CustomerService/LookupCustomer", {"phone": "+8613800000009"}).answer


@pytest.mark.parametrize("role", ["marketer", "scoped"])
def enters_and_exits_are_told_of_those_whom_a_role_reaches(town, role):
    segment_id = f"watched-by-{role}"
    with watch(town.clients[role], "SegmentService/WatchMemberships") as watcher, watch(
            town.admin, "SegmentService/WatchMemberships") as everybody:
        watcher.until_caught_up()
        everybody.until_caught_up()
        segment = questions.save_segment(town.admin, segment_id, COUNTED)
        everyone = {name for name in town.names.values() if is_buyer(town, name)}
        mine = {name for name in everyone if name in reached(town, role)}
        entered = lambda watched: {change.customer for change in watched.changes()  # noqa: E731
                                   if change.parent == segment and change.entered}
        everybody.until(lambda _said: entered(everybody) == everyone, "all to enter")
        watcher.until(lambda _said: entered(watcher) >= mine, "its own to enter")
        # By the exits that follow, every enter has been told.
        town.admin.call("SegmentService/DeleteSegment", {"name": segment})
        left = lambda: {change.customer for change in watcher.changes() if not change.entered}  # noqa: E731
        watcher.until(lambda _said: left() >= mine, "its own to leave")
        assert {change.customer for change in watcher.changes()} == mine

FEEDS = ["FeatureService/WatchFeatures", "ScoreService/WatchScores", "StageService/WatchStages"]


@pytest.mark.parametrize("method", FEEDS)
def a_feed_is_of_those_whom_a_role_reaches_and_names_nobody_else(town, method):
    with watch(town.clients["scoped"], method) as watcher:
        watcher.until_caught_up()
        said = list(watcher.responses)
    records = {f"customers/{record.customer_id}" for response in said for record in response.records}
    removed = {f"customers/{each}" for response in said for each in response.removed_customer_ids}
    assert records == reached(town, "scoped")
    assert removed & foreign(town, "scoped") == set(), "a feed tells of customers that are not there for its reader"


@pytest.mark.parametrize("method", FEEDS)
def a_feed_tells_who_comes_and_who_goes_and_nothing_of_what_the_others_do(town, method):
    admin = town.admin
    make = lambda owner: admin.call("CustomerService/CreateCustomer", {"customer": {  # noqa: E731
        "identities": [facts.identity(uuid.uuid4().hex)], "attributes": {"kind": "CUSTOMER_KIND_LEAD", "owner": owner}}})
    give = lambda name, owner: admin.call("CustomerService/UpdateCustomer", {  # noqa: E731
        "customer": {"name": name, "attributes": {"owner": owner}}, "update_mask": "attributes.owner"})
    with watch(town.clients["scoped"], method) as watcher, watch(admin, method) as everybody:
        watcher.until_caught_up()
        everybody.until_caught_up()
        begun = len(watcher.responses)
        recorded = lambda watched, name: any(record.customer_id == number(name) for said in list(watched.responses)  # noqa: E731
                                             for record in said.records)
        mover, stranger = make("bob"), make("bob")
        order = facts.order(stranger.identities[0].id, "e1")
        questions.take_in(admin, order)
        everybody.until(lambda _said: recorded(everybody, stranger.name) and recorded(everybody, mover.name), "both to be told")
        give(mover.name, "ann")
        watcher.until(lambda _said: recorded(watcher, mover.name), "the customer to come")
        give(mover.name, "")
        removed = lambda: {each for said in watcher.responses[begun:] for each in said.removed_customer_ids}  # noqa: E731
        watcher.until(lambda _said: number(mover.name) in removed(), "the customer to go")
        named = removed() | {record.customer_id for said in watcher.responses[begun:] for record in said.records}
    assert named & {number(stranger.name), *map(number, foreign(town, "scoped"))} == set()


def a_customer_that_is_given_away_leaves_a_role_and_one_that_is_given_to_it_comes(town):
    ann, bob = town.clients["sales"], town.suite.client("sales", subject="bob")
    customer = {"identities": [facts.identity("traveller")], "attributes": {"kind": "CUSTOMER_KIND_LEAD", "owner": "bob"}}
    name = town.admin.call("CustomerService/CreateCustomer", {"customer": customer}).name
    try:
        assert bob.call("CustomerService/GetCustomer", {"name": name}).attributes.owner == "bob"
        nobody = ann.refused("CustomerService/GetCustomer", {"name": name}).must_be(NOT_FOUND, "NOT_FOUND")
        bob.call("CustomerService/UpdateCustomer", {
            "customer": {"name": name, "attributes": {"owner": "ann"}}, "update_mask": "attributes.owner"})
        assert ann.call("CustomerService/GetCustomer", {"name": name}).name == name
        assert bob.refused("CustomerService/GetCustomer", {"name": name}).answer == nobody.answer
        for method, part in (("ScoreService/GetScore", "/score"), ("StageService/GetStage", "/stage"),
                             ("ProfileService/GetProfile", "/profile")):
            waiting.until(lambda: answers(ann, method, name + part), f"{method} to know whose the customer is")
            waiting.until(lambda: not answers(bob, method, name + part), f"{method} to know whose it was")
    finally:
        town.admin.call("CustomerService/UpdateCustomer", {
            "customer": {"name": name, "attributes": {}}, "update_mask": "attributes.owner"})
        waiting.until(lambda: population(ann) == len(REACHED["sales"]), "the customer to be nobody's again")


def answers(client, method, name):
    """Whether there is such a thing for a caller."""
    try:
        return client.call(method, {"name": name})
    except Refusal as refusal:
        refusal.must_be(NOT_FOUND, "NOT_FOUND")
        return None


@pytest.fixture(scope="module")
def other(town):
    """An administrator of another tenant with customers and definitions of its own."""
    town.admin.call("TenantService/CreateTenant", {"tenant_id": "elsewhere"})
    client = town.suite.client("admin", "elsewhere")
    waiting.until(lambda: policies.is_known(client), "every service to know the new tenant", policies.FORCE_SECONDS)
    # Numbers are counted by tenant: of so many, most are nobody's here.
    rows = [facts.order(f"there-{n}", f"event-{n}") for n in range(2 * len(CUSTOMERS))]
    position = waiting.until(lambda: taken_in(client, rows), "the new tenant to be served").facts_position
    for segment_id in ("their-buyers", "their-others"):
        questions.save_segment(client, segment_id, COUNTED)
    questions.wait_for(client, position)
    return client


def taken_in(client, rows):
    try:
        return questions.take_in(client, *rows)
    except Refusal as refusal:
        assert refusal.code.name == "UNAVAILABLE", refusal
        return None


def another_tenants_page_tokens_and_cursors_go_on_nowhere(town, other):
    there = SimpleNamespace(customer="customers/1")
    for client in (town.admin, other):
        rejected = facts.batch(*(facts.order("x", f"bad-{n}", cents=-1) for n in range(2)))
        assert len(client.call("IngestService/IngestBatch", rejected).rejects) == 2
    given = set()
    for method, field in going_on.methods(town.suite.api()).items():
        fields = going_on.request(there, method, field)
        mine, theirs = fields, fields
        if method in ("ChurnService/ListChurnRisks", "AttributeService/ReadAttributeValues"):  # Neither has a model, or has declared anything.
            continue
        if method in ("SegmentService/ListMembers", "SegmentService/ListMemberRecords"):
            mine, theirs = fields | {"parent": town.segment}, fields | {"parent": "segments/their-buyers"}
        token = going_on.first_token(other, method, field, theirs)
        if token:
            given.add(method.split("/")[1])
            town.admin.refused(method, mine | {field: token}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
    assert given >= {"ListCustomers", "ListRejects", "ListSegments", "ListMembers", "WatchFeatures", "WatchScores", "WatchStages",
                     "WatchMemberships"}


def a_page_token_of_somebody_who_reaches_more_shows_no_more(town):
    for method, field, besides in (("CustomerService/ListCustomers", "customers", {}),
                                   ("SegmentService/ListMembers", "customers", {"parent": town.segment})):
        token = town.admin.call(method, besides | {"page_size": 1}).next_page_token
        page = town.clients["sales"].call(method, besides | {"page_token": token})
        names = {getattr(each, "name", each) for each in getattr(page, field)}
        assert names and names < reached(town, "sales")


def another_tenants_customers_and_segments_are_nobody_in_every_place_of_a_request(town, other):
    own = town.names["ann-1"]
    theirs = {customer.name for customer in questions.everything(other, "CustomerService/ListCustomers", "customers")}
    theirs = sorted(theirs - {customer.name for customer in questions.everything(
        town.admin, "CustomerService/ListCustomers", "customers")})
    assert theirs
    for client in (town.admin, *town.clients.values()):
        answer = client.call("ScoreService/BatchGetScores", {"names": [f"{name}/score" for name in (*theirs, own)]})
        assert [score.name for score in answer.scores] == [f"{own}/score"]
        members = client.call("SegmentService/CheckMembers", {"parent": town.segment, "customers": [*theirs, own]}).members
        assert list(members) == [own]
    for expression in ('segment("their-buyers")', 'segment("their-buyers") || true', '!segment("their-others")'):
        absent = expression.replace("their-", "absent-")
        for method, build in (("PreviewSegment", lambda text: {"expression": text}), (
                "CreateSegment", lambda text: {"segment_id": "nested", "segment": {"expression": text}})):
            refusal = town.admin.refused(f"SegmentService/{method}", build(expression))
            refusal.must_be({INVALID_ARGUMENT, NOT_FOUND}, {"INVALID_EXPRESSION", "NOT_FOUND"})
            assert refusal.answer == town.admin.refused(f"SegmentService/{method}", build(absent)).answer
    check = {"parent": "segments/their-buyers", "customers": [own]}
    town.admin.refused("SegmentService/CheckMembers", check).must_be(NOT_FOUND, "NOT_FOUND")
    watched = {"parents": [town.segment, "segments/their-buyers"]}
    town.admin.refused("SegmentService/WatchMemberships", watched).must_be(NOT_FOUND, "NOT_FOUND")


def lists_of_another_tenant_hold_nothing_of_ours(town, other):
    """Of every RPC that lists, found by reflection, in a tenant that has nothing but what every tenant has."""
    town.admin.call("TenantService/CreateTenant", {"tenant_id": "empty"})
    client = town.suite.client("admin", "empty")
    waiting.until(lambda: policies.is_known(client), "every service to know the new tenant", policies.FORCE_SECONDS)
    # Shipped, of the installation, or refused where no model is in force.
    not_theirs = {"ListChurnRisks", "ListScoreModels", "ListScoreModelPresets", "ListStageFields", "ListStagePolicyVersions", "ListPlaybookTemplates",
                  "ListFields", "ListLabelSets", "ListSigningKeys", "ListKeyStates"}
    absent, present = going_on.for_lists(town.names["ann-1"], next(iter(questions.labels(client).values())))
    asked = set()
    for path, method in town.suite.api().methods.items():
        name = path.split("/")[1]
        if not name.startswith("List") or name in not_theirs or name.startswith("ListAudit"):
            continue
        asked.add(name)
        try:
            answer = client.call(path, (absent | present).get(name, {}))
        except Refusal as refusal:
            assert name in absent and refusal.must_be(NOT_FOUND, "NOT_FOUND"), (path, refusal)
            continue
        listed = [item for field in answer.DESCRIPTOR.fields if field.is_repeated for item in getattr(answer, field.name)]
        if name == "ListTenants":
            assert [tenant.name for tenant in listed] == ["tenants/empty"] and not any(each.pseudonym_key for each in listed)
        elif name == "ListCheckpoints":  # Of its own log.
            assert {checkpoint.tenant for checkpoint in listed} <= {"empty"}
        else:
            assert listed == [], path
    assert len(asked) >= 12


@pytest.mark.parametrize("port", quintile.PORTS)
def an_audit_log_is_of_one_tenant(town, other, port):
    listing = town.suite.api().method_on(port, "AuditService/ListAuditEvents")
    ours, theirs = ({(event.subject, event.role) for event in questions.everything(client, listing, "events", page_size=1000)}
                    for client in (town.admin, other))
    assert ours and {role for _, role in theirs} <= {"admin", "service", ""}
    assert {subject for subject, _ in theirs} & {"ann", "bob", "tess"} == set()


def a_policy_tells_a_caller_of_its_own_tenant_and_no_key(town, other):
    policies.publish(other, policies.role_like(other, "analyst", "theirs"))
    other.call("RevocationService/CreateRevocation", {"revocation": {"subject": "their-subject"}})
    their_service = town.suite.client("service", "elsewhere")
    for client, tenant in ((town.admin, "tenants/default"), (other, "tenants/elsewhere"), (their_service, "tenants/elsewhere")):
        policy = client.call("PolicyService/GetPolicy")
        assert [each.name for each in policy.tenants] == [tenant]
        assert not any(each.pseudonym_key for each in policy.tenants)
        assert {each.tenant for part in (policy.tenant_roles, policy.issuers, policy.revocations) for each in part} <= {tenant}
    assert "theirs" not in str(town.admin.call("PolicyService/GetPolicy"))
    refusal = town.admin.refused("TokenService/IssueToken", {"role": "theirs"})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert "service" not in {role.role for of in town.admin.call("PolicyService/GetPolicy").tenant_roles for role in of.roles}


def the_installations_own_affairs_are_for_the_tenant_that_runs_it(town, other):
    for method, request in (("TenantService/CreateTenant", {"tenant_id": "third"}), ("SigningKeyService/RotateSigningKey", {}),
                            ("SigningKeyService/ListSigningKeys", {}), ("MasterKeyService/RewrapKeys", {}),
                            ("MasterKeyService/ListKeyStates", {})):
        other.refused(method, request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    refusal = other.refused("TokenService/IssueToken", {"role": "admin", "tenant": "default"})
    refusal.must_be(PERMISSION_DENIED, "METHOD_DENIED")
    # Whether there is such a tenant is not told.
    assert refusal.answer == other.refused("TokenService/IssueToken", {"role": "admin", "tenant": "no-such-tenant"}).answer


def a_service_speaks_for_nobody_of_another_tenant(town, other):
    name = {"name": town.names["ann-1"]}
    theirs = town.suite.token("service", "elsewhere")
    for service, user in ((theirs, town.suite.token("admin")), (town.suite.token("service"), other.token)):
        metadata = (*authorization(service), ("x-quintile-on-behalf-of", f"Bearer {user}"))
        refusal = town.admin.refused("CustomerService/GetCustomer", name, metadata)
        refusal.must_be(UNAUTHENTICATED, "UNAUTHENTICATED")


def every_rpc_that_names_a_customer_in_its_request_is_asked_above(town):
    asked = {method for method, _, _ in OF_ONE_BY_EVERYTHING} | {"CustomerService/UpdateCustomer", "PrivacyService/SetConsent"}
    # Of services of the suite alone: what is erased is nobody's customer any more.
    exempt = {"ErasureService/GetErasureReceipt",
              # Of a reject, with something said of its end, by a model, with what is granted, and with a playbook: all_kinds_of_facts.py,
              # warnings_for_roles.py, playbook_tasks.py, churn_for_roles.py, offers.py, loyalty_tiers.py and enrolments.py ask about those of
              # customers out of reach.
              "IngestService/GetReject", "WarningService/ResolveWarning", "TaskService/CompleteTask", "ChurnService/GetChurnRisk",
              "OfferService/GrantOffer", "OfferService/RedeemGrant", "LoyaltyService/SetCustomerTier",
              "PlaybookService/EnrolCustomer"}
    methods = [(path, method) for path, method in town.suite.api().methods.items() if path.startswith("quintile.")]
    assert {path.split(".")[-1] for path, method in methods if field_forms.names_one_customer(method)} - exempt == asked
