"""Stage policies: versions follow one another, say beforehand what they would mean, and once in force put everybody into stages anew, each change
told once."""
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from support import facts, questions, quintile, retention, segments, stage_policies, waiting
from support.refusals import FAILED_PRECONDITION, Refusal
from support.stage_policies import (ALONE, AS_OF, DAY, FIRST, HOUR, KINDS, OTHERS, POLICY, PREVIEW, SHIPPED, Person, begin_publishing, by_policy,
                                    create, differ, foreseen, funnel_of, get, invented, placed, plain, policy, population_p80, preview, publish,
                                    put_in_force, read, restaged, rules_of, stage, state, streamed, take_in, told, values, versions, warned)
from support.watching import watch

NOW = AS_OF + DAY


@pytest.fixture(scope="module")
def shop(backend):
    """The invented shop, of which nothing is ever published."""
    with quintile.suite(backend) as suite:
        client = suite.client("admin")
        yield SimpleNamespace(suite=suite, client=client, analyst=suite.client("analyst"), people=take_in(client, invented()))


@pytest.fixture(scope="module")
def buyers():
    """The customers of the demo."""
    return list(stage_policies.cdnow().values())


# -- versions -------------------------------------------------------------------------------------------------------------

def the_first_version_is_in_force_from_the_start_and_a_draft_takes_what_it_leaves_unset_from_what_is_in_force(fresh):
    client = fresh.client("admin")
    of = policy(client)
    first = of.published
    assert (of.name, of.latest_version, first.name, state(first), rules_of(first)) == (POLICY, 1, FIRST, "PUBLISHED", SHIPPED)
    assert not any(first.HasField(field) for field in ("create_time", "publish_time", "retire_time"))
    assert first.etag and get(client, FIRST) == first and versions(client) == [first]
    [name] = take_in(client, {"ann": Person(((AS_OF - DAY, 100),))})
    assert values(client, name).policy_version == FIRST
    before = datetime.now(timezone.utc)
    loyal = create(client, loyal_orders=7, description="Who buys seven times, 七")
    assert (loyal.name, state(loyal), loyal.description) == (f"{POLICY}/versions/2", "DRAFT", "Who buys seven times, 七")
    assert before <= retention.instant_of(loyal.create_time) <= datetime.now(timezone.utc)
    assert not loyal.HasField("publish_time") and not loyal.HasField("retire_time")
    whole, days = create(client, OTHERS), create(client, new_days=30)
    assert [rules_of(each) for each in (loyal, whole, days)] == [SHIPPED._replace(loyal_orders=7), OTHERS, SHIPPED._replace(new_days=30)]
    publish(client, loyal.name)
    empty = create(client)
    assert rules_of(empty) == rules_of(loyal) and empty.description == ""
    assert rules_of(create(client, new_orders=9)) == SHIPPED._replace(loyal_orders=7, new_orders=9)
    assert [get(client, each.name) for each in (whole, days, empty)] == [whole, days, empty], "a draft never changes"
    assert policy(client).latest_version == 6


def what_was_in_force_is_retired_and_stays_for_ever(fresh):
    client = fresh.client("admin")
    first, drafts = get(client, FIRST), [create(client, new_days=days) for days in (30, 60)]
    for draft in drafts:
        before = datetime.now(timezone.utc)
        publish(client, draft.name, etag=draft.etag)
        published = policy(client).published
        assert (published.name, state(published), published.parameters) == (draft.name, "PUBLISHED", draft.parameters)
        assert before <= retention.instant_of(published.publish_time) <= datetime.now(timezone.utc) and published.create_time == draft.create_time
        assert published.etag != draft.etag and published == get(client, draft.name)
    third, second, last = versions(client)
    assert [state(each) for each in (third, second, last)] == ["PUBLISHED", "RETIRED", "RETIRED"]
    assert [each.HasField("retire_time") for each in (third, second, last)] == [False, True, True]
    assert second.retire_time.ToDatetime() >= second.publish_time.ToDatetime() >= last.retire_time.ToDatetime()
    assert last.parameters == first.parameters and last.etag != first.etag and not last.HasField("publish_time")
    fresh.kill()
    fresh.start()
    assert [each.SerializeToString() for each in versions(fresh.client("admin"))] == [each.SerializeToString() for each in (third, second, last)]


@pytest.mark.parametrize("page_size", [1, 7, 100, 5_000])
def pages_of_versions_come_to_the_whole_the_newest_first(shared, page_size):
    client = shared.client("admin")
    while len(versions(client)) < 24:
        create(client)
    whole = versions(client, page_size=page_size)
    assert [stage_policies.number(each.name) for each in whole] == list(range(len(whole), 0, -1)) and whole == versions(client)
    first = client.call(stage_policies.LIST, {"parent": POLICY})
    assert list(first.versions) == whole[:20] and first.next_page_token


