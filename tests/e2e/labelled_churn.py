"""Models of who has left by an attribute: judged across folds as a witness judges them, put in force, and asked for whom they foretell what."""
import math
import uuid
from datetime import date
from types import SimpleNamespace

import pytest

from churn_trainings import days_on, looked_at, tried
from risks_in_records import in_records, settle
from support import churn, facts, labels, policies, questions, score_models, waiting
from support.churn import AS_OF, DAY, DRIFT, HORIZON, NAME, PUBLISH, RISK, RISKS, SAY, get, publish, retire, risk, risks, state
from support.labels import CLASSES, FEATURES, LABEL, LEFT, train
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, Refusal

SENSITIVITIES = {"NONE": 1, "FINANCIAL": 12, "DEMOGRAPHIC": 14}
REDACTED = {"form": "MASK_FORM_REDACTED"}


class Gym:
    """Members of a gym in a suite or tenant, with a model of who has left in force, and what the witness makes of them."""

    def __init__(self, admin):
        self.admin, self.people = admin, labels.members()
        self.names = labels.settle(admin, self.people)
        self.witness = labels.Judged(self.people)
        self.draft, self.model = train(admin), publish(admin, train(admin))

    def staying(self):
        """Those of whom nothing says that they have left."""
        return {self.names[key] for key, said in self.people.items() if said.get("churn") != LEFT}


@pytest.fixture(scope="module")
def gym(shared):
    gym = Gym(shared.client("admin"))
    gym.suite, admin = shared, gym.admin
    policies.publish(
        admin, policies.role_like(admin, "admin", "no-money", forms={"FINANCIAL": REDACTED}),
        policies.role_like(admin, "admin", "no-ages", forms={"DEMOGRAPHIC": REDACTED}),
        policies.role_like(admin, "admin", "scoped", without=policies.TAKING_IN, row_scope="owner == caller.subject"))
    gym.clients = {role: policies.client_of(shared, role, "ann") for role in ("no-money", "no-ages", "scoped")}
    return gym


@pytest.fixture
def club(shared, new):
    """The same in a tenant of the test's own."""
    return Gym(labels.tenant(shared, f"t{new}"))


def refused(client, **request):
    """The refusal of a training."""
    return client.refused(churn.TRAIN, request)


def day_of(told):
    return date(told.year, told.month, told.day)


def evaluation_of(model, method):
    [found] = [each.evaluation for each in model.candidates if score_models.enum_name(each, "method") == method]
    return found


# -- what a training tells ------------------------------------------------------------------------------------------------

def figures_are_those_of_the_folds_as_a_witness_has_them(gym):
    model, witness = gym.draft, gym.witness
    assert (model.horizon_days, model.sampled_one_in, list(model.features)) == (0, 1, FEATURES)
    assert (model.label.attribute, model.label.left_value, list(model.label.features)) == (LABEL, LEFT, FEATURES)
    assert not any(model.HasField(period) for period in ("fit", "calibration", "holdout"))
    known, left = len(witness.ids), sum(witness.labels)
    assert (model.evaluation.customers, model.evaluation.left, model.evaluation.folds) == (known, left, labels.FOLDS)
    found = evaluation_of(model, "LOGISTIC")
    assert found.area_under_curve == pytest.approx(witness.area(), abs=1e-9)
    assert found.brier == pytest.approx(witness.brier(), abs=1e-7)
    assert {score_models.enum_name(each, "method") for each in model.candidates} == {"LOGISTIC", "BOOSTING"}
    assert model.evaluation == max((each.evaluation for each in model.candidates), key=lambda each: each.area_under_curve)
    # What it is of is a regression.
    assert score_models.enum_name(model, "method") == "LOGISTIC" and model.better


def it_is_held_against_the_share_of_those_who_left(gym):
    [share] = gym.draft.baselines
    left = gym.witness.share()
    assert (share.baseline, share.evaluation.area_under_curve, share.better) == ("share", 0.5, True)
    assert share.evaluation.brier == pytest.approx(left * (1 - left), abs=1e-12)
    assert share.area_gained == pytest.approx(gym.witness.area() - 0.5, abs=1e-9)


