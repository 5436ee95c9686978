"""Label sets as roles may use them: of the customers that they reach, without what they do not read in clear, and of their own tenant."""
import uuid
from types import SimpleNamespace

import pytest

from support import facts, label_sets, policies, questions, score_models, waiting
from support.label_sets import REST, name_of
from support.refusals import NOT_FOUND, PERMISSION_DENIED
from support.watching import watch

# Who looks after whom, what they say to marketing, and what they bought: (days ago, cents).
CUSTOMERS = {"ann-1": ("ann", "GIVEN", [(5, 9_000), (25, 8_000), (45, 7_000)]), "ann-2": ("ann", "OBJECTED", [(400, 1_100)]),
             "ann-3": ("ann", None, []), "bob-1": ("bob", "GIVEN", [(6, 9_100), (26, 8_100), (46, 7_100)]),
             "bob-2": ("bob", None, [(90, 2_300), (200, 2_400)]), "none-1": ("", "GIVEN", [(15, 70_000)])}
REACHED = {"sales": {"ann-1", "ann-2", "ann-3"}, "scoped": {"ann-1", "ann-2", "ann-3"}, "marketer": {"ann-1", "bob-1", "none-1"}}
BY_ORDERS = [("many", "orders >= 3", None), ("few", "orders >= 1", None)]
OTHERWISE = [("several", "orders >= 2", None), ("few", "orders >= 1", None)]
BY_MONEY = [("rich", "net_revenue >= 100", None), ("poor", "orders >= 1", None)]
HIDDEN_MONEY = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}


@pytest.fixture(scope="module")
def town(shared):
    """Customers of several colleagues, a set of orders with a draft, a set of money, and clients of the roles."""
    admin, names = shared.client("admin"), {}
    for customer, (owner, word, _) in CUSTOMERS.items():
        attributes = {"kind": "CUSTOMER_KIND_CUSTOMER"} | ({"owner": owner} if owner else {})
        names[customer] = admin.call("CustomerService/CreateCustomer", {
            "customer": {"identities": [facts.identity(customer)], "attributes": attributes}}).name
        if word:
            admin.call("PrivacyService/SetConsent", {"name": names[customer], "purpose": "PURPOSE_MARKETING", "state": f"CONSENT_STATE_{word}"})
    rows = [facts.order(customer, f"{customer}-{n}", *fact) for customer, (*_, history) in CUSTOMERS.items() for n, fact in enumerate(history)]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    label_sets.create(admin, "orders", BY_ORDERS)
    label_sets.draft(admin, "orders", OTHERWISE)
    label_sets.create(admin, "money", BY_MONEY)
    policies.publish(admin, policies.role_like(admin, "admin", "scoped", without=policies.TAKING_IN, row_scope="owner == caller.subject"),
                     policies.role_like(admin, "admin", "no-money", forms=HIDDEN_MONEY))
    clients = {"sales": shared.client("sales", subject="ann"), "marketer": shared.client("marketer"),
               "scoped": policies.client_of(shared, "scoped", "ann"), "no-money": policies.client_of(shared, "no-money")}
    waiting.until(lambda: all(questions.distribution(clients[role]).population == len(REACHED[role]) for role in REACHED),
                  "owners and consents to reach segmentation")
    return SimpleNamespace(suite=shared, admin=admin, names=names, clients=clients)


@pytest.fixture
def new():
    """The id of a set that no other test uses."""
    return f"s{uuid.uuid4().hex[:12]}"


def label_of(customer, rows):
    """The label of one of the customers by the number of its orders."""
    orders = len(CUSTOMERS[customer][2])
    return rows[0][0] if orders >= int(rows[0][1][-1]) else rows[1][0] if orders else REST


def cents_of(customer):
    return sum(cents for _, cents in CUSTOMERS[customer][2])


def told_of(town, customers, rows=None):
    """{label: (customers, cents)} of some customers."""
    rows = rows or BY_ORDERS
    people = {customer: {"revenue_cents": cents_of(customer)} for customer in customers}
    return label_sets.expected_distribution(people, {each: label_of(each, rows) for each in customers}, [rows[0][0], rows[1][0], REST])


