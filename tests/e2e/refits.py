"""Models that are fitted anew by themselves when they have become old: when, as what, and what is said of it."""
from datetime import date, timedelta
from types import SimpleNamespace

import grpc
import pytest

from support import facts, policies, questions, recommendations, score_models, value_models, waiting
from support.recommendations import plain
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, PERMISSION_DENIED

ABORTED = grpc.StatusCode.ABORTED
SERVICE = "RefitService"
KINDS = ("valueModels", "recommendationModels")
OTHER = dict(zip(KINDS, reversed(KINDS)))
PUBLISHING = {"valueModels": "ValueModelService", "recommendationModels": "RecommendationModelService"}
LISTING = {kind: f"{service}/List{service.removesuffix('Service')}s" for kind, service in PUBLISHING.items()}
# Business time of the last whole day that a model has seen which is fitted at first.
SEEN = facts.AS_OF - timedelta(days=1)


def schedule(client, kind):
    return client.call(f"{SERVICE}/GetRefitSchedule", {"name": f"refitSchedules/{kind}"})


def say(client, kind, every_days, **fields):
    """Says when models of a kind are fitted anew."""
    said = {"name": f"refitSchedules/{kind}", "every_days": every_days} | fields
    return client.call(f"{SERVICE}/UpdateRefitSchedule", {"schedule": said})


def models(client, kind):
    """{name: state} of the models of a kind."""
    listed = client.call(LISTING[kind], {"page_size": 100}).models
    return {model.name: score_models.enum_name(model, "state") for model in listed}


def get(client, kind, name):
    """A model of a kind."""
    return client.call(f"{PUBLISHING[kind]}/Get{PUBLISHING[kind].removesuffix('Service')}", {"name": name})


def attempted(of):
    """The last whole day of the last attempt; None: there was none."""
    told = of.last_attempt_date
    return date(told.year, told.month, told.day) if of.HasField("last_attempt_date") else None


def days_on(client, days):
    """Moves business time so many days on from the first one, and returns the last whole day."""
    questions.set_clock(client, facts.AS_OF + timedelta(days=days))
    return (SEEN + timedelta(days=days)).date()


def tried(client, kind, day):
    """The schedule once an attempt has been made on a day."""
    return waiting.until(lambda: schedule(client, kind) if attempted(schedule(client, kind)) == day else None,
                         lambda: f"an attempt on {day}: {schedule(client, kind)}")


def looked_at(client, kind, days):
    """Moves business time on twice, to that many days and one before, and waits until the other kind has been fitted each time: each kind
    is looked at in turn, so this one has been looked at in between."""
    other = OTHER[kind]
    say(client, other, 1)
    for each in (days - 1, days):
        tried(client, other, days_on(client, each))
    say(client, other, 0)


# -- a shop with a model of each kind -------------------------------------------------------------------------------------

def pairs():
    """Customers who bought the same two products, one after the other: some before what is held out, others then."""
    yield from (plain(f"p{number}", 60 + number, "ale", "bread") for number in range(8))
    yield from (plain(f"s{number}", 40, "ale") for number in range(4))
    yield from (plain(f"q{number}", days, product) for number in range(4) for days, product in ((50, "ale"), (9 + number, "bread")))


def open_shop(suite, orders, **request):
    """Models of both kinds, of orders and of customers of CDNOW, in force."""
    admin = suite.client("admin")
    bought = score_models.rows_of(score_models.purchases_of(0, 300))
    questions.take_in(admin, *bought)
    recommendations.take_in(admin, *orders)
    value_models.publish(admin, value_models.fit(admin, holdout_days=91))
    recommendations.put_in_force(admin, **request)
    return admin


@pytest.fixture
def admin(fresh):
    return open_shop(fresh, pairs())


@pytest.mark.parametrize("kind", KINDS)
def a_model_that_has_become_old_is_fitted_anew_as_a_draft(admin, kind):
    first = schedule(admin, kind)
    assert (first.name, first.every_days, first.publish, first.last_model, first.problem, attempted(first)) == (
        f"refitSchedules/{kind}", 0, False, "", "", None)
    said = say(admin, kind, 10, etag=first.etag)
    assert (said.every_days, said.publish, attempted(said)) == (10, False, None) and said.etag != first.etag
    assert schedule(admin, kind) == said
    looked_at(admin, kind, 9)
    assert schedule(admin, kind) == said and models(admin, kind) == {f"{kind}/1": "PUBLISHED"}
    told = tried(admin, kind, days_on(admin, 10))
    assert (told.last_model, told.problem, told.every_days) == (f"{kind}/2", "", 10) and told.etag != said.etag
    assert models(admin, kind) == {f"{kind}/1": "PUBLISHED", f"{kind}/2": "DRAFT"}
    # Not again, before as many days have passed since.
    looked_at(admin, kind, 19)
    assert schedule(admin, kind) == told and len(models(admin, kind)) == 2
    assert tried(admin, kind, days_on(admin, 20)).last_model == f"{kind}/3"


