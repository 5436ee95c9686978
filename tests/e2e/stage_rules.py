"""Stage policies with rules of their own: drafted, tried, put in force; who is where by them, also when time alone passes, by a witness that has each
rule a second time, in Python; and what is refused."""
import math
import random
from collections import Counter
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Callable, NamedTuple

import pytest

from support import alive, facts, questions, quintile, retention, stage_policies, waiting, worth
from support.refusals import INVALID_ARGUMENT, PERMISSION_DENIED
from support.stage_policies import (AS_OF, CALM, CREATE, DAY, FIRST, POLICY, SELDOM, SERVICE, SHIPPED, Person, command, create, explained, get,
                                    invented, policy, preview, publish, rules_of, stage, streamed, take_in, told, values, versions)

LATER = AS_OF + 45 * DAY
EXIT_USAGE = 2


class Own(NamedTuple):
    """A rule, and the same in Python."""

    stage: str
    condition: str
    holds: Callable


def figures(person, now, rules):
    """What conditions ask for of a customer who has ordered."""
    today, bought, wrote = now.date(), person.bought, person.contacts

    def within(instants, days, until=0):
        return sum(now - days * DAY <= at < now - until * DAY for at in instants)
    silent, times = (today - person.days[-1]).days, 0
    while silent > explained(person.gaps, rules.population_p80_days, times + 1):
        times += 1
    return SimpleNamespace(
        silent_days=silent, rhythms_silent=times, orders=len(bought), purchase_days=len(person.days), orders_30=within(bought, 30),
        orders_90=within(bought, 90), orders_365=within(bought, 365), previous_orders_90=within(bought, 180, 90), interactions=len(wrote),
        open_complaints=int(person.complains), since_first=(today - person.days[0]).days,
        since_contact=(today - wrote[-1].date()).days if wrote else None)


# Each is for somebody: a test sees to it.
RULES = (
    Own("DORMANT", "rhythms_silent >= 1 && orders <= 2", lambda of: of.rhythms_silent >= 1 and of.orders <= 2),
    Own("LOYAL", "orders_90 > 4 && open_complaints == 0 || silent_days in [3, 30, 31]",
        lambda of: of.orders_90 > 4 and not of.open_complaints or of.silent_days in (3, 30, 31)),
    Own("NEW", "days_since(first_order_at) < 200 && !(orders_30 > 0)", lambda of: of.since_first < 200 and not of.orders_30),
    Own("AT_RISK", "days_since(last_interaction_at) > 60 && silent_days > interactions",
        lambda of: of.since_contact is not None and of.since_contact > 60 and of.silent_days > of.interactions),
    Own("CHURNED", "rhythms_silent >= 3 || orders_365 < previous_orders_90",
        lambda of: of.rhythms_silent >= 3 or of.orders_365 < of.previous_orders_90),
    Own("REACTIVATED", "purchase_days == 7 && !has(last_interaction_at)", lambda of: of.purchase_days == 7 and of.since_contact is None))
# What midnights alone decide.
TURNING = (
    Own("LOYAL", "silent_days >= 5 && silent_days < 9", lambda of: 5 <= of.silent_days < 9),
    Own("CHURNED", "days_since(first_order_at) == 400", lambda of: of.since_first == 400),
    Own("REACTIVATED", "rhythms_silent == 1 && orders > 2", lambda of: of.rhythms_silent == 1 and of.orders > 2),
    Own("NEW", "silent_days in [20, 21, 40, 60, 80, 100, 120]", lambda of: of.silent_days in (20, 21, 40, 60, 80, 100, 120)),
    Own("AT_RISK", "rhythms_silent > purchase_days", lambda of: of.rhythms_silent > of.purchase_days))


def said(own):
    return [(each.stage, each.condition) for each in own]


def place(person, now, own, rules=SHIPPED):
    """(the place of the rule that decides, from 1, or None; the stage)"""
    if person.orders:
        of = figures(person, now, rules)
        for number, each in enumerate(own, 1):
            if each.holds(of):
                return number, each.stage
    return None, stage(person, now, rules)


def passing(person, start, end, own, rules):
    """[(midnight, stage before, stage after)] of who does nothing between two instants."""
    steps, now, at = [], place(person, start, own, rules)[1], start
    while (at := at + DAY) <= end:
        if (then := place(person, at, own, rules)[1]) != now:
            steps.append((at, now, then))
            now = then
    return steps


def rules_said(version):
    return [(retention.name_of(each, "stage"), each.condition) for each in version.rules]