def of_many_who_publish_a_draft_at_once_one_does(shared):
    client = shared.client("admin")
    draft = create(client, loyal_orders=4)

    def attempt(_):
        try:
            return begin_publishing(client, draft.name)
        except Refusal as refusal:
            return refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    with ThreadPoolExecutor(8) as pool:
        begun = [each for each in pool.map(attempt, range(8)) if not isinstance(each, Refusal)]
    assert len(begun) == 1 and restaged(client, begun[0]).version == draft.name


def another_tenant_has_a_policy_of_its_own(fresh):
    here = fresh.client("admin")
    here.call("TenantService/CreateTenant", {"tenant_id": retention.TENANT, "tenant": {"time_zone": retention.ZONE.key}})
    there = retention.client_of(fresh)
    people = {"ann": Person(((AS_OF - 10 * DAY, 100),))}
    [name], [theirs] = take_in(here, people), take_in(there, people)
    put_in_force(here, new_days=5)
    assert (questions.stage(here, name), questions.stage(there, theirs)) == ("ACTIVE", "NEW")
    assert policy(there).published == policy(there).published and policy(there).latest_version == 1 and versions(there)[0].name == FIRST
    assert told(there, theirs) == []


# -- dry runs -------------------------------------------------------------------------------------------------------------

DRAFTS = [OTHERS, SHIPPED._replace(population_p80_days=30, decline_min_count=1, churned_factor=9)]


@pytest.mark.parametrize("rules", DRAFTS)
def the_demo_is_foreseen_as_the_witness_has_it(demo, buyers, rules):
    """What is drafted is taken back: others read the demo too."""
    draft = create(demo.analyst, rules)
    try:
        seen = preview(demo.analyst, draft.name)
        assert plain(seen) == foreseen(buyers, AS_OF, rules)
        assert seen.version == draft and retention.instant_of(seen.as_of) == AS_OF
    finally:
        stage_policies.delete(demo.analyst, draft.name)
    assert (seen.customers, seen.population_p80_days, population_p80(buyers)) == (23_570, 119, 119)
    assert retention.funnel(demo.admin) == Counter(stage(person, AS_OF) for person in buyers)


def the_version_in_force_moves_nobody(demo, buyers):
    seen = preview(demo.analyst, FIRST)
    assert plain(seen) == foreseen(buyers, AS_OF, SHIPPED) and seen.changed_customers == 0
    assert all(getattr(each, "from") == each.to for each in seen.moves) and seen.version == policy(demo.admin).published


@pytest.mark.parametrize("parameter", ALONE)
def each_parameter_decides_as_the_contract_says(shop, parameter):
    rules = SHIPPED._replace(**{parameter: ALONE[parameter]})
    people = list(shop.people.values())
    ought = foreseen(people, AS_OF, rules)
    assert plain(preview(shop.analyst, create(shop.analyst, **{parameter: ALONE[parameter]}).name)) == ought
    assert ought["changed"] > 0 and all(any(ought["warnings"][kind]) for kind in KINDS if kind not in ("CHURN_RISK", "LOW_SCORE"))


def a_dry_run_changes_nobody(shop):
    before = streamed(shop.client)
    cursor = segments.now(shop.client)
    name = create(shop.client, OTHERS).name
    first = preview(shop.client, name)
    assert preview(shop.client, name) == first and plain(first) == foreseen(shop.people.values(), AS_OF, OTHERS)
    assert streamed(shop.client) == before and segments.since(shop.client, cursor) == []
    assert read(shop.client, shop.people) == placed(shop.people, AS_OF) and retention.funnel(shop.client) == funnel_of(placed(shop.people, AS_OF))
    assert state(get(shop.client, name)) == "DRAFT" and policy(shop.client).published.name == FIRST
    assert not retention.flow(shop.client, datetime(1970, 1, 1, tzinfo=timezone.utc)).moves


def who_stops_reading_a_dry_run_disturbs_nobody(shop):
    name = create(shop.client, OTHERS).name
    for seconds in (0.001, 0.003, 0.01, 0.03):
        code = waiting_in_vain(shop.client, name, seconds)
        assert code in ("DEADLINE_EXCEEDED", "CANCELLED", None)
    assert plain(preview(shop.client, name)) == foreseen(shop.people.values(), AS_OF, OTHERS)


def waiting_in_vain(client, name, seconds):
    """How a dry run ends that is given so much time; None: it was fast enough."""
    with watch(client, PREVIEW, {"name": name}, seconds=seconds) as watcher:
        code = watcher.until_ended()
    return None if code.name == "OK" else code.name