def the_classes_of_attributes_are_told(gym):
    told = [CLASSES[name.split("/")[1]] for name in FEATURES]
    assert list(gym.draft.feature_sensitivities) == [SENSITIVITIES[name] for name in told] and gym.draft.label_sensitivity == 1


def the_last_whole_day_before_the_training_is_told(gym):
    assert day_of(gym.draft.label_date) == (AS_OF - DAY).date()


def what_drives_members_away_is_told(gym):
    drivers = {each.feature: each for each in gym.draft.drivers}
    assert drivers.keys() == set(FEATURES)
    assert drivers["attributes/visits"].direction < -0.9 and drivers["attributes/fee"].direction > 0.9
    levels = [each.level for each in drivers["attributes/plan"].levels]
    assert levels == ["month", "quarter", "year"]


def the_same_values_give_the_same_model(gym):
    again, first = churn.figures(train(gym.admin)), churn.figures(gym.draft)
    # But for the model in force, which it is held against now.
    assert [each.baseline for each in again.baselines] == ["share", gym.model.name]
    for model in (again, first):
        for field in ("baselines", "better"):
            model.ClearField(field)
    assert again == first


def a_repeated_request_for_a_label_begins_one_training(gym):
    request_id = str(uuid.uuid4())
    begun = {churn.begin_training(gym.admin, label=labels.label(), request_id=request_id).name for _ in range(2)}
    assert len(begun) == 1
    refused(gym.admin, label=labels.label(FEATURES[:2]), request_id=request_id).must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
    assert churn.trained(gym.admin, SimpleNamespace(name=begun.pop())).label == gym.draft.label


def the_command_trains_on_a_label_and_waits_for_it(gym):
    told = gym.suite.run("churn", "train", "--label", "churn", "--left-value", LEFT, "--features", "plan,attributes/visits")
    assert "churn = Yes" in told and "5 folds" in told
    assert list(churn.models(gym.admin)[0].label.features) == FEATURES[:2]


# -- risks ----------------------------------------------------------------------------------------------------------------

