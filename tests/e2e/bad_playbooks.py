"""Playbooks that make no sense are refused, with the field that is wrong; what is just within bounds is taken; who knows an older state changes
nothing; and what may not be started."""
import copy
import uuid
from datetime import date

import grpc
import pytest

from support import facts, policies, questions, segments
from support.playbook_days import on_birthdays, on_days
from support.playbook_kit import (CREATE, DELETE, END, GET, LIST, NEVER, OUTCOME, RUNS, SECRET, START, STOP, TEMPLATES, UPDATE, UPDATE_POLICY, branch,
                                  create, get, is_refused, playbook, start, state, stop, task, variant, wait, webhook)
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND

ABORTED, ALREADY_EXISTS = grpc.StatusCode.ABORTED, grpc.StatusCode.ALREADY_EXISTS
DAY_SECONDS = 86_400
MOST_SECONDS = 365 * DAY_SECONDS
STAGES = [f"STAGE_{each}" for each in ("LEAD", "NEW", "ACTIVE", "LOYAL", "AT_RISK", "DORMANT", "CHURNED", "REACTIVATED")]
KINDS = [f"WARNING_KIND_{each}" for each in ("SILENCE", "FEWER_PURCHASES", "FEWER_INTERACTIONS", "COMPLAINT")]

# -- what a playbook is ---------------------------------------------------------------------------------------------------

def of_steps(*steps):
    return {"variants": [variant(*steps)]}


def step(wrong, place="", **ids):
    """A step that is wrong behind one that is not, and the field that is named."""
    return of_steps(END, wrong | ids), f"variants[0].steps[1]{place}"


def named_step(wrong, *later):
    return of_steps({"id": "first"} | END, wrong, *later), "variants[0].steps[1].branch.otherwise"


NO_SEGMENTS = ["x", "segments", "segments/", "segments/Upper", "segments/2nd", f"segments/{'x' * 64}", "segments/a/b", " segments/a", "segments/a ",
               "labelSets/rfm-11", "labelSets/rfm-11/labels", "labelSets/rfm-11/labels/", "labelSets//labels/a", "labelSets/Upper/labels/a",
               "labelSets/a/labels/a_b", "customers/1", "playbooks/a", f"segments/{SECRET}_"]
NO_IDS = ["A", "2nd", "-a", "a_b", "a b", "a/b", "段", "a" * 64, f"{SECRET}_"]
NO_TEXTS = ["a\0b", f"{SECRET}\nb", "a\u202eb"]
NO_WAITS = ["59s", "0s", "-60s", "60.5s", f"{MOST_SECONDS + 1}s", f"{MOST_SECONDS}.000000001s"]

# Days of the calendar that there are not, ever or in their year.
NO_DAYS = [{}, {"month": 1}, {"day": 1}, {"year": 2000}, {"month": 13, "day": 1}, {"month": -1, "day": 1}, {"month": 1, "day": 32},
           {"month": 1, "day": -1}, {"month": 2, "day": 30}, {"month": 4, "day": 31}, {"year": 2000, "month": 2, "day": 30},
           *({"year": year, "month": 2, "day": 29} for year in (1999, 2001, 2100)),
           *({"year": year, "month": 1, "day": 1} for year in (-1, 1, 1969, 10_000, 2**31 - 1))]


def on(*days, **fields):
    """A trigger of days as they are said."""
    return {"trigger": {"date": {"dates": list(days)} | fields}}