@pytest.mark.parametrize("role", REACHED)
def a_role_with_a_row_scope_counts_lists_and_checks_its_own_customers(town, role):
    client, own = town.clients[role], REACHED[role]
    assert label_sets.distribution(client, "orders") == told_of(town, own)
    assert label_sets.distribution(town.admin, "orders") == told_of(town, CUSTOMERS)
    numbers = {customer: int(name.split("/")[1]) for customer, name in town.names.items()}
    assert label_sets.held(client, "orders") == {numbers[customer]: label_of(customer, BY_ORDERS) for customer in own}
    for label_id in ("many", "few", REST):
        assert label_sets.checked(client, "orders", label_id, numbers.values()) == {
            numbers[customer] for customer in own if label_of(customer, BY_ORDERS) == label_id}
    for customer, name in town.names.items():
        if customer in own:
            profile = client.call("ProfileService/GetProfile", {"name": f"{name}/profile"})
            assert name_of("orders", label_of(customer, BY_ORDERS)) in profile.labels
    for version in label_sets.versions(client, "orders"):
        assert version.moved <= len(own), "how many there are besides is not told"


def a_role_with_a_row_scope_sees_its_own_customers_move_in_a_preview_and_in_a_watch(town, new):
    client, own = town.clients["scoped"], REACHED["scoped"]
    people = {customer: {"revenue_cents": cents_of(customer)} for customer in own}
    before, after = ({customer: label_of(customer, rows) for customer in own} for rows in (BY_ORDERS, OTHERWISE))
    assert label_sets.matrix(label_sets.preview(client, "orders")) == label_sets.expected_matrix(people, before, after)
    with watch(client, "SegmentService/WatchMemberships") as watcher, watch(town.admin, "SegmentService/WatchMemberships") as of_all:
        watcher.until_caught_up()
        of_all.until_caught_up()
        label_sets.create(town.admin, new, BY_ORDERS)
        of_all.until(lambda _said: len(label_sets.changes_of(of_all, new)) == len(CUSTOMERS), "everybody to enter")
        watcher.until(lambda _said: len(label_sets.changes_of(watcher, new)) >= len(own), "their own to enter")
        label_sets.delete(town.admin, new)
        of_all.until(lambda _said: len(label_sets.changes_of(of_all, new)) == 2 * len(CUSTOMERS), "everybody to leave")
        watcher.until(lambda _said: len(label_sets.changes_of(watcher, new)) >= 2 * len(own), "their own to leave")
        assert {each.customer for each in watcher.changes()} == {town.names[customer] for customer in own}
    made = score_models.create_preset(town.admin, "rfm", "luxury")
    for role in ("marketer", "scoped", "sales"):
        refusal = town.clients[role].refused("LabelService/PreviewImpact", {"name": name_of("orders"), "score_model_version": made.name})
        refusal.must_be(PERMISSION_DENIED, "METHOD_DENIED")


OF_A_SET = [("LabelService/GetLabelSet", {"name": name_of("money")}), ("LabelService/GetLabelDistribution", {"name": name_of("money")}),
            ("LabelService/ListLabelSetVersions", {"parent": name_of("money")}),
            ("LabelService/UpdateLabelSet", label_sets.change("money", "description", description="x")),
            ("LabelService/DeleteLabelSet", {"name": name_of("money")}),
            ("LabelService/PreviewImpact", {"name": name_of("money"), "score_model_version": "scoreModels/rfm/versions/1"}),
            ("SegmentService/ListMembers", {"parent": name_of("money", "rich")}),
            ("SegmentService/CheckMembers", {"parent": name_of("money", REST), "customers": ["customers/1"]}),
            ("SegmentService/WatchMemberships", {"parents": [name_of("money", "poor")]}),
            ("SegmentService/PreviewSegment", {"expression": 'segment("money/rich")'}),
            ("SegmentService/PreviewSegment", {"expression": "orders >= 1", "overlap_parents": [name_of("money", "rich")]})]


@pytest.mark.parametrize("method,request_of", OF_A_SET, ids=[f"{n} {method.split('/')[1]}" for n, (method, _) in enumerate(OF_A_SET)])
def who_does_not_read_money_does_nothing_with_a_set_that_does(town, method, request_of):
    town.clients["no-money"].refused(method, request_of).must_be(PERMISSION_DENIED, "FIELD_DENIED")


