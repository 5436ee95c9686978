"""Low scores: when a customer last gave one, by facts in any order, of who is merged and as of past instants; and a segment and a warning that a
score begins and time alone ends."""
import random
from collections import namedtuple
from datetime import timedelta
from types import SimpleNamespace

import pytest

from support import facts, playbooks, questions, segments, waiting, warnings
from support.facts import AS_OF
from support.noons import DAY, HOUR, START
from support.playbooks import MINUTE
from support.retention import instant_of
from support.watching import cause

Told = namedtuple("Told", "at kind score")
# The scales, and up to where a score is low.
SCALES = {"CSAT": range(1, 6), "STARS": range(1, 6), "NPS": range(11), "CES": range(1, 8)}
LOWEST = {"CSAT": 2, "STARS": 2, "NPS": 6}
# Of one score each, at the ends of what is low.
EDGES = {f"{kind}-{score}": (kind, score) for kind, lowest in LOWEST.items() for score in (lowest, lowest + 1, None)} | {
    "CES-1": ("CES", 1), "CES-7": ("CES", 7), "NPS-0": ("NPS", 0), "COMMENT": ("COMMENT", None)}
PAST = AS_OF - 40 * DAY


# -- the facts, and the witness -------------------------------------------------------------------------------------------

def given_by(chance):
    """What a customer said over a year; a part of it is not applicable."""
    kinds = [chance.choice([*SCALES, "COMMENT"]) for _ in range(chance.randrange(9))]
    return [Told(AS_OF - chance.randrange(1, 365 * 1_440) * MINUTE, kind, chance.choice([*SCALES.get(kind, [None]), None])) for kind in kinds]


def row(key, number, told):
    made = facts.feedback(key, f"{key}-{number}", feedback_time=facts.text_of(told.at), kind=f"FEEDBACK_KIND_{told.kind}")["feedback"]
    made |= {"score": told.score, "text": "words"}
    return {"feedback": {field: value for field, value in made.items() if value is not None}}


def last_low(own, now=AS_OF):
    """When the last low score was given, by all that was said before an instant. None: never."""
    low = [told.at for told in own if told.at < now and told.score is not None and told.score <= LOWEST.get(told.kind, -1)]
    return max(low, default=None)


def last_of(features):
    return instant_of(features.last_low_score_time) if features.HasField("last_low_score_time") else None


