"""Stage policies that make no sense, or are not the caller's to make, are refused, with the field that is wrong; and the command that makes them."""
import uuid
from types import SimpleNamespace

import grpc
import pytest

from support import facts, policies, questions, retention, score_models, stage_policies, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, Refusal
from support.stage_policies import (AS_OF, CREATE, DAY, DELETE, FIRST, GET, LIST, OF_EVERYBODY, POLICY, PREVIEW, PUBLISH, SERVICE, SHIPPED, Person,
                                    command, create, get, policy, preview, publish, restaged, rules_of, state, take_in, told, values, versions)

ABORTED = grpc.StatusCode.ABORTED
EXIT_FAILURE, EXIT_USAGE, EXIT_ABSENT, EXIT_DENIED = 1, 2, 3, 4
MOST = {"population_p80_days": 3_650, "new_days": 3_650, "new_orders": 1_000_000, "loyal_orders": 1_000_000, "dormant_factor": 100,
        "churned_factor": 1_000, "reactivated_days": 3_650, "decline_min_count": 1_000_000, "risk_warning_percent": 100}
LEAST = dict.fromkeys(MOST, 1) | {"dormant_factor": 2, "churned_factor": 3}
ALIVE = [f"{at}_below_alive_percent" for at in ("churned", "dormant", "at_risk")]
READERS = {"admin", "service", "support", "sales", "marketer", "analyst", "data-engineer"}
MAKERS = {"admin", "service", "analyst", "data-engineer"}


def version(**parameters):
    return {"parent": POLICY, "version": {"parameters": parameters}}


def named(refusal):
    """The one field that a refusal names."""
    [violation] = refusal.bad_request.field_violations
    return violation.field


# -- what a version is ----------------------------------------------------------------------------------------------------

# What is wrong with a request for a draft, and what the refusal names.
BAD_DRAFTS = {
    "no parent": ({"version": {}}, "parent"),
    "another policy": ({"parent": "stagePolicies/other", "version": {}}, "parent"),
    "a policy in capitals": ({"parent": "stagePolicies/Default", "version": {}}, "parent"),
    "a parent that is a version": ({"parent": FIRST, "version": {}}, "parent"),
    "a parent that ends in a slash": ({"parent": f"{POLICY}/", "version": {}}, "parent"),
    "no version": ({"parent": POLICY}, "version"),
    "a long description": ({"parent": POLICY, "version": {"description": "x" * 1_025}}, "version.description"),
    "a description of too many bytes": ({"parent": POLICY, "version": {"description": "七" * 342}}, "version.description"),
    "a description with a NUL": ({"parent": POLICY, "version": {"description": "a\0b"}}, "version.description"),
    "a description of two lines": ({"parent": POLICY, "version": {"description": "a\nb"}}, "version.description"),
    "a description that turns text around": ({"parent": POLICY, "version": {"description": "a\u202eb"}}, "version.description"),
    "a request id that is none": ({"parent": POLICY, "version": {}, "request_id": "1"}, "request_id"),
    "a request id in part": ({"parent": POLICY, "version": {}, "request_id": str(uuid.uuid4())[:-1]}, "request_id"),
    "dormant at once": (version(dormant_factor=1), "version.parameters.dormant_factor"),
    "churned as soon as dormant": (version(dormant_factor=3, churned_factor=3), "version.parameters.churned_factor"),
    "churned before dormant": (version(dormant_factor=5, churned_factor=3), "version.parameters.churned_factor"),
    "churned as soon as dormant in force": (version(churned_factor=2), "version.parameters.churned_factor"),
    "churned in force as soon as dormant": (version(dormant_factor=4), "version.parameters.churned_factor"),
    "churned in force before dormant": (version(dormant_factor=100), "version.parameters.churned_factor"),
    **{f"{name} of {value}": (version(**{name: value}), f"version.parameters.{name}")
       for name in MOST if name != "dormant_factor" for value in (0, -1, -2**31, 2**31 - 1)},
    **{f"{name} of {value}": (version(**{name: value}), f"version.parameters.{name}")
       for name in ALIVE for value in (-5, 1, 49, 101, 105, -2**31, 2**31 - 1)},
    "churned though dormant is less likely": (version(churned_below_alive_percent=25), "version.parameters.dormant_below_alive_percent"),
    "dormant though at risk is less likely": (version(dormant_below_alive_percent=55), "version.parameters.at_risk_below_alive_percent"),
    "at risk never, though dormant": (version(at_risk_below_alive_percent=0), "version.parameters.at_risk_below_alive_percent"),
    **{f"dormant after {factor}": (version(dormant_factor=factor, churned_factor=900), "version.parameters.dormant_factor")
       for factor in (0, -1, -2**31, 101, 2**31 - 1)},
    **{f"too many {name}": (version(**{name: most + 1}), f"version.parameters.{name}") for name, most in MOST.items() if name != "dormant_factor"},
}


