"""Leads: how likely they are to buy and what they may become; followed day by day by a witness of its own.

The company is in New York, where a day begins at 05:00 UTC in winter and at 04:00 in summer; business time is 20:00 of June 30th there.
"""
import copy
import random
from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from support import facts, lead_witness, policies, questions, quintile, value_models, waiting
from support.lead_witness import DAY, Lead
from support.refusals import NOT_FOUND, PERMISSION_DENIED

TENANT, ZONE = "york", ZoneInfo("America/New_York")
TODAY, END = date(1998, 6, 30), date(1998, 6, 29)
MARGIN_PERCENT, MONTHS, HOLDOUT_DAYS = 40, 6, 91
WAYS = [("ads", "spring"), ("ads", "spring"), ("ads", "summer"), ("ads", ""), ("fair", ""), ("fair", "spring"), ("", "letters"), ("", ""),
        ("post", "rare")]
# A lead in how many buys, at how many days a purchase comes on average.
HABITS = {"ads": (0.6, 40), "fair": (0.8, 15), "": (0.5, 200), "post": (0.3, 300)}
OWNER = "sam"


def local_day(instant):
    return instant.astimezone(ZONE).date()


def at(day, hour=12.0):
    """An instant of a local day."""
    wall = datetime(day.year, day.month, day.day, int(hour), round(hour % 1 * 60), tzinfo=ZONE)
    return wall.astimezone(timezone.utc)


def person(channel="", campaign="", came=None, bought=(), refunded=0):
    """Who came, with [(instant, cents)] of what was bought."""
    return SimpleNamespace(channel=channel, campaign=campaign, came=came, bought=list(bought), refunded=refunded)


def buyers():
    """Of whom nobody knows when they came: each buys at a rate of its own until it leaves, for amounts around a mean of its own."""
    chance, people = random.Random(7), {}
    for n in range(150):
        gap, mean = 1 / chance.gammavariate(1.2, 0.02), 5_000 / chance.gammavariate(3.5, 1)
        bought, day = [], END - timedelta(days=chance.randrange(40, 500))
        while day <= END:
            bought.append((at(day), 100 + round(chance.gammavariate(5, mean / 5))))
            day += timedelta(days=1 + int(chance.expovariate(1 / gap)))
            if chance.random() < 0.2:
                break
        people[f"undated-{n}"] = person("ads", "spring", None, bought)
    return people


def many_people():
    """Leads of all ways, at whose ends of days purchases lie too; and customers of whom nobody knows when they came."""
    chance, people = random.Random(1998), {}
    for n in range(330):
        channel, campaign = WAYS[n % len(WAYS)]
        came, (share, wait) = date(1996, 11, 3) + timedelta(days=chance.randrange(600)), HABITS[channel]
        bought, day = [], came + timedelta(days=int(chance.expovariate(1 / wait)))
        while chance.random() < share and day < TODAY:
            bought.append((at(day, chance.choice([0.0, 0.5, 12.0, 23.5])), chance.randrange(500, 9_000)))
            day += timedelta(days=1 + int(chance.expovariate(1 / 30)))
        people[f"lead-{n}"] = person(channel, campaign, came, bought, refunded=400 if n % 7 == 3 and bought else 0)
    return people | buyers()