def a_refit_is_made_as_the_model_in_force_was(fresh):
    orders = [*pairs(), plain("long ago", 300, "ale", "cake")]
    admin = open_shop(fresh, orders, terms={"history_days": 120, "min_customers": 3}, holdout_days=20)
    terms = {"gross_margin_percent": 40, "months": 7}
    asked = {"terms": terms, "holdout_days": 100, "dropout": "DROPOUT_KIND_AFTER_EVERY_PURCHASE"}
    value_models.publish(admin, value_models.fit(admin, **asked))
    for kind in KINDS:
        say(admin, kind, 5)
    day = days_on(admin, 5)
    value, recommended = (get(admin, kind, tried(admin, kind, day).last_model) for kind in KINDS)
    # Held out is half of what the model in force has not seen.
    assert (value.terms.gross_margin_percent, value.terms.months, value.holdout.days) == (40, 7, 2)
    assert score_models.enum_name(value, "dropout") == "AFTER_EVERY_PURCHASE" and value.holdout.in_force_model == "valueModels/2"
    assert (recommended.terms.history_days, recommended.terms.min_customers, recommended.products) == (120, 3, 2)
    assert recommended.holdout_problem
    assert policies.as_dict(value.purchases.end_date) == policies.as_dict(recommended.end_date) == facts.date_of(day)


def a_refit_that_is_not_worse_is_put_in_force(admin):
    kind = "recommendationModels"
    say(admin, kind, 7, publish=True)
    days_on(admin, 6)
    # In days that neither model will have seen.
    recommendations.take_in(admin, *(plain(f"s{number}", -5, "bread") for number in range(4)), as_of=facts.AS_OF + timedelta(days=6))
    told = tried(admin, kind, days_on(admin, 7))
    assert (told.last_model, told.problem, told.publish) == (f"{kind}/2", "", True)
    assert models(admin, kind) == {f"{kind}/1": "RETIRED", f"{kind}/2": "PUBLISHED"}
    assert recommendations.relate(admin, "ale").model == f"{kind}/2"
    holdout = get(admin, kind, told.last_model).holdout
    assert (holdout.days, holdout.customers, holdout.in_force.recall_at_10, holdout.accuracy.recall_at_10) == (3, 4, 1, 1)
    # The one that is in force now is seven days old in seven days.
    looked_at(admin, kind, 13)
    assert schedule(admin, kind) == told
    assert tried(admin, kind, days_on(admin, 14)).last_model == f"{kind}/3"


def a_refit_that_is_not_compared_is_not_put_in_force(fresh):
    """So long after anybody bought nobody buys in the days that are held out."""
    kind = "recommendationModels"
    admin = open_shop(fresh, pairs())
    say(admin, kind, 400, publish=True)
    told = tried(admin, kind, days_on(admin, 400))
    assert (told.last_model, "not compared" in told.problem) == (f"{kind}/2", True)
    assert models(admin, kind) == {f"{kind}/1": "PUBLISHED", f"{kind}/2": "DRAFT"}


def a_refit_of_lifetime_value_that_is_judged_by_nothing_bought_is_not_put_in_force(admin):
    """Nobody has bought anything since: whoever expects least is right, and it tells nothing."""
    kind = "valueModels"
    say(admin, kind, 30, publish=True)
    told = tried(admin, kind, days_on(admin, 30))
    draft = get(admin, kind, told.last_model)
    assert (draft.holdout.in_force_model, draft.holdout.nobody_buys.rmse) == (f"{kind}/1", 0)
    assert "not compared" in told.problem and "nothing was bought" in told.problem and "worse" not in told.problem
    assert models(admin, kind) == {f"{kind}/1": "PUBLISHED", f"{kind}/2": "DRAFT"}
    unseen = {"name": draft.name, "unless_worse": True}
    admin.refused("ValueModelService/PublishValueModel", unseen).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert value_models.publish(admin, draft).name == draft.name, "who has seen it may"


def a_refit_of_lifetime_value_is_put_in_force_as_far_as_it_foretells(admin):
    kind = "valueModels"
    say(admin, kind, 30, publish=True)
    days_on(admin, 29)
    # Some buy again in the days that are held out.
    later = (facts.AS_OF + timedelta(days=20)).date()
    rows = [facts.cdnow_order(source_id, 1_000, later, 2_000) for source_id in list(score_models.purchases_of(0, 300))[::5]]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position, facts.AS_OF + timedelta(days=29))
    told = tried(admin, kind, days_on(admin, 30))
    holdout = get(admin, kind, told.last_model).holdout
    worse = holdout.accuracy.rmse > 1.02 * holdout.in_force.rmse
    assert holdout.nobody_buys.rmse > 0 and "not compared" not in told.problem
    assert (holdout.in_force_model, told.problem != "", "foretold worse" in told.problem) == (f"{kind}/1", worse, worse)
    assert models(admin, kind) == {f"{kind}/1": "PUBLISHED" if worse else "RETIRED", f"{kind}/2": "DRAFT" if worse else "PUBLISHED"}


