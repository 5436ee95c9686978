"""How soon feedback is answered: every figure against a witness that goes through the same facts in Python, one after the other."""
import math
import random
import statistics
import subprocess
from collections import namedtuple
from datetime import timedelta
from types import SimpleNamespace

import grpc
import pytest

from support import facts, policies, questions, quintile, waiting
from support.facts import AS_OF
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, PERMISSION_DENIED

ABORTED = grpc.StatusCode.ABORTED
TIMES, OVERDUE = "ResponseService/GetResponseTimes", "ResponseService/ListOverdueFeedback"
TARGETS, UPDATE = "ResponseService/GetResponseTargets", "ResponseService/UpdateResponseTargets"
KINDS = ("COMPLAINT", "SUPPORT_TICKET", "LOW_SCORE", "COMMENT")
AT_FIRST = {"COMPLAINT": 24, "SUPPORT_TICKET": 48, "LOW_SCORE": 0, "COMMENT": 0}
ALL_SET = {"COMPLAINT": 1_000, "SUPPORT_TICKET": 2_000, "LOW_SCORE": 200, "COMMENT": 8_760}
CHANNELS = ("phone", "survey", "")
EXIT_USAGE = 2
MOST_DAYS = 400  # Before the tests' business time.
# Of customers: their owner, and what they say to marketing.
OWNERS = {f"c{n}": (("ann", "bob", "")[n % 3], n % 2 == 0) for n in range(40)}
Told = namedtuple("Told", "customer event at kind about channel resolved score")


# -- the facts ------------------------------------------------------------------------------------------------------------

def told_of(customer, chance):
    """What a customer did: cases that are opened and resolved in any order, calls, scores, words, and what answers nothing."""
    told = []
    for n in range(chance.randrange(25)):
        kind = chance.choice(["COMPLAINT"] * 5 + ["SUPPORT_TICKET"] * 5 + ["CALL", "MEETING", "VISIT", "CSAT", "STARS", "NPS", "CES", "COMMENT"])
        # Whole quarters of days, so that there is much at one instant; and minutes, so that not all is whole.
        minutes = 360 * chance.randrange(1, 4 * MOST_DAYS) if chance.random() < 0.7 else chance.randrange(1, 1_440 * 30)
        score = {"CSAT": chance.randint(1, 5), "STARS": chance.randint(1, 5), "NPS": chance.randint(0, 10), "CES": chance.randint(1, 7)}.get(kind)
        told.append(Told(customer, f"e{n:03}", AS_OF - timedelta(minutes=minutes), kind, f"case {chance.randrange(2)}", chance.choice(CHANNELS),
                         chance.random() < 0.5, score if chance.random() < 0.9 else None))
    return told


def row(told):
    """The row that a fact is taken in by."""
    time = facts.text_of(told.at)
    if told.kind in ("CSAT", "STARS", "NPS", "CES", "COMMENT"):
        said = {"text": "words"} if told.kind == "COMMENT" else {}
        made = facts.feedback(told.customer, told.event, feedback_time=time, kind=f"FEEDBACK_KIND_{told.kind}", channel=told.channel,
                              about=told.about, **said)
        del made["feedback"]["score"]
        return {"feedback": made["feedback"] | ({} if told.score is None else {"score": told.score})}
    case = {"case_state": "CASE_STATE_RESOLVED" if told.resolved else "CASE_STATE_OPENED"} if told.kind in KINDS else {}
    return facts.interaction(told.customer, told.event, interaction_time=time, kind=f"INTERACTION_KIND_{told.kind}", about=told.about,
                             channel=told.channel, **case)


def complaint(customer, event, at, resolved=False, about="parcel", channel="", kind="COMPLAINT"):
    return Told(customer, event, at, kind, about, channel, resolved, None)


# -- the witness ----------------------------------------------------------------------------------------------------------

def kind_of(told):
    """What feedback asks for; None: for nothing."""
    lowest = {"CSAT": 2, "STARS": 2, "NPS": 6}.get(told.kind)
    if lowest is not None and told.score is not None and told.score <= lowest:
        return "LOW_SCORE"
    return "COMMENT" if told.kind == "COMMENT" else None