SOME_DAY, ITS_LIKE = {"month": 12, "day": 24}, {"year": 1999, "month": 12, "day": 24}
# What is wrong with the days of a trigger, likewise.
WRONG_DAYS = {
    "no days": ({"trigger": {"date": {"hour": 9}}}, "trigger.date.dates"),
    "days and birthdays": (on(SOME_DAY, birthday=True), "trigger.date.dates"),
    "too many days": (on(*({"month": 1, "day": day} for day in range(1, 32)), *({"month": 3, "day": day} for day in (1, 2))),
                      {"trigger.date.dates", "trigger.date.dates[32]"}),
    **{f"the day {day}": (on(SOME_DAY, day), "trigger.date.dates[1]") for day in NO_DAYS},
    "a day of each year twice": (on(SOME_DAY, ITS_LIKE, SOME_DAY), "trigger.date.dates[2]"),
    "a day twice": (on(ITS_LIKE, SOME_DAY, ITS_LIKE), "trigger.date.dates[2]"),
    **{f"{days} days before": (on(SOME_DAY, days_before=days), "trigger.date.days_before") for days in (-1, 91, 2**31 - 1)},
    **{f"{days} days before a birthday": ({"trigger": on_birthdays(before=days)}, "trigger.date.days_before") for days in (-1, 91)},
    **{f"at hour {hour}": (on(SOME_DAY, hour=hour), "trigger.date.hour") for hour in (-1, 24, 2**31 - 1)},
    **{f"a birthday at hour {hour}": ({"trigger": on_birthdays(hour=hour)}, "trigger.date.hour") for hour in (-1, 24)},
}