def a_model_that_was_retired_is_neither_fitted_anew_nor_replaced(admin):
    """Another one that is published later is."""
    kind = "valueModels"
    said = say(admin, kind, 10, publish=True)
    admin.call("ValueModelService/RetireValueModel", {"name": f"{kind}/1"})
    looked_at(admin, kind, 30)
    assert schedule(admin, kind) == said and models(admin, kind) == {f"{kind}/1": "RETIRED"}
    value_models.publish(admin, value_models.fit(admin, holdout_days=30))
    assert tried(admin, kind, days_on(admin, 40)).last_model == f"{kind}/3"


def a_model_that_is_retired_while_its_successor_is_put_in_force_stays_so(fresh):
    """It is retired behind the fit, and before the draft takes its place: neither is in force, and nobody is worth anything."""
    kind, place = "valueModels", "refits::before_published"
    admin = open_shop(fresh, pairs())
    say(admin, kind, 30, publish=True)
    fresh.stop()
    fresh.start(failpoints=f"{place}=1*return(10000)")
    admin = fresh.client("admin")
    questions.wait_for(admin, 0)
    day = days_on(admin, 30)
    waiting.until(lambda: fresh.has_logged(f"failpoint {place} reached"), "a refit to stand still")
    admin.call("ValueModelService/RetireValueModel", {"name": f"{kind}/1"})
    told = tried(admin, kind, day)
    assert (told.last_model, "in force no more" in told.problem) == (f"{kind}/2", True)
    assert models(admin, kind) == {f"{kind}/1": "RETIRED", f"{kind}/2": "DRAFT"}
    waiting.until(lambda: questions.preview(admin, "has(alive_percent) || has(lifetime_value)").customers == 0, "nobody to be worth anything")


def why_nothing_could_be_fitted_is_said_and_is_not_tried_every_day(fresh):
    """Nobody has bought anything in the days that count."""
    kind = "recommendationModels"
    admin = open_shop(fresh, pairs(), terms={"history_days": 80}, holdout_days=0)
    say(admin, kind, 100, publish=True)
    told = tried(admin, kind, days_on(admin, 100))
    assert told.last_model == "" and "same customers" in told.problem and models(admin, kind) == {f"{kind}/1": "PUBLISHED"}
    looked_at(admin, kind, 110)
    assert schedule(admin, kind) == told
    # Purchases of new customers make it possible again.
    recommendations.take_in(admin, *(plain(f"n{number}", -90, "ale", "bread") for number in range(6)),
                            as_of=facts.AS_OF + timedelta(days=110))
    assert say(admin, kind, 50).problem == told.problem
    done = tried(admin, kind, days_on(admin, 150))
    assert (done.last_model, done.problem) == (f"{kind}/2", "")


def a_schedule_that_is_said_again_while_a_model_is_fitted_tells_of_it_nevertheless(admin):
    """It is not fitted twice for that."""
    kind = "recommendationModels"
    say(admin, kind, 10)
    day = days_on(admin, 10)
    waiting.until(lambda: say(admin, kind, 10) and len(models(admin, kind)) == 2, "a model", interval=0)
    told = tried(admin, kind, day)
    assert (told.last_model, len(models(admin, kind))) == (f"{kind}/2", 2)


def nothing_is_fitted_where_it_is_not_said_or_nothing_is_in_force(fresh):
    admin = fresh.client("admin")
    questions.take_in(admin, *score_models.rows_of(score_models.purchases_of(0, 300)))
    recommendations.take_in(admin, *pairs())
    value_models.publish(admin, value_models.fit(admin, holdout_days=0))
    draft = recommendations.fit(admin)
    say(admin, "recommendationModels", 1, publish=True)
    looked_at(admin, "recommendationModels", 30)
    assert attempted(schedule(admin, "recommendationModels")) is None
    assert models(admin, "recommendationModels") == {draft.name: "DRAFT"}
    assert recommendations.publish(admin, draft).name == draft.name
    # By now it is old.
    last = (SEEN + timedelta(days=30)).date()
    assert tried(admin, "recommendationModels", last).last_model == "recommendationModels/2"
    say(admin, "recommendationModels", 0)
    before = models(admin, "recommendationModels")
    for kind in KINDS:
        assert schedule(admin, kind).every_days == 0
    say(admin, "valueModels", 1)
    for days in (60, 61):
        tried(admin, "valueModels", days_on(admin, days))
    assert models(admin, "recommendationModels") == before