def asked_of(own, now):
    """[(kind, fact, when it was answered or None)] of one customer's facts, up to now."""
    own = [each for each in own if each.at < now]
    spoken = sorted(each.at for each in own if each.kind in ("CALL", "MEETING"))
    found = []
    for kind in ("COMPLAINT", "SUPPORT_TICKET"):
        for about in {each.about for each in own}:
            words = sorted((each for each in own if each.kind == kind and each.about == about), key=lambda each: (each.at, each.resolved, each.event))
            opened = None
            for word in words:
                if word.resolved and opened:
                    found.append((kind, opened, word.at))
                    opened = None
                elif not word.resolved and not opened:
                    opened = word
            if opened:
                found.append((kind, opened, None))
    found += [(kind_of(each), each, None) for each in own if kind_of(each)]
    called = lambda at: next((each for each in spoken if each > at), None)  # noqa: E731
    return [(kind, each, min(filter(None, (resolved, called(each.at))), default=None)) for kind, each, resolved in found]


def asked(town, customers=None, now=AS_OF):
    """The same of all of these customers, or of everybody who is processed."""
    by_customer = {}
    for each in town.told:
        whose = town.merged.get(each.customer, each.customer)
        if whose not in town.restricted and (customers is None or whose in customers):
            by_customer.setdefault(whose, []).append(each)
    return [each for own in by_customer.values() for each in asked_of(own, now)]


def wilson(part, whole):
    z = statistics.NormalDist().inv_cdf(0.975)
    share, squared = part / whole, z * z
    centre, scale = share + squared / (2 * whole), 1 + squared / whole
    reach = z * math.sqrt(share * (1 - share) / whole + squared / (4 * whole * whole))
    return share, (centre - reach) / scale, (centre + reach) / scale


