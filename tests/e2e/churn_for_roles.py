"""Models of who will leave as roles may use them: who trains and who reads, whose risks, with which figures and without which money."""
import pytest

from support import churn, policies, questions, waiting
from support.churn import (AS_OF, DRIFT, FEATURES, GET, LIST, MONEY, OF_EVERYBODY, PUBLISH, RETIRE, RISK, RISKS, TRAIN, get, models, publish, risk,
                           risks, train)
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED

READERS = {"admin", "service", "support", "sales", "marketer", "analyst", "data-engineer"}
MAKERS = {"admin", "service", "analyst", "data-engineer"}
ROLES = sorted(READERS | {"auditor"})
REDACTED = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}
OWN = {"FINANCIAL": {"form": "MASK_FORM_CLEAR", "condition": "owner == caller.subject"}}
OF_ALL = ("fit", "calibration", "holdout", "evaluation")
ABSENT = "customers/987654"


@pytest.fixture(scope="module")
def town(backend):
    """A small shop with a model in force and a draft, and clients of roles: some reach their own customers only, some read no money."""
    with churn.company(backend, churn.village()) as town:
        admin = town.admin
        town.draft = train(admin)
        town.model = publish(admin, train(admin))
        town.risks = risks(admin, page_size=1_000)
        policies.publish(
            admin, policies.role_like(admin, "admin", "no-money", forms=REDACTED), policies.role_like(admin, "admin", "own-money", forms=OWN),
            policies.role_like(admin, "admin", "scoped", without=policies.TAKING_IN, row_scope="owner == caller.subject"))
        town.clients = {"sales": town.suite.client("sales", subject="ann"), "scoped": policies.client_of(town.suite, "scoped", "ann"),
                        "no-money": policies.client_of(town.suite, "no-money"), "own-money": policies.client_of(town.suite, "own-money", "ann")}
        yield town


def of(town, owner):
    """The names of those with a risk whom somebody looks after."""
    return {town.names[key] for key in churn.customers_at(town.orders, AS_OF) if town.people[key].owner == owner}