# What is wrong with a playbook, and the field that a refusal names, or the fields one of which it names.
WRONG = {
    "no trigger": ({"trigger": None}, "trigger"),
    "an empty trigger": ({"trigger": {}}, "trigger"),
    "no stages": ({"trigger": {"stage": {}}}, "trigger.stage.stages"),
    "from stages alone": ({"trigger": {"stage": {"from_stages": [STAGES[0]]}}}, "trigger.stage.stages"),
    "nine stages": ({"trigger": {"stage": {"stages": [*STAGES, STAGES[0]]}}}, {"trigger.stage.stages", "trigger.stage.stages[8]"}),
    "a stage twice": ({"trigger": {"stage": {"stages": [STAGES[1], STAGES[2], STAGES[1]]}}}, {"trigger.stage.stages", "trigger.stage.stages[2]"}),
    "a stage from twice": ({"trigger": {"stage": {"stages": [2], "from_stages": [3, 3]}}},
                           {"trigger.stage.from_stages", "trigger.stage.from_stages[1]"}),
    "nine stages from": ({"trigger": {"stage": {"stages": [2], "from_stages": [*STAGES, 1]}}},
                         {"trigger.stage.from_stages", "trigger.stage.from_stages[8]"}),
    **{f"stage {number}": ({"trigger": {"stage": {"stages": [2, number]}}}, "trigger.stage.stages[1]") for number in (0, 9, -1, 2**31 - 1)},
    **{f"from stage {number}": ({"trigger": {"stage": {"stages": [2], "from_stages": [number]}}}, "trigger.stage.from_stages[0]")
       for number in (0, 9)},
    **{f"kind {number}": ({"trigger": {"warning": {"kinds": [number]}}}, "trigger.warning.kinds[0]") for number in (0, 7, -1)},
    "a kind twice": ({"trigger": {"warning": {"kinds": [1, 1]}}}, {"trigger.warning.kinds", "trigger.warning.kinds[1]"}),
    "too many kinds": ({"trigger": {"warning": {"kinds": [1, 2, 3, 4] * 5}}}, {"trigger.warning.kinds", "trigger.warning.kinds[4]"}),
    **{f"severity {number}": ({"trigger": {"warning": {"min_severity": number}}}, "trigger.warning.min_severity") for number in (4, -1)},
    "no segment": ({"trigger": {"segment": {"leaves": True}}}, "trigger.segment.segment"),
    **WRONG_DAYS,
    **{f"triggered by {name}": ({"trigger": {"segment": {"segment": name}}}, "trigger.segment.segment") for name in NO_SEGMENTS},
    **{f"audience {name}": ({"audience": name}, "audience") for name in NO_SEGMENTS},
    **{f"excluded {name}": ({"excluded": name}, "excluded") for name in NO_SEGMENTS},
    **{f"purpose {number}": ({"purpose": number}, "purpose") for number in (0, 2, 3, 5, 6, -1)},
    **{f"holdout of {share}": ({"holdout_basis_points": share}, "holdout_basis_points") for share in (-1, 10_000, 2**31 - 1)},
    **{f"measured over {days} days": ({"goal_days": days}, "goal_days") for days in (-1, 366, 2**31 - 1)},
    **{f"again after {days} days": ({"again_after_days": days}, "again_after_days") for days in (-1, 3_651, -2**31)},
    "a long name": ({"display_name": "x" * 257}, "display_name"),
    "a name of too many bytes": ({"display_name": SECRET + "段" * 85}, "display_name"),
    "a long description": ({"description": "x" * 1_025}, "description"),
    **{f"called {text!r}": ({"display_name": text}, "display_name") for text in NO_TEXTS},
    **{f"described as {text!r}": ({"description": text}, "description") for text in NO_TEXTS if "\n" not in text},
    "no variants": ({"variants": []}, "variants"),
    "eleven variants": ({"variants": [variant(END, variant_id=f"v{n}") for n in range(11)]}, "variants"),
    "a variant without an id": ({"variants": [variant(END), variant(END, variant_id="")]}, "variants[1].id"),
    **{f"variant {variant_id}": ({"variants": [variant(END, variant_id=variant_id)]}, "variants[0].id") for variant_id in NO_IDS},
    "a variant twice": ({"variants": [variant(END), variant(END, variant_id="b"), variant(END)]}, "variants[2].id"),
    **{f"a weight of {weight}": ({"variants": [variant(END), variant(END, variant_id="b", weight=weight)]}, "variants[1].weight")
       for weight in (-1, 1_000_001, 2**31 - 1)},
    "no weight": ({"variants": [variant(END, weight=0), variant(END, variant_id="b", weight=0)]},
                  {"variants", "variants[0].weight", "variants[1].weight"}),
    "no steps": ({"variants": [variant(END), {"id": "b", "weight": 1}]}, "variants[1].steps"),
    "too many steps": (of_steps(*[END] * 31), "variants[0].steps"),
    **{f"step {step_id}": step(END, ".id", id=step_id) for step_id in NO_IDS},
    "a step twice": (of_steps({"id": "a"} | END, {"id": "b"} | END, {"id": "a"} | END), "variants[0].steps[2].id"),
    "a step that does nothing": (of_steps(END, {}), {"variants[0].steps[1]", "variants[0].steps[1].action"}),
    "a wait of unknown length": step({"wait": {}}, ".wait.duration"),
    **{f"a wait of {length}": step({"wait": {"duration": length}}, ".wait.duration") for length in NO_WAITS},
    "a branch of nobody": step({"branch": {}}, ".branch.segment"),
    **{f"a branch of {name}": step(branch(name), ".branch.segment") for name in NO_SEGMENTS},
    "a branch to nowhere": named_step(branch("segments/a", SECRET)),
    "a branch to itself": named_step({"id": "own"} | branch("segments/a", "own"), END),
    "a branch back": named_step(branch("segments/a", "first"), END),
    "a branch to something that is no id": named_step(branch("segments/a", "No Id")),
    "a branch to another variant": ({"variants": [variant(END, branch("segments/a", "b")), variant(END, {"id": "b"} | END, variant_id="b")]},
                                    "variants[0].steps[1].branch.otherwise"),
    **{f"a task of kind {number}": step({"task": {"kind": number, "title": "t"}}, ".task.kind") for number in (0, 5, -1)},
    **{f"a task called {title[:9]!r}": step(task(title), ".task.title") for title in ("", " ", "x" * 257, "段" * 86, *NO_TEXTS)},
    **{f"a task with {note[:9]!r} to know": step(task(note=note), ".task.note") for note in ("x" * 2_049, "a\0b", "a\u202eb")},
    **{f"a task for {whose[:9]!r}": step(task(assignee=whose), ".task.assignee") for whose in (" ", "x" * 129, *NO_TEXTS)},
    **{f"a task due after {length}": step(task(due_after=length), ".task.due_after") for length in NO_WAITS},
    **{f"a webhook of {endpoint!r}": step(webhook(endpoint=endpoint), ".webhook.endpoint") for endpoint in ("", *NO_IDS)},
    **{f"a webhook that says {message[:9]!r}": step(webhook(message), ".webhook.message") for message in ("", " ", "x" * 129, "段" * 43, *NO_TEXTS)},
}


