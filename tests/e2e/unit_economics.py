"""Unit economics: what was spent on winning customers beside what they bring in, by channel, campaign and cohort; computed again by hand."""
from datetime import date

import grpc
import pytest

from support import facts, policies, questions, score_models, value_models, waiting
from support.refusals import INVALID_ARGUMENT, PERMISSION_DENIED, Refusal

START, END = date(1998, 1, 1), date(1998, 3, 31)
MONTH_DAYS = 365.25 / 12
MARGIN = 0.4
# {customer: (channel, campaign, [(day, cents)])}
PEOPLE = {f"ad-{n}": ("ads", "winter" if n % 2 else "new-year", [(date(1998, 1 + n % 3, 5 + n), 1_000 + 100 * n + 350 * m) for m in range(1)]
                      + [(date(1998, 4 + m, 2 + n), 900 + 70 * n * m) for m in range(n % 3)]) for n in range(9)}
PEOPLE |= {"fair-1": ("fair", "", [(START, 5_000), (date(1998, 5, 5), 4_000)]), "early": ("ads", "winter", [(date(1997, 12, 31), 9_900)]),
           "late": ("ads", "winter", [(date(1998, 4, 1), 9_900)]), "nobody-knows": ("", "", [(END, 700)])}


def dated(day):
    return {"year": day.year, "month": day.month, "day": day.day}


def rows():
    for who, (channel, campaign, bought) in PEOPLE.items():
        yield facts.customer(who, attributes={"acquisition_channel": channel, "acquisition_campaign": campaign})
        for n, (day, cents) in enumerate(bought):
            yield facts.order(who, f"{who}-{n}", order_time=f"{day}T12:00:00Z", cents=cents)


def spends():
    """All of the first quarter, half of the second within it, one before it, one in euros, and one that nobody can convert."""
    yield facts.spend("a", START, END, cents=90_000, channel="ads", campaign="winter")
    yield facts.spend("b", date(1998, 3, 22), date(1998, 4, 10), cents=20_000, channel="ads", campaign="new-year")
    yield facts.spend("c", date(1997, 12, 1), date(1997, 12, 31), cents=77_700, channel="ads", campaign="winter")
    yield facts.spend("d", date(1998, 2, 1), date(1998, 2, 28), amount={"currency_code": "EUR", "units": 280}, channel="fair", campaign="")
    yield facts.spend("e", date(1998, 2, 1), date(1998, 2, 2), amount={"currency_code": "GBP", "units": 1}, channel="fair", campaign="")
    yield facts.rate("EUR", date(1998, 2, 28), "1.1")


@pytest.fixture(scope="module")
def shop(shared):
    admin = shared.client("admin")
    # Customers of the year before, of whom a model can be learnt.
    before = score_models.rows_of(score_models.purchases_of(0, 300))
    questions.wait_for(admin, questions.take_in(admin, *before, *rows(), *spends()).facts_position)
    value_models.publish(admin, value_models.fit(admin, holdout_days=0, terms={"gross_margin_percent": 100 * MARGIN}))
    return shared


def economics(client, group_by="CHANNEL", start=START, end=END):
    request = {"start_date": dated(start), "end_date": dated(end), "group_by": f"ECONOMICS_GROUPING_{group_by}"}
    call = client.start("EconomicsService/GetUnitEconomics", [request], seconds=waiting.SECONDS)
    try:
        *progress, last = list(call)
    except grpc.RpcError as error:
        raise Refusal(error) from None
    assert all(each.HasField("progress") for each in progress)
    return last.economics


def expected(admin, who, spend):
    """(spend, customers, CAC, mean revenue, mean lifetime value, value to cost, payback), money in cents; of values the services' own word is taken.
    Where nothing is known to have been spent, that does not mean that nothing was."""
    names = {each: questions.find(admin, each) for each in who}
    values = value_models.values(admin, list(names.values()))
    revenue = sum(cents for each in who for _, cents in PEOPLE[each][2])
    value = MARGIN * revenue + sum(facts.cents_of(values[name].lifetime_value) for name in names.values())
    months = sum((facts.AS_OF.date() - PEOPLE[each][2][0][0]).days + 1 for each in who) / MONTH_DAYS
    cost, ratio, payback = (spend / len(who), value / spend, spend / len(who) / (MARGIN * revenue / months)) if spend else (None, None, None)
    return spend, len(who), cost, revenue / len(who), value / len(who), ratio, payback