@pytest.mark.parametrize("wrong", BAD_DRAFTS)
def a_draft_that_makes_no_sense_is_refused(admin, wrong):
    request, field = BAD_DRAFTS[wrong]
    before = policy(admin).latest_version
    assert named(admin.refused(CREATE, request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")) == field
    assert policy(admin).latest_version == before, "no number is given for it"


@pytest.mark.parametrize("bounds", [MOST | dict.fromkeys(ALIVE, 100), LEAST | dict.fromkeys(ALIVE, 0)])
def what_is_just_within_bounds_is_taken_and_can_be_in_force(fresh, bounds):
    admin = fresh.client("admin")
    bought = {"lead": [], "ann": [1], "bob": [500, 1], "cid": [300], "dan": [40, 30, 20, 10, 3, 2]}  # Days ago.
    people = take_in(admin, {key: Person(tuple((AS_OF - days * DAY, 100) for days in ago)) for key, ago in bought.items()})
    made = create(admin, description="x" * 1_024, **bounds)
    assert rules_of(made)._asdict() == bounds and len(made.description) == 1_024
    publish(admin, made.name)
    assert stage_policies.read(admin, people) == stage_policies.placed(people, AS_OF, rules_of(made))


def what_a_draft_is_not_asked_for_is_not_taken_from_it(fresh):
    admin = fresh.client("admin")
    said = {"name": f"{POLICY}/versions/9", "state": "STAGE_POLICY_STATE_PUBLISHED", "create_time": facts.text_of(AS_OF), "etag": "x",
            "publish_time": facts.text_of(AS_OF), "retire_time": facts.text_of(AS_OF)}
    made = admin.call(CREATE, {"parent": POLICY, "version": said})
    assert (made.name, state(made), rules_of(made)) == (f"{POLICY}/versions/2", "DRAFT", SHIPPED) and made.etag != "x"
    assert retention.instant_of(made.create_time) > AS_OF and not made.HasField("publish_time") and not made.HasField("retire_time")
    assert policy(admin).published.name == FIRST


def a_repeated_request_makes_one_version(fresh):
    admin, request = fresh.client("admin"), version(loyal_orders=9) | {"request_id": str(uuid.uuid4())}
    made = admin.call(CREATE, request)
    assert admin.call(CREATE, request) == made and len(versions(admin)) == 2
    for other in (version(loyal_orders=8), version(), {"version": {"parameters": {"loyal_orders": 9}, "description": "another"}}):
        admin.refused(CREATE, request | other).must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
    create(admin, new_days=3)
    assert admin.call(CREATE, request) == made and policy(admin).latest_version == 3
    fresh.kill()
    fresh.start()
    again = fresh.client("admin").call(CREATE, request)
    assert again.SerializeToString() == made.SerializeToString()


def a_policy_has_a_thousand_versions(fresh):
    admin = fresh.client("admin")
    for _ in range(999):
        last = create(admin)
    admin.refused(CREATE, version()).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    listed = versions(admin, page_size=100)
    assert [stage_policies.number(each.name) for each in listed] == list(range(1_000, 0, -1))
    page = admin.call(LIST, {"parent": POLICY, "page_size": 5_000})
    assert list(page.versions) == listed[:100] and page.next_page_token
    stage_policies.delete(admin, last.name)
    assert create(admin).name == f"{POLICY}/versions/1001"
    admin.refused(CREATE, version()).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


# -- names, pages and etags -----------------------------------------------------------------------------------------------

NO_VERSIONS = ["", "x", POLICY, f"{POLICY}/versions", f"{POLICY}/versions/", f"{POLICY}/versions/0", f"{POLICY}/versions/01", f"{POLICY}/versions/-1",
               f"{POLICY}/versions/+1", f"{POLICY}/versions/1/", f"{POLICY}/versions/1/x", f"{POLICY}/versions/ 1", f"{POLICY}/versions/one",
               f"{POLICY}/versions/{10 ** 30}", "stagePolicies//versions/1", "stagePolicies/Default/versions/1", "scoreModels/rfm/versions/1",
               f"/{FIRST}"]
NO_POLICIES = ["", "x", "default", "stagePolicies", "stagePolicies/", "stagePolicies/Default", f"{POLICY}/", f"{POLICY}/versions", FIRST]


@pytest.mark.parametrize("method", [GET, DELETE, PREVIEW, PUBLISH])
def a_name_that_is_no_versions_is_refused(admin, method):
    for name in NO_VERSIONS:
        assert named(admin.refused(method, {"name": name}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")) == "name", name
    for number in (987_654, 2**63 - 1):
        admin.refused(method, {"name": f"{POLICY}/versions/{number}"}).must_be(NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize("method, field", [(f"{SERVICE}/GetStagePolicy", "name"), (LIST, "parent")])
def a_name_that_is_no_policys_is_refused(admin, method, field):
    for name in NO_POLICIES:
        assert named(admin.refused(method, {field: name}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")) == field, name
    admin.refused(method, {field: "stagePolicies/other"}).must_be({INVALID_ARGUMENT, NOT_FOUND}, {"INVALID_FIELD", "NOT_FOUND"})


def a_page_that_is_none_is_refused(admin):
    create(admin)
    assert named(admin.refused(LIST, {"parent": POLICY, "page_size": -1}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")) == "page_size"
    token = admin.call(LIST, {"parent": POLICY, "page_size": 1}).next_page_token
    other = admin.call("StageService/ListRecords", {"page_size": 1}).next_page_token
    assert token and admin.call(LIST, {"parent": POLICY, "page_token": token}).versions
    for wrong in ("x", token[:-1], token + "A", *([other] if other else [])):
        refusal = admin.refused(LIST, {"parent": POLICY, "page_token": wrong}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
        assert named(refusal) == "page_token"


def a_draft_alone_is_deleted_and_its_number_is_not_given_again(fresh):
    admin = fresh.client("admin")
    second, third, fourth = (create(admin, new_days=days) for days in (10, 20, 30))
    for name in (second.name, fourth.name):
        stage_policies.delete(admin, name)
        for method in (GET, DELETE, PREVIEW, PUBLISH):
            admin.refused(method, {"name": name}).must_be(NOT_FOUND, "NOT_FOUND")
    assert [each.name for each in versions(admin)] == [third.name, FIRST] and policy(admin).latest_version == 4
    assert create(admin).name == f"{POLICY}/versions/5"
    publish(admin, third.name)
    publish(admin, f"{POLICY}/versions/5")
    for method in (DELETE, PUBLISH):
        for name in (FIRST, third.name, f"{POLICY}/versions/5"):
            admin.refused(method, {"name": name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert [state(each) for each in versions(admin)] == ["PUBLISHED", "RETIRED", "RETIRED"]


def what_is_known_of_a_draft_is_what_is_published_or_deleted(fresh):
    admin = fresh.client("admin")
    draft = create(admin, new_days=10)
    for method in (DELETE, PUBLISH):
        for etag in (f"{draft.etag}x", "x", get(admin, FIRST).etag):
            admin.refused(method, {"name": draft.name, "etag": etag}).must_be(ABORTED, "STALE_ETAG")
    assert get(admin, draft.name) == draft
    publish(admin, draft.name, etag=draft.etag)
    other = create(admin)
    stage_policies.delete(admin, other.name, etag=other.etag)
    assert [each.name for each in versions(admin)] == [draft.name, FIRST]


def a_publishing_is_an_operation_of_lifecycle_that_cannot_be_cancelled(fresh):
    admin = fresh.client("admin")
    draft = create(admin, loyal_orders=2)
    operation = stage_policies.begin_publishing(admin, draft.name)
    try:
        admin.call(stage_policies.operations(admin, "CancelOperation"), {"name": operation.name})
    except Refusal as refusal:  # Unless it is over already.
        refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert restaged(admin, operation).version == draft.name
    [listed] = questions.everything(admin, stage_policies.operations(admin, "ListOperations"), "operations", name="operations")
    told_of = stage_policies.metadata(admin, listed)
    assert (listed.name, listed.done, told_of.verb, told_of.target) == (operation.name, True, "PublishStagePolicyVersion", draft.name)
    admin.refused(stage_policies.operations(admin, "GetOperation"), {"name": "operations/987654"}).must_be(NOT_FOUND, "NOT_FOUND")
    admin.refused(score_models.operations(admin, "GetOperation"), {"name": operation.name}).must_be(NOT_FOUND, "NOT_FOUND")
    assert policy(admin).published.name == draft.name


def what_was_changed_is_on_record(fresh):
    admin = fresh.client("admin")
    first, second = create(admin), create(admin)
    publish(admin, first.name)
    stage_policies.delete(admin, second.name)
    admin.refused(PUBLISH, {"name": FIRST})
    method = fresh.api().method_on("lifecycle", "AuditService/ListAuditEvents")

    def ended():
        events = questions.everything(admin, method, "events", kind="AUDIT_KIND_CHANGE_ENDED", page_size=1_000)
        return sorted((each.method.split("/")[-1], each.outcome) for each in events if SERVICE in each.method)
    kinds = ["CreateStagePolicyVersion"] * 2 + ["DeleteStagePolicyVersion"] + ["PublishStagePolicyVersion"] * 2
    waiting.until(lambda: len(ended()) == 5, ended)
    assert ended() == sorted(zip(kinds, ["OK", "OK", "OK", "FAILED_PRECONDITION", "OK"]))


# -- who may --------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def town(shared):
    """Two customers, and clients of roles that do not see everybody's money."""
    admin = shared.client("admin")
    take_in(admin, {"ann": Person(((AS_OF - 9 * DAY, 70_000),)), "bob": Person(((AS_OF - 5 * DAY, 500),))})
    hidden = {"no-money": {"form": "MASK_FORM_REDACTED"}, "own-money": {"form": "MASK_FORM_CLEAR", "condition": "owner == caller.subject"}}
    policies.publish(admin, *(policies.role_like(admin, "admin", name, forms={"FINANCIAL": form}) for name, form in hidden.items()))
    return SimpleNamespace(suite=shared, admin=admin, poor=[policies.client_of(shared, name) for name in hidden])


@pytest.mark.parametrize("role", sorted(READERS | {"auditor"}))
def each_role_does_what_it_may_and_nothing_else(town, role):
    client, draft, gone = town.suite.client(role), create(town.admin), create(town.admin)
    requests = {f"{SERVICE}/GetStagePolicy": {"name": POLICY}, GET: {"name": draft.name}, LIST: {"parent": POLICY}, CREATE: version(),
                DELETE: {"name": gone.name}, PREVIEW: {"name": draft.name}, PUBLISH: {"name": draft.name}}
    for method, request in requests.items():
        may = READERS if method in (f"{SERVICE}/GetStagePolicy", GET, LIST) else MAKERS
        if role not in may:
            client.refused(method, request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
        elif method == PREVIEW:
            assert preview(client, draft.name).version == draft
        elif method == PUBLISH:
            assert restaged(client, client.call(method, request)).version == draft.name
        else:
            assert client.call(method, request).ByteSize() or method == DELETE
    assert (policy(town.admin).published.name == draft.name) == (role in MAKERS)


def who_does_not_read_everybodys_money_sees_who_moves_and_not_with_what(town):
    draft = create(town.admin, new_days=7)
    shown = preview(town.admin, draft.name)
    assert sum(facts.cents_of(each.revenue) for each in shown.moves) == 70_500
    for client in town.poor:
        hidden = preview(client, draft.name)
        assert not any(each.HasField("revenue") for each in hidden.moves)
        assert [(getattr(each, "from"), each.to, each.customers) for each in hidden.moves] == [
            (getattr(each, "from"), each.to, each.customers) for each in shown.moves]
        assert hidden.warnings == shown.warnings and hidden.population_p80_days == shown.population_p80_days
    rich = preview(town.suite.client("analyst"), draft.name)
    assert rich == shown


@pytest.mark.parametrize("method", OF_EVERYBODY)
def what_is_about_everybody_is_for_no_role_with_a_row_scope(town, method):
    others = [each for each in {*policies.TAKING_IN, *OF_EVERYBODY} if each != method]
    role = policies.role_like(town.admin, "service", "wide", without=others, row_scope="owner == caller.subject")
    place = next(place for place, each in enumerate(role["methods"]) if each.endswith(method))
    for asked in ("PreviewPolicy", "PublishPolicy"):
        refusal = town.admin.refused(f"PolicyService/{asked}", {"roles": [role]}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert named(refusal) == f"roles[0].methods[{place}]"
        assert "is about anybody" in refusal.bad_request.field_violations[0].description
    role["methods"].pop(place)
    town.admin.call("PolicyService/PreviewPolicy", {"roles": [role]})


# -- the command ----------------------------------------------------------------------------------------------------------

FLAGS = {"population-p80-days": 70, "new-days": 10, "new-orders": 4, "loyal-orders": 2, "dormant-factor": 3, "churned-factor": 5,
         "reactivated-days": 40, "decline-min-count": 6, "churned-below-alive-percent": 10, "dormant-below-alive-percent": 25,
         "at-risk-below-alive-percent": 60, "risk-warning-percent": 85}


def the_command_drafts_previews_and_publishes(fresh):
    admin = fresh.client("admin")
    [ann] = take_in(admin, {"ann": Person(((AS_OF - 30 * DAY, 123_456),))})
    assert FIRST in command(fresh, "show") and "119" in command(fresh, "show", "--as", "support")
    name = command(fresh, "draft", "--new-days", "7", "--description", "a week is new", "--as", "analyst").strip()
    assert name.endswith(f"{POLICY}/versions/2") and rules_of(get(admin, f"{POLICY}/versions/2")) == SHIPPED._replace(new_days=7)
    name = f"{POLICY}/versions/2"
    seen = command(fresh, "preview", name, "--as", "analyst").lower()
    assert all(word in seen for word in ("new", "active", "1,234.56", "silence", "complaint")), seen
    done = command(fresh, "publish", name, "--as", "data-engineer")
    assert name in done and "1 customer" in done and told(admin, ann)[-1][1:] == ("POLICY", "NEW", "ACTIVE")
    history = command(fresh, "history", "--as", "sales")
    assert history.index(name) < history.index(FIRST) and "a week is new" in history and "published" in history.lower()
    assert name in command(fresh, "show") and values(admin, ann).policy_version == name


def the_command_tells_programs_everything(fresh):
    admin = fresh.client("admin")
    take_in(admin, {"ann": Person(((AS_OF - 30 * DAY, 100),))})
    first = command(fresh, "show", "-o", "json")
    assert (first["name"], first["published"]["name"], first["published"]["parameters"]["populationP80Days"]) == (POLICY, FIRST, 119)
    made = command(fresh, "draft", *(part for flag, value in FLAGS.items() for part in (f"--{flag}", value)), "-o", "json")
    name = made["name"]
    assert rules_of(get(admin, name))._asdict() == {flag.replace("-", "_"): value for flag, value in FLAGS.items()}
    assert made["state"] == "STAGE_POLICY_STATE_DRAFT" and made["parameters"]["declineMinCount"] == 6
    seen = command(fresh, "preview", name, "-o", "json")
    assert (seen["changedCustomers"], len(seen["warnings"]), seen["moves"][0]["from"]) == ("1", 6, "STAGE_NEW")
    gone = command(fresh, "draft", "-o", "json")["name"]
    command(fresh, "delete", gone, "--as", "analyst")
    command(fresh, "publish", name, "-o", "json")
    listed = [(each["name"], each["state"].rsplit("_", 1)[-1]) for each in command(fresh, "history", "-o", "json")["versions"]]
    assert listed == [(name, "PUBLISHED"), (FIRST, "RETIRED")]
    assert command(fresh, "show", "-o", "json")["latestVersion"] == "3"


# How the command ends, and when.
ENDS = [
    *((EXIT_ABSENT, (verb, f"{POLICY}/versions/9")) for verb in ("preview", "publish", "delete")),
    (EXIT_USAGE, ("preview", "versions/2")), (EXIT_USAGE, ("publish", POLICY)), (EXIT_USAGE, ("delete", "2x")), (EXIT_USAGE, ("preview",)),
    (EXIT_USAGE, ("draft", "--new-days", "0")), (EXIT_USAGE, ("draft", "--new-days", "soon")), (EXIT_USAGE, ("draft", "--dormant-factor", "4")),
    (EXIT_USAGE, ("draft", "--loyal-orders", "1000001")), (EXIT_USAGE, ("draft", "--old-days", "4")), (EXIT_USAGE, ("draft", "--new-days", "-1")),
    (EXIT_USAGE, ("draft", "--description", "x" * 1_025)), (EXIT_FAILURE, ("publish", FIRST)), (EXIT_FAILURE, ("delete", FIRST)),
    (EXIT_DENIED, ("draft", "--as", "support")), (EXIT_DENIED, ("preview", FIRST, "--as", "marketer")),
    (EXIT_DENIED, ("publish", FIRST, "--as", "sales")), (EXIT_DENIED, ("delete", FIRST, "--as", "support")),
    (EXIT_DENIED, ("show", "--as", "auditor")), (EXIT_DENIED, ("history", "--as", "auditor"))]


def the_command_ends_as_others_do(fresh):
    admin = fresh.client("admin")
    draft = create(admin, new_days=9)
    for code, arguments in ENDS:
        assert command(fresh, *arguments, code=code), arguments
    assert get(admin, draft.name) == draft and policy(admin).latest_version == 2 and policy(admin).published.name == FIRST