@pytest.fixture(scope="module")
def known(shared):
    """A playbook that is not changed by what is refused."""
    made = create(shared.client("admin"), "known")
    yield made
    assert get(shared.client("admin"), made) == made


@pytest.mark.parametrize("wrong", WRONG)
def a_playbook_that_makes_no_sense_is_refused_by_its_field(admin, known, wrong):
    """As something new, and in the place of another."""
    changed, fields = WRONG[wrong]
    made = {field: value for field, value in (playbook() | copy.deepcopy(changed)).items() if value is not None}
    fields = {f"playbook.{field}" for field in (fields if isinstance(fields, set) else {fields})}
    new = f"bad-{uuid.uuid4().hex}"
    is_refused(admin, CREATE, {"playbook_id": new, "playbook": made}, fields)
    admin.refused(GET, {"name": f"playbooks/{new}"}).must_be(NOT_FOUND, "NOT_FOUND")
    is_refused(admin, UPDATE, {"playbook": made | {"name": known.name}}, fields)


@pytest.mark.parametrize("wrong", ["", *NO_IDS])
def an_id_that_is_none_is_refused_by_its_field(admin, wrong):
    is_refused(admin, CREATE, {"playbook_id": wrong, "playbook": playbook()}, "playbook_id")


def what_is_missing_is_named_by_its_field(admin):
    is_refused(admin, CREATE, {"playbook_id": "nothing"}, "playbook")
    is_refused(admin, UPDATE, {}, "playbook")
    is_refused(admin, UPDATE_POLICY, {}, "policy")
    for wrong in ("x", "playbookTemplates", "playbookTemplates/", "playbookTemplates/No Id", f"playbooks/{SECRET}"):
        is_refused(admin, CREATE, {"playbook_id": "nothing", "template": wrong}, "template")
    absent = {"playbook_id": "nothing", "template": f"playbookTemplates/{SECRET}"}
    refusal = admin.refused(CREATE, absent).must_be({NOT_FOUND, INVALID_ARGUMENT}, {"NOT_FOUND", "INVALID_FIELD"})
    assert SECRET not in str(refusal)
    admin.refused(GET, {"name": "playbooks/nothing"}).must_be(NOT_FOUND, "NOT_FOUND")


# Everything as long, as much and as often as it may be.
MOST = {
    "display_name": "x" * 256, "description": "段" * 341 + "x", "trigger": {"stage": {"stages": STAGES, "from_stages": STAGES[::-1]}},
    "audience": f"segments/{'a' * 63}", "excluded": f"labelSets/{'a' * 63}/labels/{'b' * 63}", "purpose": "PURPOSE_MARKETING",
    "holdout_basis_points": 9_999, "goal_days": 365, "again_after_days": 3_650,
    "variants": [variant(
        {"id": f"s{'0' * 62}"} | wait(60), wait(MOST_SECONDS), branch("segments/a", "last"), branch("labelSets/a/labels/b"),
        task("段" * 85 + "x", "OTHER", note="x" * 2_048, assignee="x" * 128, due_after=f"{MOST_SECONDS}s"), task("x", due_after="60s"),
        webhook("段" * 42 + "xx", "a" * 63), *[END] * 22, {"id": "last"} | END, variant_id="v" * n, weight=1_000_000) for n in range(1, 11)],
}
LEAST = {"trigger": {"warning": {}}, "purpose": "PURPOSE_SUPPORT", "goal_days": 1, "again_after_days": 1,
         "variants": [variant(END, weight=0), variant(END, variant_id="b", weight=1)]}