def stages(client, people):
    return {name: questions.stage_name(values(client, name)) for name in people}


# -- versions -------------------------------------------------------------------------------------------------------------

def a_draft_has_the_rules_that_it_is_given_and_no_others(fresh):
    client = fresh.client("admin")
    assert not policy(client).published.rules
    made, without = create(client, own=said(RULES), new_days=30), create(client, new_days=40)
    assert rules_said(made) == said(RULES) and rules_of(made) == SHIPPED._replace(new_days=30) and not without.rules
    publish(client, made.name)
    assert policy(client).published.rules == made.rules
    bare, other = create(client), create(client, own=said(TURNING))
    assert not bare.rules and rules_of(bare).new_days == 30, "parameters are those in force, rules are those of the draft"
    assert rules_said(other) == said(TURNING)
    fresh.kill()
    fresh.start()
    client = fresh.client("admin")
    assert [rules_said(each) for each in versions(client)] == [said(TURNING), [], [], said(RULES), []]
    publish(client, without.name)
    assert not policy(client).published.rules and rules_said(get(client, made.name)) == said(RULES)


# -- who is where ---------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def shop(backend):
    """The invented shop, of which rules of its own are put in force."""
    with quintile.suite(backend) as suite:
        client = suite.client("admin")
        people = take_in(client, invented())
        draft = create(client, own=said(RULES))
        seen = preview(client, draft.name)
        before = stages(client, people)
        yield SimpleNamespace(suite=suite, client=client, people=people, draft=draft, seen=seen, before=before, done=publish(client, draft.name),
                              ought={name: place(person, AS_OF, RULES) for name, person in people.items()})


def a_dry_run_foresees_who_moves_by_rules(shop):
    ought = Counter((stage(person, AS_OF), shop.ought[name][1]) for name, person in shop.people.items())
    moves = {(retention.name_of(each, "from"), retention.name_of(each, "to")): each.customers for each in shop.seen.moves}
    assert moves == ought and shop.seen.version == shop.draft
    assert shop.seen.changed_customers == sum(count for (one, other), count in ought.items() if one != other)
    assert shop.before == {name: stage(person, AS_OF) for name, person in shop.people.items()}, "it changes nobody"


def everybody_is_where_the_first_rule_that_holds_says(shop):
    assert stages(shop.client, shop.people) == {name: at for name, (_, at) in shop.ought.items()}
    assert {number for number, _ in shop.ought.values()} == {None, *range(1, len(RULES) + 1)}, "each rule is for somebody"
    fed = streamed(shop.client)
    assert {name: questions.stage_name(fed[name]) for name in shop.people} == {name: at for name, (_, at) in shop.ought.items()}
    assert retention.funnel(shop.client) == Counter(at for _, at in shop.ought.values())


def reasons_are_the_rules_that_decided(shop):
    for name, (number, _) in shop.ought.items():
        reason = values(shop.client, name).reason
        if number is None:
            assert not reason.startswith("rule "), (name, reason)
        else:
            assert reason == f"rule {number} of the policy: {RULES[number - 1].condition}", name


def leads_stay_leads_whatever_rules_say(fresh):
    client = fresh.client("admin")
    people = take_in(client, {"lead": Person(), "ann": Person(((AS_OF - DAY, 700),))})
    publish(client, create(client, own=[("LOYAL", "!has(last_order_at)"), ("DORMANT", "true")]).name)
    assert stages(client, people) == {name: "DORMANT" if person.orders else "LEAD" for name, person in people.items()}


def what_customers_are_can_be_asked_for(fresh):
    client = fresh.client("admin")
    rows = [facts.customer("de", attributes={"language": "de", "acquisition_channel": "fair", "acquisition_date": facts.date_of(AS_OF - 9 * DAY)}),
            facts.customer("fr", attributes={"language": "fr", "kind": "CUSTOMER_KIND_CONTACT"}), facts.customer("en")]
    rows += [facts.order(key, f"{key}-1", order_time=facts.text_of(AS_OF - 20 * DAY)) for key in ("de", "fr", "en")]
    rows.append(facts.feedback("en", "en-f", kind="FEEDBACK_KIND_NPS", score=6))
    retention.wait_for(client, questions.take_in(client, *rows).facts_position, AS_OF)
    own = [("LOYAL", 'language == "de" && acquisition_channel.startsWith("fa") && days_since(acquired_at) == 9'),
           ("CHURNED", 'kind == "contact"'), ("DORMANT", "last_nps <= 6 && rfm.r >= 1")]
    publish(client, create(client, own=own).name)
    names = questions.names_of(client, facts.SOURCE)
    assert [questions.stage(client, names[key]) for key in ("de", "fr", "en")] == ["LOYAL", "CHURNED", "DORMANT"]