def assert_group(group, told):
    spend, customers, cost, revenue, value, ratio, payback = told
    assert (facts.cents_of(group.spend), group.new_customers) == (spend, customers)
    assert [facts.cents_of(money) for money in (group.mean_revenue, group.mean_lifetime_value)] == [
        pytest.approx(revenue, abs=0.51), pytest.approx(value, abs=1.1)]
    of_cost = ("acquisition_cost", "value_to_cost", "payback_months")
    assert [group.HasField(field) for field in of_cost] == [cost is not None] * 3
    if cost is not None:
        assert facts.cents_of(group.acquisition_cost) == pytest.approx(cost, abs=0.51)
        assert group.value_to_cost == pytest.approx(ratio, rel=1e-3)
        assert group.payback_months == pytest.approx(payback, rel=1e-9)


def channels_cost_and_are_worth_what_they_do_by_hand(shop):
    admin = shop.client("admin")
    told = economics(shop.client("analyst"))
    groups = {group.channel: group for group in told.groups}
    ads = [who for who in PEOPLE if who.startswith("ad-")]
    assert groups.keys() == {"", "ads", "fair"} and told.value_model == "valueModels/1" and told.spends_without_rate == 1
    assert_group(groups["ads"], expected(admin, ads, 90_000 + 10_000))
    assert_group(groups["fair"], expected(admin, ["fair-1"], 30_800))
    assert_group(groups[""], expected(admin, ["nobody-knows"], 0))
    assert_group(told.total, expected(admin, [*ads, "fair-1", "nobody-knows"], 130_800))


def campaigns_and_cohorts_are_told_apart(shop):
    admin = shop.client("admin")
    campaigns = {(group.channel, group.campaign): group for group in economics(admin, "CAMPAIGN").groups}
    winter = [who for who, (_, campaign, _) in PEOPLE.items() if campaign == "winter" and who.startswith("ad-")]
    assert_group(campaigns["ads", "winter"], expected(admin, winter, 90_000))
    cohorts = {(group.cohort_month.year, group.cohort_month.month): group for group in economics(admin, "COHORT").groups}
    assert cohorts.keys() == {(1998, 1), (1998, 2), (1998, 3)}
    first = [who for who, (_, _, bought) in PEOPLE.items() if (bought[0][0].year, bought[0][0].month) == (1998, 1)]
    assert_group(cohorts[1998, 1], expected(admin, first, 90_000 * 31 // 90))
    assert sum(facts.cents_of(group.spend) for group in cohorts.values()) == 130_800


def a_period_without_customers_costs_nobody_anything(shop):
    told = economics(shop.client("admin"), start=date(1997, 12, 1), end=date(1997, 12, 30))
    [group] = told.groups
    assert (facts.cents_of(group.spend), group.new_customers) == (77_700 * 30 // 31, 0)
    assert not any(group.HasField(field) for field in ("acquisition_cost", "mean_revenue", "mean_lifetime_value", "value_to_cost", "payback_months"))


def without_a_model_nothing_is_said_of_value(fresh):
    admin = fresh.client("admin")
    questions.wait_for(admin, questions.take_in(admin, *rows(), *spends()).facts_position)
    told = economics(admin)
    assert told.value_model == "" and told.total.HasField("acquisition_cost") and told.total.HasField("mean_revenue")
    assert not any(told.total.HasField(field) for field in ("mean_lifetime_value", "value_to_cost", "payback_months"))


def what_makes_no_sense_is_refused(shop):
    admin = shop.client("admin")
    good = {"start_date": dated(START), "end_date": dated(END)}
    for wrong in ({"start_date": None}, {"end_date": {"year": 1998, "month": 2, "day": 30}}, {"end_date": dated(date(1997, 12, 31))},
                  {"end_date": dated(date(2008, 1, 2))}, {"group_by": 9}):
        request = {field: value for field, value in (good | wrong).items() if value is not None}
        call = admin.start("EconomicsService/GetUnitEconomics", [request], seconds=waiting.SECONDS)
        with pytest.raises(grpc.RpcError) as raised:
            list(call)
        Refusal(raised.value).must_be(INVALID_ARGUMENT, "INVALID_FIELD")


def who_does_not_read_money_is_refused(shop):
    admin = shop.client("admin")
    policies.publish(admin, policies.role_like(admin, "analyst", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}))
    with pytest.raises(Refusal) as raised:
        economics(policies.client_of(shop, "no-money"))
    raised.value.must_be(PERMISSION_DENIED, "FIELD_DENIED")