# A day of one year and the same of every year are two.
MOST_DAYS = [*((month, day) for month in range(1, 13) for day in (1, 28)), (2, 29), (12, 31),
             *(date(*day) for day in ((1970, 1, 1), (1972, 2, 29), (2000, 1, 1), (2000, 2, 29), (9999, 12, 30), (9999, 12, 31)))]
DAYS = LEAST | {"trigger": on_days(*MOST_DAYS, before=90, hour=23)}
BIRTHDAY = LEAST | {"trigger": on_birthdays()}


@pytest.mark.parametrize("bounds", [MOST, LEAST, DAYS, BIRTHDAY], ids=["most", "least", "days", "birthday"])
def what_is_just_within_bounds_is_taken_as_it_is(admin, new, bounds):
    made = admin.call(CREATE, {"playbook_id": f"b{new}", "playbook": bounds})
    method = admin.api.method(CREATE)
    asked = admin.message(method, {"playbook": bounds}).playbook
    for field in ("name", "state", "create_time", "etag"):
        assert made.HasField(field) if field == "create_time" else getattr(made, field)
        made.ClearField(field)
    assert made == asked
    again = admin.call(UPDATE, {"playbook": bounds | {"name": f"playbooks/b{new}"}})
    assert list(again.variants) == list(asked.variants) and again.trigger == asked.trigger


def what_is_not_said_is_what_the_contract_has(admin, new):
    made = create(admin, f"b{new}")
    assert (made.name, state(made), made.version, made.goal_days, made.again_after_days, made.holdout_basis_points) == (
        f"playbooks/b{new}", "DRAFT", 0, 30, 0, 0)
    assert not made.HasField("start_time") and not made.HasField("stop_time") and made.create_time.seconds > facts.AS_OF.timestamp()
    assert get(admin, made) == made


def what_is_output_only_is_not_taken_from_a_request(admin, new):
    said = {"name": "playbooks/another", "state": "PLAYBOOK_STATE_RUNNING", "version": 7, "create_time": facts.text_of(facts.AS_OF), "etag": "x",
            "start_time": facts.text_of(facts.AS_OF), "stop_time": facts.text_of(facts.AS_OF)}
    made = create(admin, f"b{new}", **said)
    plain = create(admin, f"c{new}")
    assert (made.name, state(made), made.version) == (f"playbooks/b{new}", "DRAFT", 0) and made.etag not in ("", "x")
    assert not made.HasField("start_time") and not made.HasField("stop_time") and made.create_time.seconds >= plain.create_time.seconds - 600
    changed = admin.call(UPDATE, {"playbook": playbook(**said) | {"name": made.name, "etag": made.etag}})
    assert (changed.create_time, state(changed), changed.version) == (made.create_time, "DRAFT", 0) and not changed.HasField("start_time")


COME_WITH_IT = ("birthday", "cannot-lose-rescue", "complaint-follow-up", "holiday", "low-score-follow-up", "nurture", "reactivation-thank-you",
                "vip-care", "welcome", "win-back")


def templates_are_playbooks_that_can_be_made(admin, new):
    templates = admin.call(TEMPLATES).templates
    assert [each.name for each in templates] == [f"playbookTemplates/{each}" for each in COME_WITH_IT]
    by = {each.name.split("/")[1]: each.playbook.trigger.date for each in templates}
    assert by["birthday"].birthday and by["birthday"].hour == 9 and not by["birthday"].dates
    assert by["holiday"].dates and not by["holiday"].birthday and {each.year for each in by["holiday"].dates} == {0}
    for place, template in enumerate(templates):
        assert template.name.startswith("playbookTemplates/") and (template.playbook.name, template.playbook.state) == ("", 0)
        made = admin.call(CREATE, {"playbook_id": f"t{place}-{new}", "template": template.name})
        assert (made.name, state(made), made.version) == (f"playbooks/t{place}-{new}", "DRAFT", 0)
        for field in ("display_name", "description", "audience", "excluded", "purpose", "holdout_basis_points", "goal_days", "again_after_days",
                      "trigger"):
            assert getattr(made, field) == getattr(template.playbook, field), (template.name, field)
        assert list(made.variants) == list(template.playbook.variants) and made.display_name and made.variants
        # What it is made of may be said by oneself.
        again = policies.as_dict(template.playbook)
        assert admin.call(CREATE, {"playbook_id": f"u{place}-{new}", "playbook": again}).variants == made.variants