def of_nobody_a_dry_run_is_empty(shared):
    client = shared.client("admin")
    draft = create(client, OTHERS)
    assert plain(preview(client, draft.name)) == foreseen([], AS_OF, OTHERS)
    people = list(take_in(client, {"lead": Person(), "ann": Person(((AS_OF - DAY, 700),))}).values())
    seen = plain(preview(client, draft.name))
    assert seen == foreseen(people, AS_OF, OTHERS) and seen["p80"] is None
    assert seen["moves"] == {("LEAD", "LEAD"): (1, 0), ("NEW", "NEW"): (1, 700)}
    assert publish(client, draft.name).changed_customers == 0


def whoever_is_restricted_is_not_counted_and_comes_back_by_the_rules_of_then(fresh):
    client = fresh.client("admin")
    people = take_in(client, {f"c-{n}": Person(((AS_OF - (n + 1) * DAY, 100 + n),)) for n in range(12)})
    gone = [name for name, person in people.items() if person.cents in (104, 109)]
    for name in gone:
        questions.wait_for(client, client.call("PrivacyService/RestrictProcessing", {"name": name}).facts_position)
    draft = create(client, new_days=4)
    there = {name: person for name, person in people.items() if name not in gone}
    assert plain(preview(client, draft.name)) == foreseen(there.values(), AS_OF, rules_of(draft))
    assert publish(client, draft.name).changed_customers == 7
    for name in gone:
        questions.wait_for(client, client.call("PrivacyService/LiftRestriction", {"name": name}).facts_position)
    assert read(client, people) == placed(people, AS_OF, rules_of(draft))
    assert all(by_policy(told(client, name)) == [] for name in gone)
    assert plain(preview(client, FIRST)) == foreseen(people.values(), AS_OF, SHIPPED, rules_of(draft)), "by what was in force once"


# -- put in force ---------------------------------------------------------------------------------------------------------

def survival(client):
    of = client.call("RetentionService/GetSurvival")
    return of.customers, of.churned


RULES = {"loyal": 'stage == "loyal"', "away": 'stage in ["dormant", "churned"]', "quiet": 'warning.silence == "yes"',
         "less": 'warning.purchases == "yes" && stage != "loyal"'}


def members_of(placing):
    """{segment: its members} by where everybody is."""
    holds = {"loyal": lambda at, _: at == "LOYAL", "away": lambda at, _: at in ("DORMANT", "CHURNED"), "quiet": lambda _, of: "SILENCE" in of,
             "less": lambda at, of: "FEWER_PURCHASES" in of and at != "LOYAL"}
    return {f"segments/{each}": {name for name, of in placing.items() if rule(*of)} for each, rule in holds.items()}


def members(client):
    return {name: {*segments.members(client, name)} for name in members_of({})}


@pytest.fixture(scope="module")
def turned(backend):
    """The invented shop on its second day, of which everything about the rules has become another, and what was seen of it."""
    with quintile.suite(backend) as suite:
        client = suite.client("admin")
        people = take_in(client, invented())
        questions.set_clock(client, NOW)
        for each, rule in RULES.items():
            segments.create(client, each, rule)
        turned = SimpleNamespace(suite=suite, client=client, people=people, before=placed(people, NOW), after=placed(people, NOW, OTHERS),
                                 earlier={name: told(client, name) for name in people}, warned=warned(client), cursor=segments.now(client))
        assert read(client, people) == turned.before and members(client) == members_of(turned.before)
        turned.draft = create(client, OTHERS, "everything")
        turned.seen = preview(client, turned.draft.name)
        with watch(client, "StageService/WatchStages") as watcher:
            watcher.until_caught_up()
            known = len([record for answer in list(watcher.responses) for record in answer.records])
            turned.operation = begin_publishing(client, turned.draft.name, etag=turned.draft.etag)
            turned.at_once = read(client, people), retention.funnel(client), survival(client)
            turned.done = restaged(client, turned.operation)
            retention.wait_for(client, questions.take_in(client, facts.customer("last")).facts_position, NOW)
            turned.last = questions.find(client, "last")
            told_of = lambda said: [record for answer in said for record in answer.records][known:]  # noqa: E731
            watcher.until(lambda said: any(f"customers/{each.customer_id}" == turned.last for each in told_of(said)), "the last one to be told")
            turned.fed = told_of(list(watcher.responses))
        yield turned


@pytest.fixture(scope="module")
def present(turned):
    """What is said of everybody by then."""
    return {name: values(turned.client, name) for name in turned.people}


def reads_are_by_the_new_version_at_once(turned, present):
    stages, funnel, stayed = turned.at_once
    assert stages == turned.after and funnel == funnel_of(turned.after)
    assert stayed == (sum(at != "LEAD" for at, _ in turned.after.values()), funnel["CHURNED"])
    assert {of.policy_version for of in present.values()} == {turned.draft.name}