def risks_are_of_those_who_have_not_left(gym):
    found = risks(gym.admin, page_size=70)
    assert found.keys() == gym.staying()
    assert all(each.model == gym.model.name and each.horizon_days == 0 and not each.factors for each in found.values())
    least = sorted(each.risk for each in found.values())[len(found) // 2]
    assert risks(gym.admin, min_risk=least) == {name: each for name, each in found.items() if each.risk >= least}
    for key, said in list(gym.people.items())[:40]:
        if said.get("churn") == LEFT:
            refusal = gym.admin.refused(RISK, {"name": f"{gym.names[key]}/churnRisk"})
            refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
        else:
            assert risk(gym.admin, gym.names[key]).risk == found[gym.names[key]].risk


def a_risk_is_that_of_the_witness_and_factors_add_up(gym):
    of = gym.witness.model()
    values = [name.split("/")[1] for name in FEATURES]
    scores = {}
    for key, said in gym.people.items():
        if said.get("churn") == LEFT:
            continue
        found = risk(gym.admin, gym.names[key])
        assert found.risk == pytest.approx(of([said.get(name) for name in values]), abs=1e-7), key
        assert {each.feature for each in found.factors} == set(FEATURES)
        sizes = [abs(each.contribution) for each in found.factors]
        assert sizes == sorted(sizes, reverse=True)
        scores[found.base_log_odds + sum(each.contribution for each in found.factors)] = math.log(found.risk / (1 - found.risk))
    (low, of_low), *_, (high, of_high) = sorted(scores.items())
    slope = (of_high - of_low) / (high - low)
    assert all(of_one == pytest.approx(of_low + slope * (one - low), abs=1e-6) for one, of_one in scores.items()), "a line makes risks of them"


def values_that_tell_something_of_a_person_are_not_told_beside_what_they_add(gym):
    found = risk(gym.admin, gym.names["member-0"])
    factors, said = {each.feature: each for each in found.factors}, gym.people["member-0"]
    assert (factors["attributes/plan"].text, factors["attributes/visits"].number) == (said["plan"], float(said["visits"]))
    for hidden in ("attributes/fee", "attributes/age"):
        assert not factors[hidden].text and not factors[hidden].HasField("number")


def risks_follow_values_and_labels(club):
    admin = club.admin
    key = next(key for key, said in club.people.items() if said.get("churn") == "No" and said["plan"] == "year")
    before = risk(admin, club.names[key]).risk
    questions.take_in(admin, labels.row(key, {"plan": "month", "visits": "0"}))
    after = risk(admin, club.names[key])
    said = club.people[key] | {"plan": "month", "visits": "0"}
    assert after.risk > before
    assert after.risk == pytest.approx(club.witness.model()([said.get(name.split("/")[1]) for name in FEATURES]), abs=1e-7)
    # A number that is none is not known, and so is a plan that nobody had.
    questions.take_in(admin, labels.row(key, {"plan": "decade", "visits": "often"}))
    factors = {each.feature: each for each in risk(admin, club.names[key]).factors}
    assert not factors["attributes/visits"].HasField("number") and factors["attributes/plan"].text == "decade"
    questions.take_in(admin, labels.row(key, {"churn": LEFT}))
    admin.refused(RISK, {"name": f"{club.names[key]}/churnRisk"}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert risks(admin).keys() == club.staying() - {club.names[key]}
    newcomer = questions.take_in(admin, facts.customer("nobody-knows")).facts_position
    questions.wait_for(admin, newcomer)
    assert 0 < risk(admin, questions.find(admin, "nobody-knows")).risk < 1


def who_is_restricted_has_no_risk(club):
    name = sorted(club.staying())[0]
    questions.wait_for(club.admin, club.admin.call("PrivacyService/RestrictProcessing", {"name": name}).facts_position)
    club.admin.refused(RISK, {"name": f"{name}/churnRisk"}).must_be(NOT_FOUND, "NOT_FOUND")
    assert risks(club.admin).keys() == club.staying() - {name}


def drift_is_of_those_who_have_not_left(gym):
    found = churn.measure(gym.admin)
    assert (found.model, found.customers) == (gym.model.name, len(gym.staying()))
    assert abs(found.mean_risk_change) < 0.1


def an_attribute_that_is_declared_no_more_or_anew_ends_risks(club):
    admin, name = club.admin, f"{sorted(club.staying())[0]}/churnRisk"
    admin.call("AttributeService/DeleteAttribute", {"name": "attributes/fee"})
    for method, request in ((RISK, {"name": name}), (RISKS, {})):
        waiting.until(lambda: is_refused(admin, method, request, "attributes/fee is not declared any more"), "the declaration to be gone")
    labels.declare(admin, {"fee": "FINANCIAL"})
    waiting.until(lambda: not is_refused(admin, RISK, {"name": name}), "the declaration to be back")
    # Values that came under the other class are nobody's, and whoever went by what is left would be wrong: of the label as of a feature.
    for attribute, other, same in ((FEATURES[2], "NONE", "FINANCIAL"), (LABEL, "DEMOGRAPHIC", "NONE")):
        for sensitivity in (other, same):
            admin.call("AttributeService/DeleteAttribute", {"name": attribute})
            labels.declare(admin, {attribute.split("/")[1]: sensitivity})
            for method, request in ((RISK, {"name": name}), (RISKS, {})):
                assert is_refused(admin, method, request, f"{attribute} was declared anew") == (sensitivity == other)
            if sensitivity == other:
                questions.take_in(admin, labels.row("new", {attribute.split("/")[1]: LEFT}))
                assert is_refused(admin, RISKS, {}, f"{attribute} was declared anew")
                admin.refused(DRIFT).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def is_refused(client, method, request, problem=""):
    try:
        client.call(method, request)
        return False
    except Refusal as refusal:
        refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
        assert problem in refusal.message
        return True


# -- publishing -----------------------------------------------------------------------------------------------------------

def a_model_of_another_label_takes_the_place_of_one_that_was_retired(club):
    admin = club.admin
    other = train(admin, features=FEATURES[:2])
    assert [each.baseline for each in other.baselines] == ["share"] and other.better
    admin.refused(PUBLISH, {"name": other.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    # One of the same label was fitted to what it is compared by: nothing is better than it.
    same = train(admin)
    assert [(each.baseline, each.better) for each in same.baselines] == [("share", True), (club.model.name, False)] and not same.better
    retire(admin, get(admin, club.model.name))
    assert state(publish(admin, other)) == "PUBLISHED"
    assert risks(admin).keys() == club.staying()
    assert {each.feature for each in risk(admin, sorted(club.staying())[0]).factors} == set(FEATURES[:2])
    # And the first one again.
    assert state(publish(admin, get(admin, club.model.name))) == "PUBLISHED"


def a_label_that_nothing_tells_anything_of_gives_no_model(shared, new):
    admin = labels.tenant(shared, f"t{new}")
    people = {key: {"churn": said["churn"], "spare": str(number % 7)}
              for number, (key, said) in enumerate(labels.members().items()) if "churn" in said}
    labels.settle(admin, people)
    model = train(admin, features=["attributes/spare"])
    assert not model.better and 0.3 < model.evaluation.area_under_curve < 0.65
    admin.refused(PUBLISH, {"name": model.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def models_of_orders_and_of_labels_stand_beside_each_other(shared, new):
    tenant = f"t{new}"
    town = churn.settled(shared, churn.village(), tenant=tenant)
    labels.declare(town.admin)
    rows = [labels.row(key, said, source="gym") for key, said in labels.members().items()]
    questions.wait_for(town.admin, questions.take_in(town.admin, *rows).facts_position)
    of_orders, of_label = publish(town.admin, churn.train(town.admin, horizon_days=HORIZON)), train(town.admin)
    assert {score_models.enum_name(each, "method") for each in of_orders.candidates} == {"LOGISTIC", "BOOSTING"}
    assert of_orders.evaluation in [each.evaluation for each in of_orders.candidates] and of_orders.evaluation.folds == 0
    assert not of_orders.HasField("label_date")
    settle(town)
    in_force_of_orders = in_records(town.admin)
    assert len(in_force_of_orders) > 100
    assert [each.baseline for each in of_label.baselines] == ["share"]
    town.admin.refused(PUBLISH, {"name": of_label.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    retire(town.admin, of_orders)
    publish(town.admin, of_label)
    again = churn.train(town.admin, horizon_days=HORIZON)
    assert {"recency", "silence"} <= {each.baseline for each in again.baselines} <= {"recency", "silence", "p_alive"}
    assert set(town.names.values()) <= risks(town.admin, page_size=1_000).keys(), "of whom no label is known"
    # Records hold what follows from orders alone.
    settle(town)
    assert in_records(town.admin) == {}
    publish(town.admin, get(town.admin, of_orders.name))
    settle(town)
    assert in_records(town.admin) == in_force_of_orders


# -- by itself ------------------------------------------------------------------------------------------------------------

def a_model_of_a_label_that_has_become_old_is_trained_anew_for_the_same(fresh):
    gym = Gym(fresh.client("admin"))
    admin, before = gym.admin, gym.model
    said = churn.say(admin, 7, publish=True)
    assert (said.horizon_days, said.label) == (0, before.label)
    days_on(admin, 6)
    looked_at(admin)
    assert churn.schedule(admin) == said
    told = tried(admin, days_on(admin, 7))
    model = get(admin, told.last_model)
    assert (model.label, model.feature_sensitivities) == (before.label, before.feature_sensitivities)
    assert day_of(model.label_date) == (AS_OF + 6 * DAY).date()
    # It knows what the model in force was fitted to.
    assert [each.baseline for each in model.baselines] == ["share", before.name] and not model.better
    assert "better" in told.problem and state(get(admin, before.name)) == "PUBLISHED" and state(model) == "DRAFT"
    admin.call("AttributeService/DeleteAttribute", {"name": "attributes/fee"})
    waiting.until(lambda: is_refused(admin, RISKS, {}), "the declaration to be gone")
    told = tried(admin, days_on(admin, 14))
    assert told.last_model == "" and "attributes/fee is not declared any more" in told.problem


# -- roles ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", ["analyst", "data-engineer", "service"])
def who_trains_models_trains_them_on_labels(gym, role):
    assert train(gym.suite.client(role)).evaluation == gym.draft.evaluation


@pytest.mark.parametrize("role", ["support", "sales", "marketer", "auditor", "scoped"])
def who_does_not_train_models_trains_none_on_labels(gym, role):
    client = gym.clients[role] if role == "scoped" else gym.suite.client(role)
    refused(client, label=labels.label()).must_be(PERMISSION_DENIED, "METHOD_DENIED")


@pytest.mark.parametrize("role,field", [("no-money", "revenue"), ("no-ages", "label.features[3]")])
def who_does_not_read_an_attribute_in_clear_trains_and_publishes_nothing_of_it(gym, role, field):
    client = gym.clients[role]
    refusal = refused(client, label=labels.label())
    refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")
    assert field in refusal.message
    client.refused(PUBLISH, {"name": gym.draft.name}).must_be(PERMISSION_DENIED, "FIELD_DENIED")


def who_does_not_read_an_attribute_in_clear_says_no_schedule_of_it(gym):
    refusal = gym.clients["no-ages"].refused(SAY, {"schedule": {"name": NAME, "every_days": 7}})
    refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")
    assert "label.features[3]" in refusal.message and churn.schedule(gym.admin).every_days == 0


def who_does_not_read_ages_trains_on_what_else_there_is(gym):
    assert train(gym.clients["no-ages"], features=FEATURES[:3]).better
    refusal = refused(gym.clients["no-ages"], label=labels.label(attribute="attributes/age", left_value="50+", features=FEATURES[:3]))
    refusal.must_be(PERMISSION_DENIED, "FIELD_DENIED")
    assert "label.attribute" in refusal.message


@pytest.mark.parametrize("role,hidden", [("no-money", "attributes/fee"), ("no-ages", "attributes/age")])
def who_does_not_read_an_attribute_in_clear_sees_no_factors_or_drivers_of_it(gym, role, hidden):
    client = gym.clients[role]
    whole, seen = get(gym.admin, gym.model.name), get(client, gym.model.name)
    assert list(seen.drivers) == [each for each in whole.drivers if each.feature != hidden] and len(seen.drivers) < len(whole.drivers)
    assert risks(client) == risks(gym.admin)
    for name in sorted(gym.staying())[:20]:
        clear, masked = risk(gym.admin, name), risk(client, name)
        assert list(masked.factors) == [each for each in clear.factors if each.feature != hidden]


def who_reaches_some_sees_their_risks_and_no_figures(gym):
    client = gym.clients["scoped"]
    mine = {gym.names[key] for place, key in enumerate(gym.people) if labels.OWNERS[place % 3] == "ann"} & gym.staying()
    everybody = risks(gym.admin)
    assert risks(client, page_size=9) == {name: each for name, each in everybody.items() if name in mine}
    seen = get(client, gym.model.name)
    assert not seen.HasField("evaluation") and not seen.candidates and not seen.baselines and not seen.drivers
    others = sorted(gym.staying() - mine)[:5]
    for name in others:
        client.refused(RISK, {"name": f"{name}/churnRisk"}).must_be(NOT_FOUND, "NOT_FOUND")


def who_does_not_read_the_label_hears_of_no_risks(backend_of_ages):
    """That somebody has a risk says that it has not left."""
    admin, client, name = backend_of_ages
    for method, request in ((RISK, {"name": name}), (RISKS, {})):
        assert admin.call(method, request)
        client.refused(method, request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    client.refused(DRIFT).must_be(PERMISSION_DENIED, "FIELD_DENIED")


def who_does_not_read_the_label_hears_of_no_alarm(backend_of_ages):
    """What is measured by itself is told as it is to who asks."""
    admin, client, _ = backend_of_ages
    days_on(admin, 7)
    model = waiting.until(lambda: model if (model := get(admin, "churnModels/1")).drifts else None, "a measurement")
    assert list(model.drifts) == [churn.measure(admin)] and not model.drifts[0].problem
    for seen in (get(client, model.name), *churn.models(client)):
        assert seen.HasField("label") and not seen.drifts and not seen.HasField("drift_alarm_time")


@pytest.fixture
def backend_of_ages(fresh):
    """A suite whose model in force tells by a demographic attribute who has left: an administrator, one who does not read it, and a risk's name."""
    admin, people = fresh.client("admin"), labels.members()
    names = labels.settle(admin, people, CLASSES | {"churn": "DEMOGRAPHIC"})
    publish(admin, train(admin))
    policies.publish(admin, policies.role_like(admin, "admin", "no-ages", forms={"DEMOGRAPHIC": REDACTED}))
    name = next(names[key] for key, said in people.items() if said.get("churn") == "No")
    return admin, policies.client_of(fresh, "no-ages"), f"{name}/churnRisk"


# -- what is refused ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("changed,field", [
    ({"attribute": ""}, "label.attribute"), ({"attribute": "churn"}, "label.attribute"), ({"attribute": "attributes/none"}, "label.attribute"),
    ({"attribute": "attributes/Churn"}, "label.attribute"), ({"left_value": ""}, "label.left_value"), ({"left_value": "a\x07"}, "label.left_value"),
    ({"left_value": "x" * 1_025}, "label.left_value"), ({"features": []}, "label.features"),
    ({"features": [f"attributes/a{n}" for n in range(65)]}, "label.features"), ({"features": ["attributes/plan", "visits"]}, "label.features[1]"),
    ({"features": ["attributes/plan"] * 2}, "label.features[1]"), ({"features": [LABEL]}, "label.features[0]"),
    ({"features": ["attributes/plan", "attributes/none"]}, "label.features[1]"),
    ({"features": ["attributes/known-as"]}, "label.features[0]"), ({"attribute": "attributes/known-as"}, "label.attribute")],
    ids=[f"{n}" for n in range(15)])
def what_is_no_label_is_refused(gym, identifying, changed, field):
    refusal = refused(gym.admin, label=labels.label() | changed)
    refusal.must_be(INVALID_ARGUMENT, {"INVALID_FIELD", "INVALID_TEXT"})
    assert [each.field for each in refusal.bad_request.field_violations] == [field]


@pytest.fixture(scope="module")
def identifying(gym):
    """An attribute that may identify somebody: nobody learns from it."""
    labels.declare(gym.admin, {"known-as": "NAME"})


def a_horizon_does_not_go_with_a_label(gym):
    refusal = refused(gym.admin, label=labels.label(), horizon_days=90).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == ["horizon_days"]


@pytest.mark.parametrize("changed", [{"left_value": "yes"}, {"attribute": "attributes/spare"}])
def too_few_who_left_are_nothing_to_learn_from(gym, changed):
    failure = churn.train_failed(gym.admin, label=labels.label() | changed)
    failure.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert "10 of each" in failure.message


def nothing_is_moved_by_time(club):
    """Attributes are as they are now, whenever that is."""
    before = risks(club.admin)
    assert all(each.as_of.ToDatetime() == AS_OF.replace(tzinfo=None) for each in before.values())
    assert {name: each.risk for name, each in risks(club.admin).items()} == {name: each.risk for name, each in before.items()}