# -- names and etags ------------------------------------------------------------------------------------------------------

NO_PLAYBOOKS = ["", "x", "playbooks", "playbooks/", "playbooks/No", "playbooks/a/b", "playbooks/a/", "playbooks/-", f"playbooks/{'a' * 64}",
                " playbooks/a", "playbookTemplates/a", "customers/1", f"playbooks/{SECRET}_"]


@pytest.mark.parametrize("method", [GET, START, STOP, DELETE, OUTCOME])
def a_name_that_is_no_playbooks_is_refused(admin, method):
    for name in NO_PLAYBOOKS:
        is_refused(admin, method, {"name": name}, "name")
    assert SECRET not in str(admin.refused(method, {"name": f"playbooks/{SECRET}"}).must_be(NOT_FOUND, "NOT_FOUND"))


def an_update_of_what_is_not_there_is_refused(admin):
    for name in NO_PLAYBOOKS:
        is_refused(admin, UPDATE, {"playbook": playbook() | {"name": name}}, "playbook.name")
    admin.refused(UPDATE, {"playbook": playbook() | {"name": "playbooks/absent"}}).must_be(NOT_FOUND, "NOT_FOUND")


def an_id_is_of_one_playbook_until_it_is_deleted(admin, new):
    made = create(admin, f"b{new}", display_name="first")
    for other in ({"display_name": "first"}, {"display_name": "second"}):
        request = {"playbook_id": f"b{new}", "playbook": playbook() | other}
        admin.refused(CREATE, request).must_be(ALREADY_EXISTS, "ALREADY_EXISTS")
    assert get(admin, made) == made
    admin.call(DELETE, {"name": made.name})
    for method in (GET, START, STOP, DELETE, OUTCOME):
        admin.refused(method, {"name": made.name}).must_be(NOT_FOUND, "NOT_FOUND")
    admin.refused(RUNS, {"parent": made.name}).must_be(NOT_FOUND, "NOT_FOUND")
    assert create(admin, f"b{new}").etag != made.etag


def who_knows_an_older_state_changes_nothing(admin, new):
    made = create(admin, f"b{new}", trigger=NEVER)
    etags, whole = [made.etag], playbook(trigger=NEVER) | {"name": made.name}
    now = made
    for turn in ("update", "update", "start", "stop", "start", "stop"):
        for etag in {*etags[:-1], "x", f"{now.etag}x", now.etag[:-1] or "y"}:
            for method, request in ((UPDATE, {"playbook": whole | {"etag": etag}}), (START, {"name": made.name, "etag": etag}),
                                    (DELETE, {"name": made.name, "etag": etag})):
                refusal = admin.refused(method, request)
                # Of what runs either may be said.
                refusal.must_be(ABORTED, "STALE_ETAG") if state(now) != "RUNNING" or refusal.code == ABORTED else refusal.must_be(
                    FAILED_PRECONDITION, "FAILED_PRECONDITION")
        assert get(admin, made) == now
        if turn == "update":
            whole |= {"description": f"change {len(etags)}"}
            now = admin.call(UPDATE, {"playbook": whole | {"etag": now.etag if len(etags) > 1 else ""}})
        else:
            now = start(admin, made, etag=now.etag) if turn == "start" else stop(admin, made)
        assert get(admin, made) == now
        etags.append(now.etag)
    assert len(set(etags)) == len(etags) and now.version == 1
    admin.call(DELETE, {"name": made.name, "etag": now.etag})


