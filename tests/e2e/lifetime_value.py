"""Lifetime value: models that are fitted to what customers bought, held to published results, and what they say of each customer.

The published results are those of the sample of CDNOW (Fader, Hardie and Lee 2005), from the raw log through 1997-09-30 in weeks of 7 days.
"""
import json
import math
from datetime import date, datetime, timezone
from pathlib import Path

import grpc
import pytest

from support import facts, policies, questions, quintile, score_models, value_models
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, Refusal

ABORTED = grpc.StatusCode.ABORTED
DATA = Path(__file__).parent.parent / "data"
CALIBRATED = datetime(1997, 10, 1, tzinfo=timezone.utc)
# Parameters to four significant digits, and log-likelihoods.
BG_NBD = {"r": 0.2425945, "alpha": 4.413602, "a": 0.792922, "b": 2.425906}
NBD_LIKELIHOOD, BG_LIKELIHOOD, MBG_LIKELIHOOD = -9763.6576, -9582.4292, -9582.1357
GAMMA_GAMMA, SPEND_LIKELIHOOD = {"p": 6.24957, "q": 3.74422, "v": 15.44352}, -4055.9177
CUSTOMERS, REPEAT_BUYERS = 2_357, 946


def sample():
    """[(customer, day, cents)] of the log."""
    with open(DATA / "cdnow/CDNOW_sample.txt", encoding="ascii") as stream:
        lines = [line.split() for line in stream]
    return [(words[1], datetime.strptime(words[2], "%Y%m%d").date(), round(float(words[4]) * 100)) for words in lines if words]


def take_in(client, lines, as_of=facts.AS_OF):
    rows = [facts.cdnow_order(customer, n, day, cents) for n, (customer, day, cents) in enumerate(lines)]
    for start in range(0, len(rows), 10_000):
        position = questions.take_in(client, *rows[start:start + 10_000]).facts_position
    questions.wait_for(client, position, as_of)


@pytest.fixture(scope="module")
def sampled(backend):
    """A suite that has taken in the sample whole, as of 1998-07-01: the last 273 days can be held out."""
    with quintile.suite(backend) as suite:
        take_in(suite.client("admin"), sample())
        yield suite


def close(value, expected, digits=4):
    return math.isclose(value, expected, rel_tol=0.5 * 10 ** (1 - digits))


def assert_purchases(fit, parameters, likelihood):
    assert {name: getattr(fit, name) for name in parameters} == {
        name: pytest.approx(value, rel=5e-4) for name, value in parameters.items()}
    assert fit.log_likelihood == pytest.approx(likelihood, abs=1e-3)


def the_published_fit_and_its_holdout_are_met(sampled):
    model = value_models.fit(sampled.client("analyst"), holdout_days=273)
    holdout = model.holdout
    assert_purchases(holdout.fit, BG_NBD, BG_LIKELIHOOD)
    assert holdout.fit.never_leaving_log_likelihood == pytest.approx(NBD_LIKELIHOOD, abs=1e-3)
    assert (holdout.fit.customers, holdout.fit.dropout_identified, model.dropout_problem) == (CUSTOMERS, True, "")
    end = holdout.fit.end_date
    assert (date(end.year, end.month, end.day), holdout.days) == (date(1997, 9, 30), 273)
    told = holdout.accuracy
    assert (round(told.mae, 3), round(told.rmse, 3), round(told.correlation, 3), round(told.bias_percent, 1)) == (0.785, 1.608, 0.626, -12.1)
    assert round(holdout.nobody_buys.mae, 3) == 0.798 and not holdout.nobody_buys.HasField("correlation")
    assert sum(decile.customers for decile in holdout.deciles) == CUSTOMERS and len(holdout.deciles) == 10
    expected = [decile.expected for decile in holdout.deciles]
    assert expected == sorted(expected) and not holdout.HasField("in_force")


def the_other_model_meets_its_own(sampled):
    model = value_models.fit(sampled.client("admin"), holdout_days=273, dropout="DROPOUT_KIND_AFTER_EVERY_PURCHASE")
    fit = model.holdout.fit
    assert fit.log_likelihood == pytest.approx(MBG_LIKELIHOOD, abs=1e-3)
    assert (close(fit.r, 0.524838, 3), close(fit.a, 0.891356, 3)) == (True, True)