# -- time alone -----------------------------------------------------------------------------------------------------------

def time_alone_does_what_rules_say_at_the_midnight_of_each_and_it_is_told_once(fresh):
    client = fresh.client("admin")
    people = take_in(client, invented(paces=SELDOM))
    publish(client, create(client, CALM, own=said(TURNING)).name)
    earlier = {name: told(client, name) for name in people}
    foretold = {name: values(client, name) for name in people}
    ought = {name: passing(person, AS_OF, LATER, TURNING, CALM) if person.orders else [] for name, person in people.items()}
    for name, steps in ought.items():
        next_change = retention.instant_of(foretold[name].next_change_time) if foretold[name].HasField("next_change_time") else None
        if steps:
            assert next_change == steps[0][0], (name, steps)
        else:
            assert next_change is None or next_change > LATER, name
    questions.set_clock(client, LATER)
    for name, steps in ought.items():
        assert told(client, name)[len(earlier[name]):] == [(at, "TIME", *ends) for at, *ends in steps], name
    assert stages(client, people) == {name: place(person, LATER, TURNING, CALM)[1] for name, person in people.items()}
    assert sum(map(len, ought.values())) > 100
    assert {"LOYAL", "CHURNED", "REACTIVATED", "NEW"} <= {after for steps in ought.values() for _, _, after in steps}


def jumps_of_any_length_come_to_the_same(fresh):
    client, chance = fresh.client("admin"), random.Random(5)
    people = take_in(client, invented(seed=8, customers=60, paces=SELDOM))
    publish(client, create(client, CALM, own=said(TURNING)).name)
    now = AS_OF
    while now < LATER:
        now = min(LATER, datetime.combine(now.date() + chance.randrange(1, 12) * DAY, datetime.min.time(), timezone.utc))
        questions.set_clock(client, now)
        assert stages(client, people) == {name: place(person, now, TURNING, CALM)[1] for name, person in people.items()}, now


# -- the probability of being alive ---------------------------------------------------------------------------------------

# Of customers whose silence does not say as much already.
STRICT = SHIPPED._replace(churned_below_alive_percent=30, dormant_below_alive_percent=60, at_risk_below_alive_percent=90)


@pytest.fixture
def town(fresh):
    """Some of the customers of CDNOW and a lead, by a strict policy, with a value model in force that has come to all of them."""
    client = fresh.client("admin")
    people = take_in(client, dict(list(stage_policies.cdnow().items())[::40]) | {"lead": Person()})
    publish(client, create(client, STRICT).name)
    earlier = {name: told(client, name) for name in people}
    assert stages(client, people) == {name: stage(person, AS_OF) for name, person in people.items()}, "of nobody it is known yet"
    model = worth.publish_value_model(client)
    assert model.purchases.dropout_identified
    town = SimpleNamespace(client=client, people=people, earlier=earlier, model=model)
    waiting.until(lambda: alive_told(client) == alive_of(town, AS_OF), "records to tell how likely customers still buy")
    return town


def alive_told(client):
    records = questions.everything(client, "StageService/ListRecords", "records", page_size=1_000)
    return {f"customers/{each.customer_id}": each.scores.alive_percent if each.scores.HasField("alive_percent") else None for each in records}


def alive_of(town, now):
    """By the closed form, with the parameters that the model tells."""
    return alive.percents(town.model, {name: set(person.days) for name, person in town.people.items()}, now.date())


def placed(town, now, rules=STRICT):
    known = alive_of(town, now)
    return {name: stage(person, now, rules, math.inf if known[name] is None else known[name]) for name, person in town.people.items()}


def who_is_hardly_likely_to_buy_still_is_put_by_that_and_a_model_is_nothing_that_it_has_done(town):
    ought = placed(town, AS_OF)
    assert stages(town.client, town.people) == ought
    moved = 0
    for name, person in town.people.items():
        before, after = stage(person, AS_OF), ought[name]
        steps = [(why, *ends) for _, why, *ends in told(town.client, name)[len(town.earlier[name]):]]
        assert steps == [("POLICY", before, after)] * (before != after), (name, steps)
        moved += before != after
    assert moved > 10