@pytest.fixture(scope="module")
def town(shared):
    """Customers who each bought once, and what they said, the half of it late, in no order. No test changes them."""
    admin, chance = shared.client("admin"), random.Random(7)
    people = {f"c{n}": given_by(chance) for n in range(40)} | {key: [Told(AS_OF - 9 * DAY, *said)] for key, said in EDGES.items()}
    rows = [row(key, number, told) for key, own in people.items() for number, told in enumerate(own)]
    chance.shuffle(rows)
    segments.take_in(admin, *(facts.order(key, f"{key}-o") for key in people), *rows[:len(rows) // 2])
    names = segments.take_in(admin, *rows[len(rows) // 2:])
    return SimpleNamespace(admin=admin, names=names, people=people)


def the_last_low_score_is_that_of_the_witness_whatever_came_when(town):
    found = {key: last_of(questions.features(town.admin, town.names[key])) for key in town.people}
    assert found == {key: last_low(own) for key, own in town.people.items()}
    assert {key for key in EDGES if found[key]} == {"CSAT-2", "STARS-2", "NPS-6", "NPS-0"}
    assert 10 < sum(found[key] is None for key in town.people) < len(town.people) - 10


def as_of_a_past_instant_it_is_the_last_of_those_before(town):
    asked = {"as_of": facts.text_of(PAST)}
    told = {key: town.admin.call("FeatureService/GetFeatures", asked | {"name": f"{town.names[key]}/features"}) for key in town.people}
    then = {key: last_of(each.features) for key, each in told.items()}
    assert then == {key: last_low(own, PAST) for key, own in town.people.items()}
    assert 5 < sum(last_low(own) != then[key] for key, own in town.people.items())


def rules_count_by_it(town):
    last = [last_low(own) for own in town.people.values()]
    days = [(AS_OF.date() - at.date()).days for at in last if at]
    expected = {"has(last_low_score_at)": len(days), "days_since(last_low_score_at) <= 30": sum(each <= 30 for each in days),
                "days_since(last_low_score_at) == 9": days.count(9), "days_since(last_low_score_at) > 100": sum(each > 100 for each in days),
                f'last_low_score_at < timestamp("{facts.text_of(PAST)}")': sum(at < PAST for at in last if at),
                'warning.low_score == "yes"': sum(each < warnings.HOLD_DAYS for each in days)}
    # Those of the other tests have no order.
    assert {rule: questions.preview(town.admin, f"{rule} && orders == 1").customers for rule in expected} == expected and all(expected.values())


def who_is_merged_has_the_later_one_and_its_own_again_when_they_are_two(shared, new):
    admin, days = shared.client("admin"), {f"one-{new}": 20, f"two-{new}": 10}
    rows = [facts.feedback(key, f"{key}-f", days=ago, score=1) for key, ago in days.items()]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    names = {key: questions.find(admin, key) for key in days}
    merged = admin.call("IdentityService/MergeCustomers", dict(zip(("customer", "other"), names.values())))
    questions.wait_for(admin, merged.facts_position)
    assert last_of(questions.features(admin, merged.customer)) == AS_OF - 10 * DAY
    questions.wait_for(admin, admin.call("IdentityService/UnmergeCustomers", {"name": merged.name}).facts_position)
    assert {key: last_of(questions.features(admin, name)) for key, name in names.items()} == {key: AS_OF - ago * DAY for key, ago in days.items()}


# -- as time goes by ------------------------------------------------------------------------------------------------------

def in_and_out(office, cursor, *parents):
    """[(customer, segment, whether it enters, cause, when)] of these segments behind a cursor, in the order in which they are told."""
    return [(each.customer, each.parent, each.entered, cause(each), instant_of(each.valid_time)) for each in segments.since(office.client, cursor)
            if each.parent in parents]


def warned(office, key):
    return [warnings.plain(each) for each in warnings.every(office.client, office.name(key))]


def a_low_score_begins_a_segment_and_a_warning_which_time_alone_ends(backend):
    with playbooks.company(backend) as office:
        client, midnight = office.client, lambda days: START - 12 * HOUR + days * DAY
        week = questions.save_segment(client, "displeased", "days_since(last_low_score_at) <= 7")
        sign = questions.save_segment(client, "warned", 'warning.low_score == "yes"')
        office.come("ann", "bob", "lead")
        office.buy("ann", "bob")
        ann, bob, lead = map(office.name, ("ann", "bob", "lead"))
        cursor = segments.now(client)
        office.rate("ann", score=3)
        office.rate("ann", score=2)
        office.rate("bob", kind="STARS", score=1)
        office.rate("lead", kind="NPS", score=0)
        entered = in_and_out(office, cursor, week, sign)
        assert {each[:4] for each in entered} == {(who, week, True, "RECORD") for who in (ann, bob, lead)} | {
            (who, sign, True, "RECORD") for who in (ann, bob)} and len(entered) == 5
        for key, name in (("ann", ann), ("bob", bob)):
            waiting.until(lambda key=key: warned(office, key) == [("LOW_SCORE", START, "OPEN", None)], lambda key=key: f"{key} to be warned of")
            [warning] = warnings.listed(client, name, kinds=("LOW_SCORE",))
            assert instant_of(warning.evidence.last_low_score_time) == START - MINUTE
        assert warned(office, "lead") == [] and warnings.shown(client, lead) == ()

        office.move(midnight(8) - timedelta(seconds=1))
        cursor = segments.now(client)
        office.move(midnight(8))
        assert sorted(in_and_out(office, cursor, week, sign)) == sorted((who, week, False, "TIME", midnight(8)) for who in (ann, bob, lead))
        office.move(START + 10 * DAY)
        office.rate("bob", kind="NPS", score=6)
        office.move(midnight(14) - timedelta(seconds=1))
        assert warnings.shown(client, ann) == warnings.shown(client, bob) == ("LOW_SCORE",)
        cursor = segments.now(client)
        office.move(midnight(14))
        waiting.until(lambda: warned(office, "ann") == [("LOW_SCORE", START, "CLEARED", midnight(14))], lambda: f"{warned(office, 'ann')} to end")
        assert [(who, entered) for who, of, entered, _, _ in in_and_out(office, cursor, sign)] == [(ann, False)]
        assert warned(office, "bob") == [("LOW_SCORE", START, "OPEN", None)], "the last one counts, and there is one warning of both"
        office.move(midnight(24) - timedelta(seconds=1))
        assert warnings.shown(client, bob) == ("LOW_SCORE",)
        office.move(midnight(24))
        waiting.until(lambda: warned(office, "bob") == [("LOW_SCORE", START, "CLEARED", midnight(24))], lambda: f"{warned(office, 'bob')} to end")
        assert "Last low score: 1998-07-01T11:59:00Z." in warnings.command(office.suite, "show", warnings.every(client, ann)[0].name)


def who_scores_low_again_after_a_warning_was_resolved_is_warned_of_again(backend):
    with playbooks.company(backend) as office:
        office.come("ann", "bob")
        office.buy("ann", "bob")
        office.rate("ann", "bob")
        first = [("LOW_SCORE", START, "OPEN", None)]
        waiting.until(lambda: warned(office, "ann") == warned(office, "bob") == first, "both to be warned of")
        warnings.resolve(office.client, warnings.listed(office.client, office.name("ann"))[0])
        office.move(START + 5 * DAY)
        office.rate("ann", "bob", score=4)
        office.rate("ann", "bob", score=1)
        again = [("LOW_SCORE", START, "RESOLVED", START), ("LOW_SCORE", START + 5 * DAY, "OPEN", None)]
        waiting.until(lambda: sorted(warned(office, "ann"), key=lambda each: each[1]) == again, lambda: f"{warned(office, 'ann')} to go on")
        assert warned(office, "bob") == first, "what goes on is not doubled"