# Who bought on the day it came, before, a minute after that day, today, and who came yesterday, today and tomorrow.
CASES = {
    "at-once": person("ads", "spring", date(1998, 2, 1), [(at(date(1998, 2, 1), 23.98), 3_000), (at(date(1998, 3, 1)), 2_500)]),
    "before": person("ads", "spring", date(1998, 2, 1), [(at(date(1998, 1, 31), 23.98), 3_000)]),
    # 04:30 UTC: in winter of the day before, in summer of the same day.
    "next-day": person("fair", "spring", date(1998, 4, 5), [(datetime(1998, 4, 6, 4, 30, tzinfo=timezone.utc), 7_700)]),
    "same-day": person("fair", "spring", date(1998, 3, 5), [(datetime(1998, 3, 6, 4, 30, tzinfo=timezone.utc), 7_700)]),
    "yesterday": person("fair", "", date(1998, 5, 1), [(at(END, 23.98), 4_400), (at(TODAY, 0.0), 1_100)]),
    "today": person("ads", "summer", date(1998, 6, 1), [(at(TODAY, 0.0), 5_500)]),
    "came-yesterday": person("ads", "summer", END),
    "came-today": person("ads", "summer", TODAY),
    "came-tomorrow": person("ads", "summer", TODAY + DAY),
    # After more than a year.
    "late": person("post", "rare", date(1996, 11, 10), [(at(date(1998, 2, 10)), 4_321)]),
    "later": person("ads", "summer", date(1996, 12, 10), [(at(date(1998, 6, 10)), 1_234)]),
    # Ten years ago, and for nothing.
    "ancient": person("post", "rare", date(1988, 1, 1)), "old": person("", "", date(1988, 1, 1), [(at(date(1988, 2, 1)), 9_000)]),
    "given": person("fair", "spring", date(1998, 1, 10), [(at(date(1998, 2, 10)), 0)]),
    "nobody-knows-when": person("ads", "summer"),
    # One person by two sources: the first was a lead, and the second bought.
    "one": person("fair", "", date(1997, 12, 1)),
    "other": person("", "", None, [(at(date(1998, 1, 15)), 6_600), (at(date(1998, 3, 15)), 5_400)]),
}


def rows_of(who, told):
    attributes = {"acquisition_channel": told.channel, "acquisition_campaign": told.campaign, "owner": OWNER}
    if told.came:
        attributes["acquisition_date"] = facts.date_of(told.came)
    yield facts.customer(who, attributes=attributes)
    for n, (instant, cents) in enumerate(told.bought):
        yield facts.order(who, f"{who}-{n}", order_time=facts.text_of(instant), cents=cents)
    if told.refunded:
        yield facts.refund(who, f"{who}-back", refund_time=facts.text_of(told.bought[0][0] + timedelta(hours=1)), cents=told.refunded,
                           order_event_id=f"{who}-0")


def take_in(client, people):
    position = questions.take_in(client, *(row for who, told in people.items() for row in rows_of(who, told))).facts_position
    questions.wait_for(client, position)


def new_tenant(suite, tenant, **fields):
    suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": tenant, "tenant": fields})
    client = suite.client("admin", tenant)
    waiting.until(lambda: policies.is_known(client), f"{tenant} to be known", policies.FORCE_SECONDS)
    return client


def of_people(people):
    """{id: Lead} by local days."""
    return {who: Lead(told.channel, told.campaign, told.came, [local_day(instant) for instant, _ in told.bought])
            for who, told in people.items()}


@pytest.fixture(scope="module")
def shop(backend):
    """The company with a model in force, fitted on June 30th, and what the witness makes of the same."""
    with quintile.suite(backend) as suite:
        client, people = new_tenant(suite, TENANT, time_zone=ZONE.key), many_people() | copy.deepcopy(CASES)
        take_in(client, people)
        names = questions.names_of(client)
        merged = client.call("IdentityService/MergeCustomers", {"customer": names["one"], "other": names["other"]})
        questions.wait_for(client, merged.facts_position)
        people["one"].bought = people.pop("other").bought
        names["other"] = names["one"]
        model = value_models.fit(client, holdout_days=HOLDOUT_DAYS, terms={"gross_margin_percent": MARGIN_PERCENT, "months": MONTHS})
        value_models.publish(client, model)
        told = value_models.values(client, sorted(set(names.values())))
        # Of what is expected of customers the services' own word is taken.
        margins = {who: MARGIN_PERCENT / 100 * (sum(cents for _, cents in of.bought) - of.refunded) for who, of in people.items()}
        worth = {who: margins[who] + facts.cents_of(told[names[who]].lifetime_value)
                 for who in people if told[names[who]].HasField("lifetime_value")}
        leads = of_people(people)
        yield SimpleNamespace(suite=suite, client=client, people=people, leads=leads, names=names, model=model, merged=merged, values=told,
                              fit=lead_witness.Fit(leads, END, worth))


def value_of(client, name):
    return client.call("ValueService/GetValue", {"name": f"{name}/value"})