def midnights_alone_make_customers_less_likely_to_buy_still(town):
    now = AS_OF
    for days in (1, 1, 5, 20):
        now += days * DAY
        questions.set_clock(town.client, now)
        assert stages(town.client, town.people) == placed(town, now), now
    causes = {why for name in town.people for at, why, *_ in told(town.client, name) if at > AS_OF}
    assert causes == {"TIME"}


def parameters_say_from_which_probability_on_and_rules_may_ask_for_it(town):
    draft = create(town.client, SHIPPED)
    moves = Counter(zip(placed(town, AS_OF).values(), placed(town, AS_OF, SHIPPED).values()))
    seen = preview(town.client, draft.name)
    assert {(retention.name_of(each, "from"), retention.name_of(each, "to")): each.customers for each in seen.moves} == moves
    publish(town.client, draft.name)
    assert stages(town.client, town.people) == placed(town, AS_OF, SHIPPED)
    never = SHIPPED._replace(churned_below_alive_percent=0, dormant_below_alive_percent=0, at_risk_below_alive_percent=0)
    publish(town.client, create(town.client, never, own=[("REACTIVATED", "alive_percent >= 95")]).name)
    known = alive_of(town, AS_OF)
    assert stages(town.client, town.people) == {
        name: "REACTIVATED" if known[name] is not None and known[name] >= 95 else stage(person, AS_OF) for name, person in town.people.items()}


# -- fields ---------------------------------------------------------------------------------------------------------------

def fields_have_types_and_meanings_and_each_can_be_asked_for(admin):
    fields = {each.name: each for each in admin.call(f"{SERVICE}/ListStageFields").fields}
    kinds = {"silent_days": 1, "rhythms_silent": 1, "alive_percent": 1, "kind": 2, "last_order_at": 3}  # As StageFieldType numbers them.
    assert {name: fields[name].value_type for name in kinds} == kinds and list(fields) == sorted(fields)
    assert all(each.description and each.value_type for each in fields.values())
    for name in fields:
        assert create(admin, own=[("LOYAL", f"has({name})")]).rules[0].condition == f"has({name})"
    of_segments = {each.name: each for each in admin.call("ExpressionService/ListFields").fields}
    assert fields.keys() - of_segments.keys() <= {"silent_days", "rhythms_silent", "alive_percent", "churn_risk_percent"}
    assert not {"revenue", "region", "country", "gender", "income_band", "household", "stage", "label"} & fields.keys()


# -- what is refused ------------------------------------------------------------------------------------------------------

def rule(condition, at="LOYAL"):
    return {"stage": f"STAGE_{at}", "condition": condition}


# What is wrong with rules, the field that the refusal names, its reason, and words of it.
BAD_RULES = {
    "no stage": ([{"condition": "true"}], "[0].stage", "INVALID_FIELD", ""),
    "a stage that is none": ([{"stage": 99, "condition": "true"}], "[0].stage", "INVALID_FIELD", ""),
    "leads": ([rule("true", "LEAD")], "[0].stage", "INVALID_FIELD", "LEAD"),
    "the second one": ([rule("true"), rule("orders >")], "[1].condition", "INVALID_EXPRESSION", "line 1, column 9"),
    "no condition": ([{"stage": "STAGE_LOYAL"}], "[0].condition", "INVALID_FIELD", ""),
    "a blank condition": ([rule("  ")], "[0].condition", "INVALID_FIELD", ""),
    "a long condition": ([rule("orders > 1" + " " * 1_015)], "[0].condition", "INVALID_FIELD", ""),
    "two lines": ([rule("orders > 1\n&& true")], "[0].condition", "INVALID_FIELD", ""),
    "a NUL": ([rule('channel == "a\0"')], "[0].condition", "INVALID_FIELD", ""),
    "text that turns around": ([rule('channel == "a\u202eb"')], "[0].condition", "INVALID_FIELD", ""),
    "an unknown field": ([rule("rhythm_silent > 2")], "[0].condition", "INVALID_EXPRESSION", "did you mean `rhythms_silent`?"),
    "another type": ([rule('orders > "many"')], "[0].condition", "INVALID_EXPRESSION", "int"),
    "arithmetic": ([rule("orders + 1 > 2")], "[0].condition", "INVALID_EXPRESSION", "arithmetic"),
    "a depth": ([rule("(" * 40 + "true" + ")" * 40)], "[0].condition", "INVALID_EXPRESSION", "deep"),
    "a segment": ([rule('segment("vip")')], "[0].condition", "INVALID_EXPRESSION", "segments"),
    "the present instant": ([rule("orders > 2 || last_order_at < now")], "[0].condition", "INVALID_EXPRESSION", "now"),
    **{f"a field that stages must not tell, {name}": ([rule(f"has({name})")], "[0].condition", "INVALID_EXPRESSION", "stages may not depend on money")
       for name in ("revenue", "net_revenue", "revenue_90", "region", "country", "gender")},
    **{f"a field that stages do not know, {name}": ([rule(f"has({name})")], "[0].condition", "INVALID_EXPRESSION", "unknown field")
       for name in ("stage", "label", "owner")},
    "too many": ([rule("true")] * 33, "", "INVALID_FIELD", "32"),
    "too many terms": ([rule(f"orders in {[*range(129)]}"), rule(f"orders_90 in {[*range(128)]}")], "", "INVALID_FIELD", "256"),
    "too many terms of days": ([rule(f"silent_days in {[*range(31)]}"), rule("days_since(last_order_at) > 3 || orders < rhythms_silent")],
                               "", "INVALID_FIELD", "32"),
}