def what_was_foreseen_is_what_came_of_it(turned):
    assert plain(turned.seen) == foreseen(turned.people.values(), NOW, OTHERS)
    changed = differ(turned.before, turned.after)
    assert (turned.done.version, turned.done.changed_customers) == (turned.draft.name, len(changed))
    assert 0 < len(differ(turned.before, turned.after, 0)) == turned.seen.changed_customers < len(changed) < len(turned.people)
    back = plain(preview(turned.client, FIRST))
    ought = foreseen([*turned.people.values(), Person()], NOW, SHIPPED, OTHERS)
    assert back == ought, "what was in force is tried like any other"


def each_change_of_a_stage_is_told_once_with_its_cause_and_evidence(turned, present):
    for name, now in present.items():
        (before, _), (after, _) = turned.before[name], turned.after[name]
        ought = [(NOW, "POLICY", before, after)] if before != after else []
        changes = retention.transitions(turned.client, name)
        assert [retention.plain(each) for each in reversed(changes)] == turned.earlier[name] + ought, name
        if ought:
            newest = changes[0]
            assert newest.to.policy_version == turned.draft.name and retention.instant_of(newest.to.as_of) == NOW
            assert [getattr(newest.to, each) for each in ("reason", "silent_days", "rhythm_p80_days", "warnings")] == [
                getattr(now, each) for each in ("reason", "silent_days", "rhythm_p80_days", "warnings")]


def reasons_are_of_the_new_parameters(turned, present):
    words = {"CHURNED": "5 times", "DORMANT": "3 times", "REACTIVATED": "under 40 days", "NEW": "under 200 days", "LOYAL": "3 orders"}
    for name, (at, _) in turned.after.items():
        assert words.get(at, "") in present[name].reason, name
    assert {*words} <= {at for at, _ in turned.after.values()}


def flows_have_the_moves_and_end_where_everybody_is(turned):
    flow = retention.flow(turned.client, NOW - HOUR)
    moves = Counter((turned.before[name][0], turned.after[name][0]) for name in differ(turned.before, turned.after, 0))
    assert retention.counts(flow.moves) == moves
    ends = Counter((turned.before[name][0], turned.after[name][0]) for name in turned.people) + Counter({("LEAD", "LEAD"): 1})
    assert retention.counts(flow.customers) == ends
    assert retention.funnel(turned.client) == funnel_of(turned.after) + Counter(["LEAD"])


def the_feed_tells_those_of_whom_anything_is_another(turned, present):
    fed = {f"customers/{record.customer_id}": record.stage for record in turned.fed if f"customers/{record.customer_id}" != turned.last}
    changed = differ(turned.before, turned.after)
    assert changed <= fed.keys() <= turned.people.keys() and len(fed) == len(turned.fed) - 1, "each is told once"
    everybody = streamed(turned.client)
    assert everybody.pop(turned.last).policy_version == turned.draft.name
    assert {name: (questions.stage_name(of), stage_policies.shown(of)) for name, of in everybody.items()} == turned.after
    assert {everybody[name].policy_version for name in fed} == {turned.draft.name}
    assert {of.policy_version for of in everybody.values()} <= {FIRST, turned.draft.name}
    said = lambda of: (of.reason, of.rhythm_p80_days, of.next_change_time)  # noqa: E731
    same = [said(of) == said(present[name]) for name, of in everybody.items()]
    assert all(same), "an earlier version is named only where it says the same"


def signs_that_begin_and_end_raise_and_end_warnings(turned):
    ought, ends = Counter(turned.warned), Counter()
    for name in turned.people:
        (_, before), (at, after) = turned.before[name], turned.after[name]
        for kind in set(before) - set(after):
            [going_on] = [each for each in turned.warned if each[:2] == (name, kind) and each[3] == "OPEN"]
            ended = "EXPIRED" if at == "CHURNED" else "CLEARED"
            ought += Counter([(*going_on[:3], ended, NOW)])
            ought -= Counter([going_on])
            ends[ended] += 1
        ought += Counter((name, kind, NOW, "OPEN", None) for kind in after if kind not in before)
    assert warned(turned.client) == ought
    assert len(ought) > len(turned.warned) + 20 and ends["EXPIRED"] and ends["CLEARED"]


def segments_follow_and_their_followers_are_told(turned):
    before, after = members_of(turned.before), members_of(turned.after)
    ought = set().union(*(segments.moved(parent, before[parent], after[parent]) for parent in before))

    def changes():
        return [each for each in segments.since(turned.client, turned.cursor) if each.parent in before]
    waiting.until(lambda: len(changes()) >= len(ought), lambda: f"{len(ought)} changes of members, not {len(changes())}")
    segments.assert_told(changes(), ought, "TIME")
    assert members(turned.client) == after and all(before[name] != after[name] for name in before)