# -- who may call ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", ROLES)
def each_role_does_what_it_may_and_no_more(town, role):
    client = town.suite.client(role, subject=None if role == "service" else "ann")
    own = next(name for name in town.risks if name in of(town, "ann"))
    reads = {GET: {"name": town.model.name}, LIST: {}, RISKS: {"page_size": 5}, RISK: {"name": f"{own}/churnRisk"}}
    for method, request in reads.items():
        if role not in READERS:
            client.refused(method, request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
        elif role != "marketer" or method != RISK:  # Nobody has agreed to be written to.
            client.call(method, request)
    # Nothing is done by these: what is in force is published already, and a draft is not in force.
    for method, request in ((PUBLISH, {"name": town.model.name}), (RETIRE, {"name": town.draft.name})):
        refusal = client.refused(method, request)
        refusal.must_be(*((FAILED_PRECONDITION, "FAILED_PRECONDITION") if role in MAKERS else (PERMISSION_DENIED, "METHOD_DENIED")))
    if role in MAKERS:
        assert churn.figures(train(client)).evaluation == town.model.evaluation and churn.measure(client).model == town.model.name
    else:
        for method in (TRAIN, DRIFT):
            client.refused(method).must_be(PERMISSION_DENIED, "METHOD_DENIED")


@pytest.mark.parametrize("method", OF_EVERYBODY)
def what_is_about_everybody_is_for_no_role_with_a_row_scope(town, method):
    others = [each for each in policies.TAKING_IN if each != method]
    role = policies.role_like(town.admin, "admin", "wide", without=others, row_scope="owner == caller.subject")
    assert any(each.endswith(method) for each in role["methods"])
    for asked in ("PreviewPolicy", "PublishPolicy"):
        town.admin.refused(f"PolicyService/{asked}", {"roles": [role]}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")


# -- whose risks, which figures -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", ["sales", "scoped"])
def a_role_with_a_row_scope_sees_no_figures_of_everybody(town, role):
    client = town.clients[role]
    for model in (get(client, town.model.name), get(client, town.draft.name), *models(client)):
        assert not any(model.HasField(field) for field in OF_ALL) and not model.baselines and not model.drivers, model
        assert set(model.features) == FEATURES and model.method and model.horizon_days and model.etag and model.HasField("create_time")
    hidden, whole = get(client, town.model.name), get(town.admin, town.model.name)
    assert (hidden.name, hidden.state, hidden.better, hidden.etag) == (whole.name, whole.state, whole.better, whole.etag)
    assert whole.HasField("evaluation") and whole.drivers


@pytest.mark.parametrize("role", ["sales", "scoped"])
def a_role_with_a_row_scope_sees_the_risks_of_its_own_customers(town, role):
    client, mine = town.clients[role], of(town, "ann")
    expected = {name: each for name, each in town.risks.items() if name in mine}
    assert 50 < len(expected) == len(mine) < len(town.risks) - 50
    for size in (7, 1_000):
        assert risks(client, page_size=size) == expected
    least = sorted(each.risk for each in expected.values())[len(expected) // 2]
    assert risks(client, min_risk=least) == {name: each for name, each in expected.items() if each.risk >= least}
    absent = client.refused(RISK, {"name": f"{ABSENT}/churnRisk"}).must_be(NOT_FOUND, "NOT_FOUND")
    for name in list(town.risks)[::10]:
        if name in mine:
            assert risk(client, name).risk == town.risks[name].risk
        else:
            assert client.refused(RISK, {"name": f"{name}/churnRisk"}).answer == absent.answer
    # Nor is it told who has bought, but not for a year.
    old = {name for key, name in town.names.items() if town.people[key].owner == "bob"} - town.risks.keys()
    assert all(client.refused(RISK, {"name": f"{name}/churnRisk"}).answer == absent.answer for name in list(old)[:9])


def who_consents_is_reached_by_who_writes_to_customers(town):
    client, some = town.suite.client("marketer"), list(town.risks)[:3]
    assert risks(client) == {}
    for name in some:
        town.admin.call("PrivacyService/SetConsent", {"name": name, "purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN"})
    waiting.until(lambda: risks(client).keys() == set(some), "consents to reach lifecycle")
    assert risk(client, some[0]).risk == town.risks[some[0]].risk


# -- money ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", ["no-money", "own-money"])
def who_does_not_read_everybodys_money_trains_and_publishes_no_model(town, role):
    client, before = town.clients[role], churn.states(town.admin)
    client.refused(TRAIN).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    client.refused(PUBLISH, {"name": town.draft.name}).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    assert churn.states(town.admin) == before


def without_money(factors):
    return [each for each in factors if each.feature not in MONEY]


def who_reads_no_money_sees_no_factors_or_drivers_of_it(town):
    client = town.clients["no-money"]
    whole, hidden = get(town.admin, town.model.name), get(client, town.model.name)
    assert MONEY & {each.feature for each in whole.drivers}
    assert list(hidden.drivers) == without_money(whole.drivers)
    whole.ClearField("drivers")
    hidden.ClearField("drivers")
    assert hidden == whole
    assert risks(client, page_size=1_000) == town.risks
    shown = 0
    for name in list(town.risks)[::5]:
        clear, masked = risk(town.admin, name), risk(client, name)
        shown += len(clear.factors) - len(masked.factors)
        assert list(masked.factors) == without_money(clear.factors) and (masked.risk, masked.base_log_odds) == (clear.risk, clear.base_log_odds)
    assert shown > 0


def who_reads_the_money_of_some_sees_no_factors_of_it(town):
    """As what is told of one is learnt from all."""
    client = town.clients["own-money"]
    assert {name in of(town, "ann") for name in list(town.risks)[::10]} == {True, False}
    for name in list(town.risks)[::10]:
        assert list(risk(client, name).factors) == without_money(risk(town.admin, name).factors), name
    assert list(get(client, town.model.name).drivers) == without_money(get(town.admin, town.model.name).drivers)


def who_trained_and_published_is_on_record(town, new):
    subject = f"s-{new[:12]}"
    client = policies.client_of(town.suite, "admin", subject)
    train(client)
    for method, name in ((PUBLISH, town.model.name), (RETIRE, town.draft.name)):
        client.refused(method, {"name": name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    method = town.suite.api().method_on("lifecycle", "AuditService/ListAuditEvents")
    for kind in ("AUDIT_KIND_CHANGE_ASKED", "AUDIT_KIND_CHANGE_ENDED"):
        events = questions.everything(town.admin, method, "events", subject=subject, kind=kind, page_size=1_000)
        assert [each.method.split("/")[-1] for each in events] == ["TrainChurnModel", "PublishChurnModel", "RetireChurnModel"], kind