def what_runs_is_neither_changed_nor_deleted_nor_started_again(admin, new):
    made = create(admin, f"b{new}", trigger=NEVER)
    assert stop(admin, made) == made, "what does not run stays as it is"
    now = start(admin, made)
    assert (state(now), now.version, now.start_time.seconds, now.HasField("stop_time")) == ("RUNNING", 1, facts.AS_OF.timestamp(), False)
    for etag in ("", now.etag):
        for method, request in ((UPDATE, {"playbook": playbook() | {"name": made.name, "etag": etag}}), (START, {"name": made.name, "etag": etag}),
                                (DELETE, {"name": made.name, "etag": etag})):
            admin.refused(method, request).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert get(admin, made) == now
    ended = stop(admin, made)
    assert (state(ended), ended.version, ended.stop_time.seconds) == ("STOPPED", 1, facts.AS_OF.timestamp()) and stop(admin, made) == ended
    admin.call(DELETE, {"name": made.name})


# -- what may not be started ----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def there(shared):
    """A segment and a label that are there, and a label set without the label."""
    admin = shared.client("admin")
    segments.create(admin, "there", "orders >= 1")
    segments.label_set(admin, "sizes", {"big": "orders >= 9"})
    return "segments/there", "labelSets/sizes/labels/big"


@pytest.mark.parametrize("absent", ["segments/absent", "labelSets/absent/labels/big", "labelSets/sizes/labels/absent"])
@pytest.mark.parametrize("place", ["trigger", "audience", "excluded", "branch", "second variant"])
def a_playbook_that_names_a_segment_which_is_not_there_is_not_started(admin, there, absent, place):
    """As long as it is not."""
    of = {"trigger": lambda name: {"trigger": {"segment": {"segment": name}}}, "audience": lambda name: {"audience": name},
          "excluded": lambda name: {"excluded": name}, "branch": lambda name: of_steps(END, branch(name)),
          "second variant": lambda name: {"variants": [variant(END), variant(wait(60), branch(name), variant_id="b", weight=0)]}}[place]
    made = create(admin, None, **({"trigger": NEVER} | of(absent)))
    admin.refused(START, {"name": made.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert get(admin, made) == made
    for name in there:
        admin.call(UPDATE, {"playbook": playbook(**({"trigger": NEVER} | of(name))) | {"name": made.name}})
        assert state(start(admin, made)) == "RUNNING"
        stop(admin, made)
    admin.call(DELETE, {"name": made.name})


def an_endpoint_that_is_not_configured_is_none(admin):
    made = create(admin, None, webhook(SECRET, endpoint=SECRET), trigger=NEVER)
    refusal = admin.refused(START, {"name": made.name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    assert get(admin, made) == made and refusal.code == FAILED_PRECONDITION
    admin.call(UPDATE, {"playbook": playbook(webhook(SECRET, endpoint="refusing"), trigger=NEVER) | {"name": made.name}})
    assert state(start(admin, made)) == "RUNNING"
    stop(admin, made)


def there_are_so_many_playbooks_and_so_many_run(fresh):
    admin = fresh.client("admin")
    made = [create(admin, f"p-{n}", trigger=NEVER) for n in range(200)]
    admin.refused(CREATE, {"playbook_id": "more", "playbook": playbook()}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    for each in made[:100]:
        start(admin, each)
    admin.refused(START, {"name": made[100].name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    stop(admin, made[7])
    assert state(start(admin, made[100])) == "RUNNING"
    admin.refused(START, {"name": made[7].name}).must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    admin.call(DELETE, {"name": made[150].name})
    create(admin, "more")
    names = sorted([*(each.name for each in made if each != made[150]), "playbooks/more"])
    for size in (1, 7, 200, 100_000):
        assert [each.name for each in questions.everything(admin, LIST, "playbooks", page_size=size)] == names
    assert len(admin.call(LIST).playbooks) == 50 and len(admin.call(LIST, {"page_size": 100_000}).playbooks) == 200