def who_does_not_read_money_is_told_of_no_set_that_does_and_of_no_revenue(town):
    client = town.clients["no-money"]
    assert "money" not in label_sets.listed(client) and {"orders", "rfm-11"} <= set(label_sets.listed(client))
    told = client.call("LabelService/GetLabelDistribution", {"name": name_of("orders")})
    assert {label_sets.id_of(each.label): each.customers for each in told.labels} == {
        label: customers for label, (customers, _) in told_of(town, CUSTOMERS).items()}
    assert not any(each.HasField("net_revenue") for each in told.labels)
    seen = label_sets.preview(client, "orders")
    assert seen.moving_customers > 0 and not any(each.HasField("net_revenue") for each in seen.moves)
    made = score_models.create_preset(town.admin, "rfm", "luxury")  # Which reads revenue.
    refusal = client.refused("LabelService/PreviewImpact", {"name": name_of("orders"), "score_model_version": made.name})
    refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")
    for customer in CUSTOMERS:
        profile = client.call("ProfileService/GetProfile", {"name": f"{town.names[customer]}/profile"})
        assert sorted(each.split("/")[1] for each in profile.labels if each.split("/")[1] in ("orders", "money", "rfm-11")) == ["orders", "rfm-11"]
        changes = questions.everything(client, "ProfileService/ListMembershipChanges", "changes", parent=town.names[customer])
        assert changes and not any(each.parent.startswith(name_of("money")) for each in changes)
        assert all(each in town.admin.call("ProfileService/GetProfile", {"name": f"{town.names[customer]}/profile"}).labels
                   for each in profile.labels)


def who_does_not_read_money_makes_no_set_of_it_be_it_by_way_of_another(town, new):
    client = town.clients["no-money"]
    through = [("rich", 'segment("money/rich")', None)]
    for rows in (BY_MONEY, through, [("few", "orders >= 1", None), BY_MONEY[0]]):
        for draft_only in (False, True):
            refusal = client.refused("LabelService/CreateLabelSet", label_sets.creation(new, rows, draft_only=draft_only))
            refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")
        label_sets.create(client, new, BY_ORDERS)
        refusal = client.refused("LabelService/UpdateLabelSet", label_sets.change(new, "draft", draft=label_sets.rules(new, rows)))
        refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")
        label_sets.delete(client, new)
    # What is of scores of money is of no money.
    assert label_sets.create(client, new, [("rich", "rfm.m >= 4", None), ("others", "rfm.m < 4", None)]).proved_cells == 125


def a_draft_and_a_version_of_money_are_not_shown_to_who_does_not_read_it(town, new):
    client = town.clients["no-money"]
    label_sets.create(town.admin, new, BY_ORDERS)
    etag = label_sets.draft(town.admin, new, BY_MONEY).etag
    told = label_sets.get(client, new)
    assert not told.HasField("draft") and label_sets.ids(told.labels) == ["many", "few", REST]
    assert label_sets.distribution(town.admin, new) == told_of(town, CUSTOMERS)
    client.refused("LabelService/PreviewLabelSetDraft", {"name": name_of(new)}).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    client.refused("LabelService/PublishLabelSet", {"name": name_of(new), "etag": etag}).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    with watch(client, "SegmentService/WatchMemberships") as watcher, watch(town.admin, "SegmentService/WatchMemberships") as of_all:
        watcher.until_caught_up()
        of_all.until_caught_up()
        label_sets.publish(town.admin, new, etag)
        label_sets.draft(town.admin, new, OTHERWISE)
        label_sets.publish(town.admin, new)
        of_all.until(lambda _said: len({each[1] for each in label_sets.changes_of(of_all, new)}) >= 4, "both to be told")
        label_sets.create(town.admin, f"{new}-2", BY_ORDERS)
        watcher.until(lambda _said: len(label_sets.changes_of(watcher, f"{new}-2")) == len(CUSTOMERS), "what comes behind it")
        # Who entered and who left a label of money would be told by either change.
        assert label_sets.changes_of(watcher, new) == []
    assert [each.name.rsplit("/", 1)[1] for each in label_sets.versions(client, new)] == ["3", "1"]
    assert [each.name.rsplit("/", 1)[1] for each in label_sets.versions(town.admin, new)] == ["3", "2", "1"]
    # What is prepared alone is nothing to them.
    label_sets.create(town.admin, f"{new}-3", BY_MONEY, draft_only=True)
    assert f"{new}-3" not in label_sets.listed(client)
    client.refused("LabelService/GetLabelSet", {"name": name_of(f"{new}-3")}).must_be(PERMISSION_DENIED, "FIELD_DENIED")