def a_schedule_and_what_came_of_it_outlive_a_restart(fresh):
    kind = "recommendationModels"
    admin = open_shop(fresh, pairs())
    say(admin, kind, 10, publish=False)
    told = tried(admin, kind, days_on(admin, 10))
    fresh.kill()
    fresh.start()
    admin = fresh.client("admin")
    assert policies.as_dict(schedule(admin, kind)) == policies.as_dict(told)
    looked_at(admin, kind, 15)
    assert policies.as_dict(schedule(admin, kind)) == policies.as_dict(told) and len(models(admin, kind)) == 2
    assert tried(admin, kind, days_on(admin, 20)).last_model == f"{kind}/3"


# -- what is refused ------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def office(shared):
    """A suite in which nothing is fitted."""
    return SimpleNamespace(suite=shared, admin=shared.client("admin"))


@pytest.mark.parametrize("kind", KINDS)
def a_schedule_is_changed_only_by_who_knows_it(office, kind):
    first = schedule(office.admin, kind)
    second = say(office.admin, kind, 7, publish=True, etag=first.etag)
    stale = {"schedule": {"name": first.name, "every_days": 9, "etag": first.etag}}
    office.admin.refused(f"{SERVICE}/UpdateRefitSchedule", stale).must_be(ABORTED, "STALE_ETAG")
    assert schedule(office.admin, kind) == second
    # Without an etag it is anybody's; all that is said holds, and what is not said is not kept. What came of it nobody else says.
    third = say(office.admin, kind, 3_653, problem="none", last_model="valueModels/9", last_attempt_date=facts.date_of(date(1998, 1, 1)))
    assert (third.every_days, third.publish, third.problem, third.last_model, attempted(third)) == (3_653, False, "", "", None)
    assert say(office.admin, kind, 0).every_days == 0 and schedule(office.admin, OTHER[kind]).every_days == 0


def what_makes_no_sense_is_refused(office):
    names = ("", "refitSchedules/", "refitSchedules/scoreModels", "refitSchedules/valuemodels", "valueModels",
             "refitSchedules/valueModels/1", "refitSchedules/valueModels ", "refitSchedules/1")
    for name in names:
        office.admin.refused(f"{SERVICE}/GetRefitSchedule", {"name": name}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        wrong = office.admin.refused(f"{SERVICE}/UpdateRefitSchedule", {"schedule": {"name": name, "every_days": 1}})
        assert wrong.must_be(INVALID_ARGUMENT, "INVALID_FIELD").message.startswith("schedule.name:")
    for days in (-1, 3_654, 2**31 - 1, -2**31):
        request = {"schedule": {"name": "refitSchedules/valueModels", "every_days": days}}
        wrong = office.admin.refused(f"{SERVICE}/UpdateRefitSchedule", request).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
        assert wrong.message.startswith("schedule.every_days:")
    office.admin.refused(f"{SERVICE}/UpdateRefitSchedule").must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [schedule(office.admin, kind).every_days for kind in KINDS] == [0, 0]


def who_does_not_read_money_says_nothing_of_lifetime_value(office):
    without = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}
    policies.publish(office.admin, policies.role_like(office.admin, "analyst", "no-money", forms=without))
    client = policies.client_of(office.suite, "no-money")
    request = {"schedule": {"name": "refitSchedules/valueModels", "every_days": 3}}
    client.refused(f"{SERVICE}/UpdateRefitSchedule", request).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    assert schedule(client, "valueModels").every_days == 0
    assert say(client, "recommendationModels", 3).every_days == 3 and say(client, "recommendationModels", 0).every_days == 0


def who_reaches_some_says_nothing(office):
    sales = office.suite.client("sales", subject="ann")
    for kind in KINDS:
        request = {"schedule": {"name": f"refitSchedules/{kind}", "every_days": 3}}
        sales.refused(f"{SERVICE}/UpdateRefitSchedule", request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
        assert schedule(sales, kind).every_days == 0


def of_many_who_change_a_schedule_at_once_one_is_right(office):
    """Each with the etag that it knows: every change that was answered was of the schedule before it."""
    etags = [say(office.admin, "recommendationModels", 0).etag]
    calls = [office.admin.api.callable(office.admin.api.method(f"{SERVICE}/UpdateRefitSchedule")).future(
        office.admin.message(f"{SERVICE}/UpdateRefitSchedule", {
            "schedule": {"name": "refitSchedules/recommendationModels", "every_days": 0, "etag": etags[0]}}),
        metadata=office.admin.metadata(), timeout=waiting.SECONDS) for _ in range(20)]
    codes = [call.code() for call in calls]
    assert sorted(code.name for code in codes) == ["ABORTED"] * 19 + ["OK"], codes