def spending_and_everybodys_value_meet_the_reference(backend):
    """As of the end of the calibration."""
    with quintile.suite(backend, as_of=facts.text_of(CALIBRATED)) as suite:
        admin = suite.client("admin")
        take_in(admin, [line for line in sample() if line[1] < CALIBRATED.date()], CALIBRATED)
        model = value_models.fit(admin, holdout_days=0)
        assert_purchases(model.purchases, BG_NBD, BG_LIKELIHOOD)
        spend = model.spend
        assert (spend.p, spend.q, spend.v_nanos / 1e9) == tuple(pytest.approx(value, rel=5e-4) for value in GAMMA_GAMMA.values())
        assert spend.log_likelihood == pytest.approx(SPEND_LIKELIHOOD, abs=1e-3) and spend.customers == REPEAT_BUYERS
        mean = GAMMA_GAMMA["p"] * GAMMA_GAMMA["v"] / (GAMMA_GAMMA["q"] - 1)
        assert facts.cents_of(spend.mean) == pytest.approx(100 * mean, abs=2)
        assert not model.HasField("holdout")
        admin.refused("ValueService/GetValue", {"name": "customers/1/value"}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
        value_models.publish(admin, model)
        assert_references(admin)


def assert_references(admin):
    """What 50-digit references say of customers, by published parameters that are rounded to three digits: of each who has a history that we tell."""
    names = [each.name for each in questions.everything(admin, "CustomerService/ListCustomers", "customers", page_size=1_000)]
    told = {}
    for value in value_models.values(admin, names).values():
        told.setdefault((value.repeats, round(value.recency_weeks, 2), round(value.age_weeks, 2)), value)
    references = json.loads((DATA / "vectors/cdnow_published.json").read_text(encoding="utf-8"))["customers"]
    assert len(references) == 72
    for reference in references:
        found = told[reference["frequency"], reference["recency"], reference["T"]]
        assert found.alive_probability == pytest.approx(reference["p_alive"], rel=5e-3), reference


def a_customer_is_worth_what_is_expected_of_it(sampled):
    admin = sampled.client("admin")
    terms = {"gross_margin_percent": 50, "monthly_discount_percent": 0, "months": 6}
    value_models.publish(admin, value_models.fit(admin, terms=terms))
    model = admin.call("ValueModelService/ListValueModels", {"page_size": 1}).models[0]
    assert model.terms.gross_margin_percent == 50 and model.terms.HasField("monthly_discount_percent")
    names = [each.name for each in admin.call("CustomerService/ListCustomers", {"page_size": 200}).customers]
    for value in value_models.values(admin, names).values():
        assert 0 < value.alive_probability <= 1 and value.expected_purchases > 0 and value.model == model.name
        # Undiscounted, value is the margin of spend times purchases, to the cents that are told.
        expected = 0.5 * facts.cents_of(value.expected_spend) * value.expected_purchases
        assert facts.cents_of(value.lifetime_value) == pytest.approx(expected, abs=1 + value.expected_purchases)
    # Of who has never bought nothing is told.
    admin.call("CustomerService/CreateCustomer", {"customer": {"identities": [{"source": "crm", "id": "lead"}]}})
    position = questions.take_in(admin, facts.interaction("lead-2", "i")).facts_position
    questions.wait_for(admin, position)
    lead = admin.call("ValueService/GetValue", {"name": f"{questions.find(admin, 'lead-2')}/value"})
    assert not any(lead.HasField(field) for field in ("alive_probability", "expected_purchases", "expected_spend", "lifetime_value"))
    bought = questions.take_in(admin, facts.order("newcomer", "o", days=1, cents=500)).facts_position
    questions.wait_for(admin, bought)
    new = admin.call("ValueService/GetValue", {"name": f"{questions.find(admin, 'newcomer')}/value"})
    assert (new.repeats, new.age_weeks, new.alive_probability) == (0, 0, 1)


def a_refit_that_foretells_worse_is_not_published_unseen(sampled):
    admin = sampled.client("admin")
    first = value_models.publish(admin, value_models.fit(admin, holdout_days=0))
    assert score_models.enum_name(first, "state") == "PUBLISHED"
    draft = value_models.fit(admin, holdout_days=91)
    assert draft.holdout.in_force_model == first.name
    worse = draft.holdout.accuracy.rmse > draft.holdout.in_force.rmse * 1.02
    request = {"name": draft.name, "etag": draft.etag, "unless_worse": True}
    if worse:
        admin.refused("ValueModelService/PublishValueModel", request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    else:
        admin.call("ValueModelService/PublishValueModel", request)
    # What was compared with another model was not compared with this one.
    outdated = value_models.fit(admin, holdout_days=91)
    value_models.publish(admin, value_models.fit(admin, holdout_days=0))
    unseen = {"name": outdated.name, "unless_worse": True}
    admin.refused("ValueModelService/PublishValueModel", unseen).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    without = value_models.fit(admin, holdout_days=0)
    unseen = {"name": without.name, "unless_worse": True}
    admin.refused("ValueModelService/PublishValueModel", unseen).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    stale = {"name": without.name, "etag": "\"0\""}
    admin.refused("ValueModelService/PublishValueModel", stale).must_be(ABORTED, "STALE_ETAG")
    published = value_models.publish(admin, without)
    admin.refused("ValueModelService/PublishValueModel", {"name": published.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def where_nobody_leaves_it_is_said(fresh):
    """Customers who buy each at a rate of their own, and all to the end: no dropout can be told."""
    admin = fresh.client("admin")
    rows = [facts.order(f"c{n}", f"o{m}", days=1 + m * (4 + n), cents=1_000 + n) for n in range(60) for m in range(1 + 360 // (4 + n))]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    model = value_models.fit(admin, holdout_days=0)
    assert not model.purchases.dropout_identified
    assert model.dropout_problem.startswith("dropout not identified: ") and "NBD" in model.dropout_problem
    # They also spend the same each time, so nothing is learnt of how that varies.
    assert not model.HasField("spend") and "no maximum" in model.spend_problem
    value_models.publish(admin, model)
    value = admin.call("ValueService/GetValue", {"name": f"{questions.find(admin, 'c1')}/value"})
    assert not value.HasField("alive_probability") and value.expected_purchases > 0 and not value.HasField("lifetime_value")


def spending_that_has_no_mean_is_told_and_nobody_has_a_value(fresh):
    """They buy when customers of CDNOW did. The n-th of N repeat buyers spends (n / N) ^ (-1 / 0.6): q of such a tail is 0.6, and there is no mean."""
    admin = fresh.client("admin")
    days = {source_id: sorted({day for day, _ in lines}) for source_id, lines in score_models.purchases_of(0, 1_200).items()}
    repeat_buyers = [source_id for source_id, bought in days.items() if len(bought) > 1]
    rows = [facts.cdnow_order(source_id, 0, bought[0], 1_000) for source_id, bought in days.items()]
    for n, source_id in enumerate(repeat_buyers, 1):
        later = days[source_id][1:]
        # The mean of more purchases is closer to the customer's own.
        off = (-0.8, -0.3, 0.3, 0.8)[n % 4] / math.sqrt(len(later))
        cents = round(100 * (n / len(repeat_buyers)) ** (-1 / 0.6) * (1 + off))
        rows += [facts.cdnow_order(source_id, m, day, cents) for m, day in enumerate(later, 1)]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    model = value_models.fit(admin, holdout_days=0)
    assert not model.HasField("spend") and "q is at most 1" in model.spend_problem
    value_models.publish(admin, model)
    number = questions.numbers_of(admin, "cdnow")[repeat_buyers[0]]
    value = admin.call("ValueService/GetValue", {"name": f"customers/{number}/value"})
    assert value.expected_purchases > 0 and not value.HasField("expected_spend") and not value.HasField("lifetime_value")


def what_makes_no_sense_is_refused(shared, admin):
    terms = {"gross_margin_percent": (101, "NaN", -1), "monthly_discount_percent": ("Infinity", -0.5), "months": (121, -1)}
    wrong = [({"terms": {field: value}}, f"terms.{field}") for field, values in terms.items() for value in values]
    wrong += [({"holdout_days": -1}, "holdout_days"), ({"holdout_days": 1_827}, "holdout_days"), ({"dropout": 9}, "dropout")]
    for request, field in wrong:
        assert refused(admin, request).must_be(INVALID_ARGUMENT, "INVALID_FIELD").message.startswith(f"{field}:")
    for name in ("", "valueModels/", "valueModels/0", "valueModels/01", "valueModels/x", "scoreModels/1"):
        for method in ("GetValueModel", "PublishValueModel"):
            admin.refused(f"ValueModelService/{method}", {"name": name}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    admin.refused("ValueModelService/GetValueModel", {"name": "valueModels/999999"}).must_be(NOT_FOUND, "NOT_FOUND")
    admin.refused("ValueService/GetValue", {"name": "customers/1"}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    admin.refused("ValueService/BatchGetValues", {"names": []}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    # Nobody has bought again.
    refused(admin, {}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")


def refused(client, request):
    with pytest.raises(Refusal) as raised:
        value_models.fit(client, **request)
    return raised.value


def who_does_not_read_money_fits_no_model(fresh):
    admin = fresh.client("admin")
    policies.publish(admin, policies.role_like(admin, "analyst", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}))
    client = policies.client_of(fresh, "no-money")
    refused(client, {}).must_be(PERMISSION_DENIED, "FIELD_DENIED")
    client.refused("ValueModelService/PublishValueModel", {"name": "valueModels/1"}).must_be(PERMISSION_DENIED, "FIELD_DENIED")


def a_young_shop_has_a_model_without_a_report(fresh):
    """Nobody had bought again before the quarter that is held out."""
    admin = fresh.client("admin")
    rows = [facts.order(f"c{n}", f"o{m}", days=80 - 9 * m - n % 5, cents=1_000 + 37 * n * m) for n in range(60) for m in range(1 + n % 5)]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    model = value_models.fit(admin)
    assert not model.HasField("holdout") and "bought again" in model.holdout_problem and model.purchases.customers == 60