CHANGING = [("CreateLabelSet", label_sets.creation("theirs", BY_ORDERS)), ("CreateLabelSet", {"label_set_id": "theirs", "preset": "rfm-8"}),
            ("UpdateLabelSet", label_sets.change("orders", "description", description="x")),
            ("PreviewLabelSetDraft", {"name": name_of("orders")}), ("PublishLabelSet", {"name": name_of("orders"), "etag": "x"}),
            ("DeleteLabelSet", {"name": name_of("orders")}),
            ("PreviewImpact", {"name": name_of("orders"), "score_model_version": "scoreModels/rfm/versions/1"})]


def who_talks_to_customers_reads_labels_and_changes_none(town):
    for client in (town.suite.client("support"), town.clients["sales"]):
        assert label_sets.get(client, "orders").version == 1 and "orders" in label_sets.listed(client)
        assert label_sets.distribution(client, "orders") and label_sets.versions(client, "orders")
        for method, request in CHANGING:
            client.refused(f"LabelService/{method}", request).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def who_audits_reads_no_labels(town):
    auditor = town.suite.client("auditor")
    reading = [(method, {"name": name_of("orders")}) for method in ("GetLabelSet", "GetLabelDistribution")]
    for method, request in [*CHANGING, *reading, ("ListLabelSets", {}), ("ListLabelSetVersions", {"parent": name_of("orders")})]:
        auditor.refused(f"LabelService/{method}", request).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def who_studies_customers_makes_sets_and_everybody_uses_them(town, new):
    analyst = town.suite.client("analyst")
    label_sets.create(analyst, new, BY_ORDERS, draft_only=True)
    label_sets.publish(analyst, new, label_sets.preview(analyst, new).etag)
    label_sets.update(analyst, new, "description", description="x")
    assert label_sets.distribution(town.suite.client("support"), new) == told_of(town, CUSTOMERS)
    label_sets.delete(analyst, new)


def what_is_done_to_a_set_is_audited_with_its_name(town, new):
    analyst = town.suite.client("analyst")
    label_sets.create(analyst, new, BY_ORDERS)
    label_sets.draft(analyst, new, OTHERWISE)
    analyst.refused("LabelService/PublishLabelSet", {"name": name_of(new), "etag": "x"})
    label_sets.publish(analyst, new)
    label_sets.delete(analyst, new)
    method = town.suite.api().method_on("segmentation", "AuditService/ListAuditEvents")
    told = questions.everything(town.admin, method, "events", kind="AUDIT_KIND_CHANGE_ENDED", page_size=1_000)
    assert [(each.method.split("/")[-1], each.outcome, each.role) for each in told if each.resource == name_of(new)] == [
        ("CreateLabelSet", "OK", "analyst"), ("UpdateLabelSet", "OK", "analyst"), ("PublishLabelSet", "ABORTED", "analyst"),
        ("PublishLabelSet", "OK", "analyst"), ("DeleteLabelSet", "OK", "analyst")]


def another_tenant_knows_nothing_of_a_set_and_has_the_one_that_ships(town, new):
    label_sets.create(town.admin, new, BY_ORDERS)
    tenant = f"labels-{new[:8]}"
    town.admin.call("TenantService/CreateTenant", {"tenant_id": tenant})
    other = town.suite.client("admin", tenant)
    waiting.until(lambda: policies.is_known(other), f"{tenant} to be known", policies.FORCE_SECONDS)
    assert label_sets.listed(other) == ["rfm-11"]
    for method, request in (("GetLabelSet", {"name": name_of(new)}), ("GetLabelDistribution", {"name": name_of(new)}),
                            ("UpdateLabelSet", label_sets.change(new, "description", description="x")),
                            ("PreviewLabelSetDraft", {"name": name_of(new)}), ("PublishLabelSet", {"name": name_of(new), "etag": "x"}),
                            ("ListLabelSetVersions", {"parent": name_of(new)}), ("DeleteLabelSet", {"name": name_of(new)})):
        absent = town.admin.refused(f"LabelService/{method}", swapped(request, new, "absent"))
        assert other.refused(f"LabelService/{method}", request).must_be(NOT_FOUND, "NOT_FOUND").answer == absent.answer, method
    label_sets.create(other, new, OTHERWISE)
    assert label_sets.distribution(other, new) == {"several": (0, 0), "few": (0, 0), REST: (0, 0)}
    assert label_sets.distribution(town.admin, new) == told_of(town, CUSTOMERS)


def swapped(request, old, new):
    """A request with another set in it."""
    if isinstance(request, dict):
        return {key: swapped(value, old, new) for key, value in request.items()}
    return request.replace(old, new) if isinstance(request, str) else request