def assert_group(told, group, channel="", campaign=""):
    assert (told.channel, told.campaign, told.leads, told.conversions) == (channel, campaign, group.leads, group.conversions)
    assert told.conversion_ratio == pytest.approx(group.ratio, rel=1e-9), (channel, campaign)
    # A cent for what is rounded of each.
    assert facts.cents_of(told.value_if_converted) == pytest.approx(group.value, abs=1), (channel, campaign)


def assert_lead(told, fit, lead, today, months=MONTHS):
    """What a lead may become on a local day."""
    group, channel, campaign = fit.group_of(lead)
    age = max((today - DAY - lead.came).days, 0)
    assert (told.age_days, told.channel, told.campaign) == (age, channel, campaign)
    chance = fit.probability(lead, age, round(months * lead_witness.MONTH_DAYS))
    assert told.conversion_probability == pytest.approx(chance, rel=1e-9)
    assert facts.cents_of(told.value_if_converted) == pytest.approx(group.value, abs=1)
    assert facts.cents_of(told.value) == pytest.approx(chance * facts.cents_of(told.value_if_converted), abs=0.51)


def ages_days_and_conversions_are_those_of_leads_followed_day_by_day(shop):
    told = [(band.first_day, band.last_day, band.lead_days, band.conversions) for band in shop.model.leads.bands]
    expected = [(*band, days, conversions) for band, days, conversions in zip(lead_witness.BANDS, shop.fit.days, shop.fit.conversions)]
    assert told == expected and all(days and conversions for *_, days, conversions in expected)


def a_group_is_drawn_to_the_larger_one_in_chance_and_in_value(shop):
    told = shop.model.leads
    assert_group(told.all, shop.fit.all)
    assert [each.channel for each in told.channels] == sorted(shop.fit.channels) == ["ads", "fair", "post"]
    for each in told.channels:
        assert_group(each, shop.fit.channels[each.channel], each.channel)
    assert [(each.channel, each.campaign) for each in told.campaigns] == sorted(shop.fit.campaigns)
    assert ("", "letters") in shop.fit.campaigns
    for each in told.campaigns:
        assert_group(each, shop.fit.campaigns[each.channel, each.campaign], each.channel, each.campaign)
    ratios = [group.ratio for group in shop.fit.campaigns.values()]
    assert min(ratios) < 0.8 and max(ratios) > 1.2


def the_report_foretells_by_what_was_known_before(shop):
    told = shop.model.leads.holdout
    leads, expected, conversions, brier, alike = lead_witness.foretold(shop.leads, END, HOLDOUT_DAYS)
    assert (told.leads, told.conversions) == (leads, conversions) and 0 < conversions < leads
    found = (told.expected_conversions, told.brier, told.brier_all_alike)
    assert found == tuple(pytest.approx(value, rel=1e-9) for value in (expected, brier, alike))


def without_days_held_out_there_is_no_report_and_nothing_else_is_other(shop):
    model = value_models.fit(shop.client, holdout_days=0, terms={"gross_margin_percent": MARGIN_PERCENT, "months": MONTHS})
    assert not model.leads.HasField("holdout")
    model.leads.holdout.CopyFrom(shop.model.leads.holdout)
    assert model.leads == shop.model.leads


def everybody_is_a_lead_or_a_customer_or_neither(shop):
    """Whoever has bought, be it today, is no lead; of whom nobody knows when they came nothing is told."""
    for who, of in shop.people.items():
        told = shop.values[shop.names[who]]
        if of.bought or of.came is None:
            assert not told.HasField("lead"), who
            assert told.HasField("lifetime_value") == bool(of.bought), who
        else:
            assert_lead(told.lead, shop.fit, shop.leads[who], TODAY)
            assert not told.HasField("lifetime_value") and not told.HasField("expected_purchases"), who
    ages = {who: shop.values[shop.names[who]].lead.age_days for who in ("came-yesterday", "came-today", "came-tomorrow")}
    assert set(ages.values()) == {0}