def expected(found, kind, hours, now=AS_OF):
    """What is told of the feedback of a kind."""
    counts = dict.fromkeys(("in_time", "late", "open_in_time", "overdue"), 0)
    took = []
    for _, told, answered in (each for each in found if each[0] == kind):
        within = lambda at: not hours or at <= told.at + timedelta(hours=hours)  # noqa: E731,B023
        if answered:
            took.append((answered - told.at) // timedelta(minutes=1) / 60)
        name = ("in_time" if within(answered) else "late") if answered else "open_in_time" if within(now) else "overdue"
        counts[name] += 1
    decided = counts["in_time"] + counts["late"] + counts["overdue"]
    p90 = (statistics.quantiles(took, n=10, method="inclusive")[8] if len(took) > 1 else took[0]) if took else None
    return counts | {"feedback": sum(counts.values()), "answered": len(took), "median_hours": statistics.median(took) if took else None,
                     "p90_hours": p90, "share": wilson(counts["in_time"], decided) if hours and decided else None}


def assert_told(told, found, targets, now=AS_OF):
    assert [each.kind for each in told.kinds] == [1, 2, 3, 4]
    for kind, each in zip(KINDS, told.kinds):
        of = expected(found, kind, targets[kind], now)
        assert each.target_hours == targets[kind]
        for field in ("feedback", "answered", "in_time", "late", "open_in_time", "overdue"):
            assert getattr(each, field) == of[field], (kind, field, of, each)
        for field in ("median_hours", "p90_hours"):
            assert each.HasField(field) == (of[field] is not None), (kind, field)
            assert of[field] is None or getattr(each, field) == pytest.approx(of[field], rel=1e-12), (kind, field)
        assert each.HasField("in_time_share") == (of["share"] is not None), (kind, of)
        if of["share"]:
            share = each.in_time_share
            assert (share.share, share.low, share.high) == pytest.approx(of["share"], rel=1e-9, abs=1e-12)


def within(found, start, end=AS_OF, channel=""):
    return [each for each in found if start <= each[1].at < end and channel in ("", each[1].channel)]


# -- the suite ------------------------------------------------------------------------------------------------------------

def set_targets(client, hours):
    request = {"targets": {f"{kind.lower()}_hours": each for kind, each in hours.items()}}
    return client.call(UPDATE, request)


@pytest.fixture(scope="module")
def town(shared):
    """Customers of two owners and of none, two of whom are one, and one of whom is restricted."""
    admin = shared.client("admin")
    told = [each for n, customer in enumerate(OWNERS) for each in told_of(customer, random.Random(n))]
    # Who is one has no two words of a case at one instant, of which the order would be by numbers that nobody knows.
    told = [each for each in told if each.customer not in ("c0", "c12", "c2")]
    told += [complaint("c0", "a", AS_OF - timedelta(days=9)), complaint("c12", "b", AS_OF - timedelta(days=8, hours=9), kind="CALL"),
             complaint("c12", "c", AS_OF - timedelta(days=5)), complaint("c2", "d", AS_OF - timedelta(days=4)),
             # Of this instant, and of one that is to come.
             complaint("c5", "now", AS_OF, about="of now"), complaint("c6", "open", AS_OF - timedelta(hours=30), about="soon"),
             complaint("c6", "solved", AS_OF + timedelta(minutes=2), True, about="soon")]
    people = [facts.customer(customer, attributes={"owner": owner} if owner else {}) for customer, (owner, _) in OWNERS.items()]
    rows = [*people, *map(row, told)]
    for start in range(0, len(rows), 400):
        questions.take_in(admin, *rows[start:start + 400])
    names = {customer: questions.find(admin, customer) for customer in OWNERS}
    for customer, (_, consents) in OWNERS.items():
        if consents:
            admin.call("PrivacyService/SetConsent", {"name": names[customer], "purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN",
                                                     "source": "by a form"})
    # Both are ann's, and consent.
    admin.call("IdentityService/MergeCustomers", {"customer": names["c0"], "other": names["c12"]})
    names["c0"] = questions.find(admin, "c0")
    admin.call("PrivacyService/RestrictProcessing", {"name": names["c2"]})
    return SimpleNamespace(suite=shared, admin=admin, told=told, names=names, merged={"c12": "c0"}, restricted={"c2"})


def periods():
    yield {}, AS_OF - timedelta(days=90), AS_OF
    yield {"start_time": facts.days_before(MOST_DAYS)}, AS_OF - timedelta(days=MOST_DAYS), AS_OF
    yield ({"start_time": facts.days_before(200), "end_time": facts.days_before(100)}, AS_OF - timedelta(days=200), AS_OF - timedelta(days=100))
    yield {"end_time": facts.days_before(100)}, AS_OF - timedelta(days=190), AS_OF - timedelta(days=100)
    yield {"start_time": facts.days_before(10), "end_time": facts.days_before(10)}, AS_OF, AS_OF
    yield {"start_time": facts.days_before(30), "end_time": facts.days_after(300)}, AS_OF - timedelta(days=30), AS_OF


@pytest.mark.parametrize("targets", [AT_FIRST, ALL_SET], ids=["at first", "all set"])
def response_times_are_those_of_the_facts(town, targets):
    set_targets(town.admin, targets)
    everything = asked(town)
    assert {kind for kind, _, _ in everything} == set(KINDS) and len(everything) > 100
    assert {bool(answered) for _, _, answered in everything} == {True, False}
    for channel in CHANNELS:
        for request, start, end in periods():
            told = town.admin.call(TIMES, request | {"channel": channel})
            assert_told(told, within(everything, start, end, channel), targets)
            assert told.as_of.seconds == AS_OF.timestamp()
    told = town.admin.call(TIMES, {"start_time": facts.days_before(200), "end_time": facts.days_before(100)})
    assert facts.text_of(told.start_time.ToDatetime()) == facts.days_before(200)
    assert facts.text_of(told.end_time.ToDatetime()) == facts.days_before(100)


@pytest.mark.parametrize("role, subject, reaches", [
    ("sales", "ann", lambda owner, _consents: owner == "ann"), ("sales", "nobody", lambda _owner, _consents: False),
    ("marketer", None, lambda _owner, consents: consents), ("analyst", None, lambda _owner, _consents: True)])
def a_role_is_told_of_those_alone_whom_it_reaches(town, role, subject, reaches):
    set_targets(town.admin, ALL_SET)
    client = town.suite.client(role, subject=subject) if subject else town.suite.client(role)
    reached = {customer for customer, of in OWNERS.items() if reaches(*of)}
    found = asked(town, reached)
    assert_told(client.call(TIMES, {"start_time": facts.days_before(MOST_DAYS)}), found, ALL_SET)
    listed = questions.everything(client, OVERDUE, "feedback", page_size=7)
    assert {each.customer for each in listed} <= {town.names[each] for each in reached}
    assert len(listed) == len(overdue_of(found, ALL_SET))


# -- what is overdue ------------------------------------------------------------------------------------------------------

def overdue_of(found, targets, now=AS_OF):
    """[(due, kind, fact)] of feedback of the last 365 days that should have been answered, the longest overdue first."""
    due = [(told.at + timedelta(hours=targets[kind]), KINDS.index(kind) + 1, told) for kind, told, answered in found
           if targets[kind] and not answered and told.at >= now - timedelta(days=365)]
    return sorted((each for each in due if each[0] < now), key=lambda each: each[:2])


def listed_as(town, each):
    whose = town.merged.get(each[2].customer, each[2].customer)
    return (int(each[0].timestamp()), each[1], town.names[whose], int(each[2].at.timestamp()), each[2].about, each[2].channel)


def as_listed(each):
    return each.due_time.seconds, each.kind, each.customer, each.feedback_time.seconds, each.about, each.channel


@pytest.mark.parametrize("page_size", [1, 7, 1_000])
def what_is_overdue_is_listed_the_longest_first(town, page_size):
    set_targets(town.admin, ALL_SET)
    of = [listed_as(town, each) for each in overdue_of(asked(town), ALL_SET)]
    listed = [as_listed(each) for each in questions.everything(town.admin, OVERDUE, "feedback", page_size=page_size)]
    assert len(listed) > 10 and sorted(listed) == sorted(of)
    assert [each[:2] for each in listed] == [each[:2] for each in of]
    for kind in KINDS:
        named = questions.everything(town.admin, OVERDUE, "feedback", kinds=[f"RESPONSE_KIND_{kind}"], page_size=page_size)
        assert [as_listed(each) for each in named] == [each for each in listed if each[1] == KINDS.index(kind) + 1]


def what_has_no_target_is_never_overdue(town):
    set_targets(town.admin, AT_FIRST)
    of = [listed_as(town, each) for each in overdue_of(asked(town), AT_FIRST)]
    assert sorted(map(as_listed, questions.everything(town.admin, OVERDUE, "feedback", page_size=1_000))) == sorted(of)
    for kinds in ([3], [4], [3, 4]):
        assert not town.admin.call(OVERDUE, {"kinds": kinds}).feedback
    set_targets(town.admin, dict.fromkeys(KINDS, 0))
    assert not town.admin.call(OVERDUE).feedback


def a_call_answers_and_time_makes_overdue(fresh):
    admin = fresh.client("admin")
    opened = complaint("ann", "a", AS_OF - timedelta(hours=24))
    questions.wait_for(admin, questions.take_in(admin, row(opened)).facts_position)
    assert not admin.call(OVERDUE).feedback and admin.call(TIMES).kinds[0].open_in_time == 1, "the last instant is in time"
    questions.set_clock(admin, AS_OF + timedelta(seconds=1))
    [overdue] = admin.call(OVERDUE).feedback
    assert (overdue.customer, overdue.about) == (questions.find(admin, "ann"), "parcel")
    assert admin.call(TIMES).kinds[0].overdue == 1
    questions.take_in(admin, facts.interaction("ann", "call", kind="INTERACTION_KIND_CALL", interaction_time=facts.text_of(AS_OF)))
    told = admin.call(TIMES).kinds[0]
    assert (told.in_time, told.median_hours, told.in_time_share.share) == (1, 24.0, 1.0) and not admin.call(OVERDUE).feedback


# -- targets --------------------------------------------------------------------------------------------------------------

def targets_are_those_that_were_set_last(fresh):
    admin = fresh.client("admin")
    first = admin.call(TARGETS)
    assert {kind: getattr(first, f"{kind.lower()}_hours") for kind in KINDS} == AT_FIRST and first.name == "responseTargets"
    changed = set_targets(admin, ALL_SET)
    assert {kind: getattr(changed, f"{kind.lower()}_hours") for kind in KINDS} == ALL_SET and changed.etag != first.etag
    stale = {"targets": {"complaint_hours": 1, "etag": first.etag}}
    admin.refused(UPDATE, stale).must_be(ABORTED, "STALE_ETAG")
    assert admin.call(TARGETS) == changed == fresh.client("support").call(TARGETS)
    # What is not said need not be answered.
    none = admin.call(UPDATE, {"targets": {"etag": changed.etag}})
    assert {getattr(none, f"{kind.lower()}_hours") for kind in KINDS} == {0}
    for role in ("support", "sales", "marketer", "analyst", "data-engineer"):
        fresh.client(role).refused(UPDATE, {"targets": {}}).must_be(PERMISSION_DENIED, "METHOD_DENIED")
    fresh.stop()
    fresh.start()
    assert fresh.client("admin").call(TARGETS).SerializeToString() == none.SerializeToString()


# -- what is refused ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method, request_of, field", [
    (UPDATE, {}, "targets"), *((UPDATE, {"targets": {f"{kind.lower()}_hours": hours}}, f"targets.{kind.lower()}_hours")
                               for kind in KINDS for hours in (-1, 8_761, 2**31 - 1)),
    (TIMES, {"start_time": facts.days_before(1), "end_time": facts.days_before(2)}, "end_time"),
    (TIMES, {"start_time": facts.days_after(1)}, "start_time"),
    (TIMES, {"start_time": "1980-01-01T00:00:00Z"}, "start_time"),
    (TIMES, {"start_time": "1969-12-31T00:00:00Z"}, "start_time"),
    (TIMES, {"end_time": "1960-01-01T00:00:00Z"}, "end_time"),
    *((TIMES, {"channel": channel}, "channel") for channel in ("x" * 257, "a\0b", "a\nb", "a\u202eb")),
    (OVERDUE, {"kinds": [0]}, "kinds[0]"), (OVERDUE, {"kinds": [1, 5]}, "kinds[1]"), (OVERDUE, {"kinds": [1] * 17}, "kinds"),
    (OVERDUE, {"page_size": -1}, "page_size")])