@pytest.mark.parametrize("wrong", BAD_RULES)
def rules_that_make_no_sense_are_refused(admin, wrong):
    rules, field, reason, words = BAD_RULES[wrong]
    before = policy(admin).latest_version
    refusal = admin.refused(CREATE, {"parent": POLICY, "version": {"rules": rules}}).must_be(INVALID_ARGUMENT, reason)
    [violation] = refusal.bad_request.field_violations
    assert violation.field == f"version.rules{field}" and words in violation.description, violation
    assert "many" not in violation.description, "a value of the rule is not told"
    assert policy(admin).latest_version == before


def what_is_just_within_bounds_is_taken(admin):
    most = create(admin, own=[("LOYAL", "orders > 1" + " " * 1_014)] * 32)
    assert len(most.rules) == 32
    terms = create(admin, own=[("LOYAL", f"orders in {[*range(128)]}"), ("NEW", f"orders_90 in {[*range(96)]} || silent_days in {[*range(32)]}")])
    assert len(preview(admin, terms.name).version.rules) == 2


def who_may_not_make_versions_makes_none_with_rules(shared):
    request = {"parent": POLICY, "version": {"rules": [rule("orders > 1")]}}
    shared.client("marketer").refused(CREATE, request).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    shared.client("auditor").refused(f"{SERVICE}/ListStageFields", {}).must_be(PERMISSION_DENIED, "METHOD_DENIED")


# -- the command ----------------------------------------------------------------------------------------------------------

def the_command_drafts_rules_keeps_them_and_shows_them(fresh):
    client = fresh.client("admin")
    [ann] = take_in(client, {"ann": Person(((AS_OF - 30 * DAY, 123_456),))})
    conditions = "silent_days >= 30 && orders == 1", 'channel == "a=b"'
    rules = ["--rule", f"dormant={conditions[0]}", "--rule", f"at_risk = {conditions[1]}"]
    name = command(fresh, "draft", *rules, "--as", "analyst").strip()
    assert name == f"{POLICY}/versions/2"
    assert rules_said(get(client, name)) == [("DORMANT", conditions[0]), ("AT_RISK", conditions[1])]
    seen = command(fresh, "preview", name, "--as", "analyst")
    assert "silent_days >= 30" in seen and "dormant" in seen and "1 of 1" in seen
    command(fresh, "publish", name)
    assert questions.stage(client, ann) == "DORMANT"
    shown = command(fresh, "show", "--as", "support")
    assert all(words in shown for words in (*conditions, "at risk", "dormant_below_alive_percent"))
    kept, dropped, other = (command(fresh, "draft", *more, "-o", "json") for more in (
        ("--new-days", "9"), ("--no-rules",), ("--rule", "new=orders < 9")))
    assert [[each["condition"] for each in made.get("rules", [])] for made in (kept, dropped, other)] == [[*conditions], [], ["orders < 9"]]
    fields = command(fresh, "fields", "--as", "sales")
    assert "rhythms_silent" in fields and "instant" in fields and "revenue" not in fields
    for wrong in ("dormant", "asleep=orders > 1", "lead=orders > 1", "new=order > 1", "new=segment('vip')"):
        assert command(fresh, "draft", "--rule", wrong, code=EXIT_USAGE), wrong
    assert command(fresh, "draft", "--no-rules", "--rule", "new=true", code=EXIT_USAGE)
    assert policy(client).latest_version == 5 and policy(client).published.name == name != FIRST