def one_by_one_the_same_is_told_as_of_many(shop):
    for who in ("came-yesterday", "today", "one", "nobody-knows-when", "lead-3"):
        name = shop.names[who]
        one = value_of(shop.client, name)
        one.ClearField("watermark")
        many = type(one)()
        many.CopyFrom(shop.values[name])
        many.ClearField("watermark")
        if one.as_of == many.as_of:
            assert one == many


def a_lead_that_buys_is_a_lead_no_more_and_a_refit_counts_it_from_tomorrow_on(backend):
    """As a customer it is told of at once; the day on which it bought is not over. A day later it has been converted."""
    with quintile.suite(backend) as suite:
        client, people = new_tenant(suite, TENANT, time_zone=ZONE.key), many_people()
        take_in(client, people)
        names, terms = questions.names_of(client), {"gross_margin_percent": MARGIN_PERCENT, "months": MONTHS}
        first = value_models.publish(client, value_models.fit(client, holdout_days=0, terms=terms))
        who = next(who for who, of in people.items() if of.came and not of.bought)
        assert value_of(client, names[who]).HasField("lead")
        people[who].bought = [(at(TODAY, 15.0), 2_222)]
        questions.wait_for(client, questions.take_in(client, *list(rows_of(who, people[who]))[1:]).facts_position)
        told = value_of(client, names[who])
        assert not told.HasField("lead") and told.HasField("lifetime_value") and told.repeats == 0
        assert value_models.fit(client, holdout_days=0, terms=terms).leads == first.leads
        # On June 30th at 24:00 there.
        questions.set_clock(suite.client("admin"), at(TODAY + DAY, 0.0))
        questions.wait_for(client, 0, at(TODAY + DAY, 0.0))
        model = value_models.fit(client, holdout_days=0, terms=terms)
        fit = lead_witness.Fit(of_people(people), TODAY)
        assert [(band.lead_days, band.conversions) for band in model.leads.bands] == list(zip(fit.days, fit.conversions))
        assert model.leads.all.conversions == first.leads.all.conversions + 1
        # The other leads are a day older, by the model of the day before.
        before = lead_witness.Fit(of_people(people), END)
        open_leads = [each for each, of in people.items() if of.came and not of.bought]
        for each in open_leads[:40]:
            lead, told = of_people({each: people[each]})[each], value_of(client, names[each]).lead
            age = (TODAY - lead.came).days
            assert told.age_days == age
            chance = before.probability(lead, age, round(MONTHS * lead_witness.MONTH_DAYS))
            assert told.conversion_probability == pytest.approx(chance, rel=1e-9)


def who_was_merged_with_a_customer_is_a_lead_again_when_they_are_parted(shop):
    assert not shop.values[shop.names["one"]].HasField("lead")
    parted = shop.client.call("IdentityService/UnmergeCustomers", {"name": shop.merged.name}).facts_position
    questions.wait_for(shop.client, parted)
    names = questions.names_of(shop.client)
    one, other = (value_of(shop.client, names[who]) for who in ("one", "other"))
    assert one.HasField("lead") and not other.HasField("lead") and other.HasField("lifetime_value")
    assert_lead(one.lead, shop.fit, Lead("fair", "", date(1997, 12, 1)), TODAY)
    merged = shop.client.call("IdentityService/MergeCustomers", {"customer": names["one"], "other": names["other"]})
    questions.wait_for(shop.client, merged.facts_position)
    shop.merged = merged
    assert not value_of(shop.client, names["one"]).HasField("lead")


# -- who may see it -------------------------------------------------------------------------------------------------------