def what_makes_no_sense_is_refused(admin, method, request_of, field):
    refusal = admin.refused(method, request_of)
    assert refusal.code == INVALID_ARGUMENT, refusal
    assert refusal.bad_request.field_violations[0].field == field


def a_page_token_is_good_until_targets_are_changed(town):
    set_targets(town.admin, ALL_SET)
    token = town.admin.call(OVERDUE, {"page_size": 1}).next_page_token
    assert token and town.admin.call(OVERDUE, {"page_size": 1, "page_token": token}).feedback
    town.admin.refused(OVERDUE, {"page_token": token, "kinds": [1]}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
    set_targets(town.admin, ALL_SET)
    town.admin.refused(OVERDUE, {"page_token": token}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")


def a_period_of_which_facts_are_gone_is_refused(fresh):
    admin = fresh.client("admin")
    questions.take_in(admin, row(complaint("ann", "old", AS_OF - timedelta(days=900))), row(complaint("ann", "new", AS_OF - timedelta(days=3))))
    assert admin.call(TIMES, {"start_time": facts.days_before(900)}).kinds[0].feedback == 1, "it was open all the time"
    admin.call("RetentionService/UpdateRetention", {"retention": {"interaction_days": 731}})
    waiting.until(lambda: admin.call("RetentionService/GetRetention").complete, "old facts to be dropped")
    admin.refused(TIMES, {"start_time": facts.days_before(732)}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert admin.call(TIMES, {"start_time": facts.days_before(731)}).kinds[0].feedback == 1


# -- the operator's command -----------------------------------------------------------------------------------------------

def the_command_tells_the_same(town):
    set_targets(town.admin, AT_FIRST)
    assert "support ticket" in town.suite.run("feedback", "targets") and "48 h" in town.suite.run("feedback", "targets", "--as", "support")
    assert "72 h" in town.suite.run("feedback", "targets", "--low-score", "72")
    told = town.admin.call(TARGETS)
    assert (told.complaint_hours, told.support_ticket_hours, told.low_score_hours, told.comment_hours) == (24, 48, 72, 0)
    times = town.suite.run("feedback", "response-times", "--since", facts.days_before(MOST_DAYS), "--as", "analyst")
    assert f" {town.admin.call(TIMES, {'start_time': facts.days_before(MOST_DAYS)}).kinds[0].overdue} " in times
    for wrong in ("1998-01-01", "yesterday"):
        done = subprocess.run(town.suite.command("feedback", "response-times", "--since", wrong), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, cwd=town.suite.home, timeout=quintile.COMMAND_SECONDS)
        assert done.returncode == EXIT_USAGE and "RFC 3339" in done.stderr, (wrong, done.returncode, done.stderr)
    done = subprocess.run(town.suite.command("feedback", "targets", "--complaint", "-1"), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          cwd=town.suite.home, timeout=quintile.COMMAND_SECONDS)
    assert done.returncode == EXIT_USAGE and "must be 0 to" in done.stderr, (done.returncode, done.stderr)
    overdue = town.suite.run("feedback", "overdue", "--kind", "low-score", "--as", "support")
    listed = town.admin.call(OVERDUE, {"kinds": [3], "page_size": 100}).feedback
    assert listed and all(each.customer in overdue for each in listed)
    assert policies.as_dict(told)["name"] == "responseTargets"