def whoever_looks_after_a_lead_sees_what_it_may_become_and_not_what_was_learnt_from_all(shop):
    name = shop.names["came-yesterday"]
    own, stranger = (shop.suite.client("sales", TENANT, subject) for subject in (OWNER, "tess"))
    told = value_of(own, name).lead
    # As if it were any lead: what those did whom it resembles would tell of somebody else's customers.
    assert (told.channel, told.campaign) == ("", "") and 0 < told.conversion_probability < 1
    assert not told.HasField("value_if_converted") and not told.HasField("value")
    stranger.refused("ValueService/GetValue", {"name": f"{name}/value"}).must_be(NOT_FOUND, "NOT_FOUND")
    for model in (own.call("ValueModelService/GetValueModel", {"name": shop.model.name}),
                  *own.call("ValueModelService/ListValueModels", {}).models):
        assert not any(model.HasField(part) for part in ("leads", "purchases", "spend", "holdout"))
    own.refused("ValueModelService/FitValueModel", {}).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def who_sees_no_money_sees_chances_alone(shop):
    role = policies.role_like(shop.client, "analyst", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}})
    policies.publish(shop.client, role)
    client = policies.client_of(shop.suite, "no-money", admin=shop.client)
    leads = client.call("ValueModelService/GetValueModel", {"name": shop.model.name}).leads
    groups = [leads.all, *leads.channels, *leads.campaigns]
    assert not any(group.HasField("value_if_converted") for group in groups) and all(group.conversion_ratio > 0 for group in groups)
    assert leads.holdout == shop.model.leads.holdout and list(leads.bands) == list(shop.model.leads.bands)
    lead = value_of(client, shop.names["came-yesterday"]).lead
    assert (lead.channel, lead.campaign) == ("", "") and 0 < lead.conversion_probability < 1
    assert not lead.HasField("value_if_converted") and not lead.HasField("value")


# -- what is not there ----------------------------------------------------------------------------------------------------

def waiting_leads(count=20):
    return {f"waits-{n}": person("ads", "spring", date(1998, 1, 1) + timedelta(days=n)) for n in range(count)}


def in_force(client, people, **request):
    take_in(client, people)
    return value_models.publish(client, value_models.fit(client, **request))


def while_no_lead_has_bought_nothing_is_told_of_leads(fresh):
    admin, came = fresh.client("admin"), date(1998, 6, 1)
    early = {"at-once": person("ads", "spring", came, [(at(came), 3_000)]), "today": person("ads", "", came, [(facts.AS_OF, 900)])}
    model = in_force(admin, buyers() | waiting_leads() | early)
    assert not model.HasField("leads") and model.HasField("spend")
    assert not value_of(admin, questions.find(admin, "waits-3")).HasField("lead")


def without_a_fit_of_spending_there_is_a_chance_and_no_money(fresh):
    """All spend alike."""
    admin = fresh.client("admin")
    people = {who: person(bought=[(instant, 1_000) for instant, _ in of.bought]) for who, of in buyers().items()} | waiting_leads()
    people |= {f"came-{n}": person("ads", "spring", date(1998, 1, 2), [(at(date(1998, 2, 2 + n)), 1_000)]) for n in range(5)}
    model = in_force(admin, people)
    assert model.spend_problem and not model.HasField("spend")
    groups = [model.leads.all, *model.leads.channels, *model.leads.campaigns]
    assert len(groups) == 3 and not any(group.HasField("value_if_converted") for group in groups)
    lead = value_of(admin, questions.find(admin, "waits-3")).lead
    leads = {who: Lead(of.channel, of.campaign, of.came, [instant.date() for instant, _ in of.bought]) for who, of in people.items()}
    fit = lead_witness.Fit(leads, date(1998, 6, 30))
    waits = Lead("ads", "spring", date(1998, 1, 4))
    assert lead.conversion_probability == pytest.approx(fit.probability(waits, lead.age_days, 365), rel=1e-9)
    assert not lead.HasField("value_if_converted") and not lead.HasField("value")


def a_way_by_which_somebody_comes_today_for_the_first_time_is_no_group_yet(fresh):
    """There is nobody whom the first one resembles but all."""
    admin = fresh.client("admin")
    people = buyers() | waiting_leads()
    people |= {who: person(channel, "night", date(1998, 7, 1)) for who, channel in (("first", "radio"), ("second", "ads"))}
    people |= {f"came-{n}": person("ads", "spring", date(1998, 1, 2), [(at(date(1998, 2, 2 + n)), 1_000)]) for n in range(5)}
    model = in_force(admin, people, holdout_days=0)
    assert [(each.channel, each.leads) for each in model.leads.channels] == [("ads", 25)]
    assert [(each.channel, each.campaign, each.leads) for each in model.leads.campaigns] == [("ads", "spring", 25)]
    ways = [(lead.channel, lead.campaign) for lead in (value_of(admin, questions.find(admin, who)).lead for who in ("first", "second"))]
    assert ways == [("", ""), ("ads", "")]


def the_largest_groups_alone_have_chances_of_their_own(fresh):
    """Of 203 channels with 5 campaigns each, of 1,003 in all: three channels of one lead are left out, and so are their campaigns."""
    admin, day = fresh.client("admin"), date(1998, 3, 1)
    people = {f"l-{c}-{n}": person(f"c{c:03}", f"k{n % 5}", day, [(at(day + timedelta(days=1 + c % 90)), 900 + c)] if n == 0 else [])
              for c in range(200) for n in range(10)}
    people |= {f"small-{c}": person(f"a{c}", "k0", day) for c in range(3)}
    model = in_force(admin, people | buyers(), holdout_days=0)
    assert [each.channel for each in model.leads.channels] == [f"c{c:03}" for c in range(200)]
    ways = [(f"c{c:03}", f"k{n}") for c in range(200) for n in range(5)]
    assert [(each.channel, each.campaign) for each in model.leads.campaigns] == ways
    assert model.leads.all.leads == 2_003
    lead = value_of(admin, questions.find(admin, "small-1")).lead
    assert (lead.channel, lead.campaign) == ("", "") and lead.value_if_converted == model.leads.all.value_if_converted
    lead = value_of(admin, questions.find(admin, "l-7-3")).lead
    assert (lead.channel, lead.campaign) == ("c007", "k3")


@pytest.mark.parametrize(("margin", "months"), [(100, 1), (1e-9, 120), (100, 120)])
def extreme_terms_are_what_they_say(shop, margin, months):
    terms = {"gross_margin_percent": margin, "monthly_discount_percent": 0, "months": months}
    model = value_models.fit(shop.client, holdout_days=1, terms=terms)
    assert model.terms.months == months and [band.lead_days for band in model.leads.bands] == shop.fit.days
    foretold = lead_witness.foretold(shop.leads, END, 1)
    assert model.leads.holdout.expected_conversions == pytest.approx(foretold[1], rel=1e-9)
    if margin < 1:
        assert facts.cents_of(model.leads.all.value_if_converted) == 0


def where_everybody_buys_the_day_after_it_came_the_next_one_is_not_certain_to(fresh):
    admin, day = fresh.client("admin"), date(1998, 5, 1)
    people = {f"quick-{n}": person("ads", "", day + timedelta(days=n), [(at(day + timedelta(days=n + 1)), 1_000 + n)]) for n in range(9)}
    in_force(admin, people | buyers() | {"new": person("ads", "", date(1998, 7, 1))})
    assert 0.5 < value_of(admin, questions.find(admin, "new")).lead.conversion_probability < 1


def amounts_without_minor_digits_are_told_as_they_are(fresh):
    """In yen."""
    client, people = new_tenant(fresh, "kyoto", base_currency="JPY"), buyers() | waiting_leads()
    people |= {f"came-{n}": person("ads", "spring", date(1998, 1, 2), [(at(date(1998, 2, 2 + n)), 1_000 + 300 * n)]) for n in range(5)}
    rows = [row for who, told in people.items() for row in rows_of(who, told)]
    for row in rows:
        if "order" in row:
            amount = row["order"]["amount"]
            row["order"]["amount"] = {"currency_code": "JPY", "units": amount["units"] * 100 + amount["nanos"] // 10_000_000}
    questions.wait_for(client, questions.take_in(client, *rows).facts_position)
    model = value_models.publish(client, value_models.fit(client, holdout_days=0))
    names = questions.names_of(client)
    worth = value_models.values(client, [names[f"came-{n}"] for n in range(5)])
    values = [1_000 + 300 * n + worth[names[f"came-{n}"]].lifetime_value.units for n in range(5)]
    told = model.leads.all.value_if_converted
    assert (told.currency_code, told.nanos) == ("JPY", 0) and told.units == pytest.approx(sum(values) / 5, abs=1)
    lead = value_of(client, names["waits-0"]).lead
    assert lead.value.units == pytest.approx(lead.conversion_probability * lead.value_if_converted.units, abs=0.51)
