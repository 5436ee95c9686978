"""What people may ask of whoever holds their data: consent and objection, restriction, export, and erasure with receipts."""
import collections
import contextlib
import json
import sqlite3
import stat
import subprocess
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from support import canaries, facts, playbook_cases, questions, quintile, waiting
from support.refusals import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND
from support.rpc_cases import read_stream
from support.watching import cause, moves, watch
from support.world import populate

SERVICES = {"ingestion", "scoring", "lifecycle", "segmentation", "access-control"}
PLANTED = canaries.Hidden(texts=(canaries.NAME, "Zephyrwick", "zephyrwick", canaries.EMAIL_LOCAL, "冠城园",
                                 canaries.SOURCE_ID), digits=(canaries.NATIONAL_PHONE[-8:],))


def number_of(name):
    return int(name.split("/")[1])


def create(client, customer, **fields):
    request = {"customer": {"identities": [facts.identity(customer)]} | fields, "request_id": str(uuid.uuid4())}
    return client.call("CustomerService/CreateCustomer", request).name


def touch(client):
    """The position of a fact that is taken in now: who has reached it has reached all before."""
    return questions.take_in(client, facts.order(uuid.uuid4().hex, "e")).facts_position


def set_consent(client, name, state, purpose="MARKETING", **fields):
    request = {"name": name, "purpose": f"PURPOSE_{purpose}", "state": f"CONSENT_STATE_{state}"} | fields
    return client.call("PrivacyService/SetConsent", request)


def export(client, name):
    return [answer for answer, _ in read_stream(
        client.start("PrivacyService/ExportPersonalData", [{"name": name}], seconds=60), lambda answer: answer.complete)]


def erase(client, name, **fields):
    return client.call("PrivacyService/EraseCustomer", {"name": name} | fields)


def completed(client, name):
    def complete():
        erasure = client.call("PrivacyService/GetErasure", {"name": name})
        return erasure if erasure.HasField("complete_time") else None
    return waiting.until(complete, lambda: f"{client.call('PrivacyService/GetErasure', {'name': name})} to complete")


def funnel(client):
    return {questions.stage_name(row): row.customers for row in client.call("StageService/GetFunnel").stages}


def label_counts(client):
    return {row.title: row.customers for row in questions.distribution(client).labels}


def derived_reads(name):
    """Every read of something that is derived of one customer."""
    return [("FeatureService/GetFeatures", {"name": f"{name}/features"}), ("ScoreService/GetScore", {"name": f"{name}/score"}),
            ("ScoreService/ExplainScore", {"name": f"{name}/score"}), ("StageService/GetStage", {"name": f"{name}/stage"}),
            ("ProfileService/GetProfile", {"name": f"{name}/profile"}), ("PlaybookService/GetNextBestActions", {"customer": name})]


def own_reads(name):
    """Every read by name of something that a customer brought."""
    return [("CustomerService/GetCustomer", {"name": name}), ("PrivacyService/GetConsents", {"name": name}),
            ("PrivacyService/RestrictProcessing", {"name": name}), ("PrivacyService/LiftRestriction", {"name": name}),
            ("PrivacyService/EraseCustomer", {"name": name}),
            ("CustomerService/UpdateCustomer", {"customer": {"name": name, "display_name": "x"}, "update_mask": "displayName"})]


def assert_as_absent(client, name, reads):
    """A customer is NOT_FOUND in the very bytes in which one is that never was."""
    for (method, request), (_, absent) in zip(reads(name), reads("customers/4000000000")):
        answer, other = client.refused(method, request), client.refused(method, absent)
        answer.must_be(NOT_FOUND, "NOT_FOUND")
        assert answer.answer == other.answer, method


def consents_are_a_state_and_a_history_and_travel_down_the_chain(shared):
    admin = shared.client("admin")
    name = create(admin, uuid.uuid4().hex, attributes={"kind": "CUSTOMER_KIND_CUSTOMER", "owner": "ann"})
    early, late = "1998-01-01T00:00:00Z", "1998-02-01T00:00:00Z"
    set_consent(admin, name, "GIVEN", "ANALYTICS", source="form 7", event_time=late)
    set_consent(admin, name, "OBJECTED", event_time=late)
    told = set_consent(admin, name, "GIVEN", event_time=early)  # Noted late, said early: the objection holds.
    assert (list(told.consents), list(told.objections), len(told.history)) == ([3], [1], 3)
    assert told.history[2].source == "form 7" and told.history[0].event_time.seconds < told.history[1].event_time.seconds
    # Nobody else changes them.
    admin.call("CustomerService/UpdateCustomer", {
        "customer": {"name": name, "attributes": {"kind": "CUSTOMER_KIND_LEAD", "consents": ["PURPOSE_MARKETING"]}},
        "update_mask": "attributes"})
    source_id = admin.call("CustomerService/GetCustomer", {"name": name}).identities[0].id
    answer = admin.call("IngestService/IngestBatch", facts.batch(facts.customer(
        source_id, attributes={"kind": "CUSTOMER_KIND_CUSTOMER", "language": "zh", "objections": ["PURPOSE_SUPPORT"]})))
    assert (answer.applied, list(answer.rejects)) == (1, [])
    questions.wait_for(admin, answer.facts_position)
    attributes = admin.call("CustomerService/GetCustomer", {"name": name}).attributes
    assert (list(attributes.consents), list(attributes.objections), attributes.language) == ([3], [1], "zh")
    with watch(admin, "StageService/WatchStages") as watcher:
        watcher.until_caught_up()
        record = next(r for said in watcher.responses for r in said.records if r.customer_id == number_of(name))
        assert (list(record.attributes.consents), list(record.attributes.objections)) == ([3], [1])
        set_consent(admin, name, "WITHDRAWN", "ANALYTICS")
        watcher.until(lambda said: any(list(r.attributes.consents) == [] and list(r.attributes.objections) == [1]
                                       for each in said for r in each.records if r.customer_id == number_of(name)),
                      "the withdrawal to travel")
    again = admin.call("PrivacyService/GetConsents", {"name": name})
    assert (list(again.consents), list(again.objections), len(again.history)) == ([], [1], 4)


@pytest.mark.parametrize("wrong", [{"purpose": "PURPOSE_UNSPECIFIED"}, {"state": "CONSENT_STATE_UNSPECIFIED"},
                                   {"event_time": "2100-01-01T00:00:00Z"}, {"source": "x" * 1025}, {"name": "customers/x"}])
def a_word_that_is_not_whole_is_refused_without_a_trace(shared, wrong):
    admin = shared.client("admin")
    name = create(admin, uuid.uuid4().hex)
    request = {"name": name, "purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN"} | wrong
    admin.refused("PrivacyService/SetConsent", request).must_be(INVALID_ARGUMENT, {"INVALID_FIELD", "INVALID_TIME"})
    assert len(admin.call("PrivacyService/GetConsents", {"name": name}).history) == 0


def restriction_takes_out_of_everything_derived_and_lifting_brings_back_what_a_twin_has(fresh):
    admin = fresh.client("admin")
    history = [(age, 9_000) for age in (5, 40, 80, 200)]
    rows = [facts.order(who, f"e{n}", *fact) for who in ("ann", "twin") for n, fact in enumerate(history)]
    start = questions.take_in(admin, *rows)
    target = questions.save_segment(admin, "target", facts.TARGET)
    questions.wait_for(admin, start.facts_position)
    name, twin = questions.find(admin, "ann"), questions.find(admin, "twin")
    before = funnel(admin), label_counts(admin), questions.preview(admin, facts.TARGET).customers
    label = questions.labels(admin)[questions.label(admin, name)]
    with watch(admin, "SegmentService/WatchMemberships") as watcher, watch(admin, "StageService/WatchStages") as stages:
        watcher.until_caught_up()
        stages.until_caught_up()
        restriction = admin.call("PrivacyService/RestrictProcessing", {"name": name})
        assert restriction.restricted and restriction.HasField("restrict_time")
        again = admin.call("PrivacyService/RestrictProcessing", {"name": name})
        assert again.restrict_time == restriction.restrict_time
        questions.wait_for(admin, restriction.facts_position)
        watcher.until(lambda _said: moves(watcher.changes(name)) == {(target, False), (label, False)}, "the exits")
        assert {cause(change) for change in watcher.changes(name)} == {"REMOVAL"}
        stages.until(lambda said: any(number_of(name) in each.removed_customer_ids for each in said), "the removal")
    assert_as_absent(admin, name, derived_reads)
    assert admin.call("CustomerService/GetCustomer", {"name": name}).name == name
    assert sum(funnel(admin).values()) == sum(before[0].values()) - 1
    assert questions.distribution(admin).population == sum(before[1].values()) - 1
    assert questions.preview(admin, facts.TARGET).customers == before[2] - 1
    assert not questions.is_member(admin, target, name)
    # A follower who knows nothing is not told of the customer, and a restart keeps it out.
    with watch(admin, "FeatureService/WatchFeatures") as late:
        late.until_caught_up()
        assert {r.customer_id for said in late.responses for r in said.records} == {number_of(twin)}
    # New facts are stored and not processed, and what time changes changes nothing of the customer.
    questions.wait_for(admin, questions.take_in(
        admin, *(facts.order(who, "later", 1, 500) for who in ("ann", "twin"))).facts_position)
    questions.set_clock(admin, facts.AS_OF + timedelta(days=40))
    assert_as_absent(admin, name, derived_reads)
    fresh.stop()
    fresh.start()
    admin = fresh.client("admin")
    questions.set_clock(admin, facts.AS_OF + timedelta(days=41))
    questions.wait_for(admin, touch(admin))
    assert_as_absent(admin, name, derived_reads)
    assert [order.event_id for part in export(admin, name) for order in part.orders] == ["later", "e0", "e1", "e2", "e3"]
    lifted = admin.call("PrivacyService/LiftRestriction", {"name": name})
    assert not lifted.restricted and not lifted.HasField("restrict_time")
    questions.wait_for(admin, lifted.facts_position)
    for method, part in (("FeatureService/GetFeatures", "features"), ("ScoreService/GetScore", "score"),
                         ("StageService/GetStage", "stage")):
        of_both = [admin.call(method, {"name": f"{each}/{part}"}) for each in (name, twin)]
        both = [getattr(answer, "features" if part == "features" else "values") for answer in of_both]
        for values in both:
            values.ClearField("as_of")
        assert both[0] == both[1], method
    profiles = [admin.call("ProfileService/GetProfile", {"name": f"{each}/profile"}) for each in (name, twin)]
    assert (profiles[0].labels, profiles[0].segments) == (profiles[1].labels, profiles[1].segments)


def an_export_holds_every_planted_value_for_an_administrator_and_masks_for_others(fresh):
    world = populate(fresh)
    admin, support = fresh.client("admin"), fresh.client("support")
    set_consent(admin, world.customer, "GIVEN", source="said so at the counter")
    refused = facts.order(canaries.SOURCE_ID, "refused", cents=1_000, channel="x" * 300)
    assert len(admin.call("IngestService/IngestBatch", facts.batch(refused)).rejects) == 1
    parts = export(admin, world.customer)
    found = [canary for part in parts for canary in canaries.found_in_message(part, PLANTED)]
    assert set(found) >= {canaries.NAME, canaries.EMAIL_LOCAL, "冠城园", canaries.SOURCE_ID, canaries.NATIONAL_PHONE[-8:]}
    assert parts[0].customer.birth_date.day == canaries.BIRTH_DATE["day"] and parts[0].customer.attributes.region
    assert [event.source for part in parts for event in part.consent_history] == [
        "said so at the counter", *[canaries.CONSENT_SOURCE] * 2]
    orders = [order for part in parts for order in part.orders]
    assert [order.event_id for order in orders] == ["euros-1", "euros-0", "event-1", "event-2", "event-3"]
    assert all(facts.cents_of(o.amount) == 9_000 and o.customer.id == canaries.SOURCE_ID for o in orders[2:])
    assert [refund.event_id for part in parts for refund in part.refunds] == ["early-1", "early-0", "given"]
    assert [each.text for part in parts for each in (*part.interactions, *part.feedback) if each.text] == [canaries.SAID] * 2
    assert [warning.state for part in parts for warning in part.warnings] == ["OPEN", "RESOLVED"]
    runs = [run for part in parts for run in part.playbook_runs if run.playbook == playbook_cases.PLANTED]
    assert [(run.state, run.refusal) for run in runs] == [("REFUSED", "AGAIN"), ("FINISHED", "")]
    kinds = collections.Counter((each.kind, each.playbook) for part in parts for each in part.contacts)
    assert kinds == {("TASK", playbook_cases.PLANTED): playbook_cases.TASKS_PLANTED,
                     ("MESSAGE", playbook_cases.PLANTED): playbook_cases.DELIVERIES_PLANTED}
    assert [reject.order.event_id for part in parts for reject in part.rejects] == ["refused"]
    assert [part.features.orders for part in parts if part.HasField("features")] == [4]
    assert sum(part.HasField("scores") for part in parts) == sum(part.HasField("stage") for part in parts) == 1
    assert [p for part in parts for p in part.labels] == [world.label]
    assert [p for part in parts for p in part.segments] == [world.segment]
    changes = [change for part in parts for change in part.membership_changes]
    assert (world.label, True) in {(change.parent, change.entered) for change in changes}
    assert [p for part in parts for p in part.missing_parts] == []
    masked = [canary for part in export(support, world.customer)
              for canary in canaries.found_in_message(part, canaries.HIDDEN_FROM["support"])]
    assert masked == []
    out = fresh.home / "export.json"
    command = [quintile.binary(), "privacy", "export", world.customer, "--data-dir", fresh.data, "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, cwd=fresh.home, timeout=quintile.COMMAND_SECONDS)
    assert (done.returncode, done.stdout) == (0, f"{out}\n"), done.stderr
    document = json.loads(out.read_text())
    assert document["customer"]["displayName"] == canaries.NAME and len(document["orders"]) == 5
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def wrapped_keys(suite):
    """{customer number: the wrapped data key} as the database has them."""
    query = "SELECT customer_id, wrapped_key FROM {}customer_key"
    if suite.database_url:
        with contextlib.closing(quintile.connect(suite.database_url)) as database:
            return {number: bytes(key) for number, key in database.run(query.format("ingestion."))}
    with contextlib.closing(sqlite3.connect(f"file:{suite.data / 'ingestion.sqlite'}?mode=ro", uri=True)) as database:
        return dict(database.execute(query.format("")))


def key_files(suite):
    """The files in which a data key may lie: the whole data directory, or the files of the cluster's database."""
    if not suite.database_url:
        return [path for path in suite.data.rglob("*") if path.is_file()]
    with contextlib.closing(quintile.connect(suite.database_url)) as database:
        ((directory,),) = database.run("SHOW data_directory")
        ((oid,),) = database.run("SELECT oid FROM pg_database WHERE datname = current_database()")
    files = [path for path in (Path(directory) / "base" / str(oid)).rglob("*") if path.is_file()]
    assert files, "the cluster's files cannot be read here"
    return files


def files_with(paths, needle):
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # A log that was emptied may be gone by now.
            found += [str(path)] if needle in path.read_bytes() else []
    return found


def an_erased_customer_is_nowhere_and_every_service_gives_its_receipt(fresh):
    world = populate(fresh)
    admin = fresh.client("admin")
    set_consent(admin, world.customer, "GIVEN", source="said so at the counter")
    request_id = str(uuid.uuid4())
    refused = facts.order(canaries.SOURCE_ID, "refused", channel="x" * 300)
    assert len(admin.call("IngestService/IngestBatch", facts.batch(refused)).rejects) == 1
    others = facts.batch(*(facts.customer(f"other-{n}", display_name="Somebody Else") for n in range(700)))
    questions.wait_for(admin, admin.call("IngestService/IngestBatch", others).facts_position)
    for name in (world.customer, *(questions.find(admin, f"other-{n}") for n in (0, 350))):
        number = number_of(name)
        before = sum(funnel(admin).values()), questions.distribution(admin).population
        key = wrapped_keys(fresh)[number]
        erasure = erase(admin, name, request_id=request_id if name == world.customer else "")
        assert erasure.customer == name and not erasure.HasField("backups_expire_time")
        done = completed(admin, erasure.name)
        assert {receipt.service for receipt in done.receipts} == SERVICES and len(done.receipts) == len(SERVICES)
        assert all(receipt.remaining == 0 and receipt.HasField("time") for receipt in done.receipts), done
        assert done.backups_expire_time.seconds - done.complete_time.seconds == 35 * 86_400
        assert_as_absent(admin, name, own_reads)
        assert_as_absent(admin, name, derived_reads)
        assert (sum(funnel(admin).values()), questions.distribution(admin).population) == (before[0] - 1, before[1] - 1)
        assert number not in wrapped_keys(fresh)
        assert files_with(key_files(fresh), key) == []
    assert erase(admin, world.customer, request_id=request_id).name == "erasures/1"
    assert [each.name for each in questions.everything(admin, "PrivacyService/ListErasures", "erasures", page_size=2)] == [
        "erasures/1", "erasures/2", "erasures/3"]
    assert admin.refused("CustomerService/LookupCustomer", {"identity": facts.identity(canaries.SOURCE_ID)}).code == NOT_FOUND
    assert admin.refused("CustomerService/LookupCustomer", {"phone": canaries.PHONE}).code == NOT_FOUND
    assert not admin.call("ExportService/ExportAudience", {"customers": [world.customer]}).members
    assert world.customer not in {each.name for each in questions.everything(
        admin, "CustomerService/ListCustomers", "customers")}
    admin.refused("ProfileService/ListMembershipChanges", {"parent": world.customer}).must_be(NOT_FOUND, "NOT_FOUND")
    for path in filter(lambda path: path.is_file(), fresh.data.rglob("*")):
        assert canaries.found_in_bytes(path.read_bytes(), canaries.FROM_OUTPUT) == [], path
    # Nor what identifies nobody.
    assert files_with(filter(lambda path: path.is_file(), fresh.data.rglob("*")), canaries.HOUSEHOLD.encode()) == []
    # The refused row of somebody else, with the same words in it, is not the customer's; the customer's own is gone.
    assert len(admin.call("IngestService/ListRejects").rejects) == 1
    # What comes again makes somebody new; the stream that brought it is not taken in twice.
    answer = admin.call("IngestService/IngestBatch", facts.batch(facts.order(canaries.SOURCE_ID, "event-1", days=10, cents=9_000)))
    assert answer.applied == 1
    questions.wait_for(admin, answer.facts_position)
    new = questions.find(admin, canaries.SOURCE_ID)
    assert number_of(new) > number_of(world.customer) and questions.features(admin, new).orders == 1
    assert_as_absent(admin, world.customer, derived_reads)
    # A restart knows of nobody more, and a new follower is told of nobody more.
    fresh.stop()
    fresh.start()
    admin = fresh.client("admin")
    questions.wait_for(admin, touch(admin))
    assert_as_absent(admin, world.customer, own_reads)
    with watch(admin, "StageService/WatchStages") as late:
        late.until_caught_up()
        assert number_of(world.customer) not in {r.customer_id for said in late.responses for r in said.records}


def followers_hear_of_an_erasure_and_not_what_the_customer_was_a_member_of(fresh):
    admin = fresh.client("admin")
    answer = questions.take_in(admin, facts.order("ann", "e1"), facts.order("ben", "e1"))
    questions.wait_for(admin, answer.facts_position)
    name = questions.find(admin, "ann")
    restricted = admin.call("PrivacyService/RestrictProcessing", {"name": name})
    questions.wait_for(admin, restricted.facts_position)
    with watch(admin, "SegmentService/WatchMemberships") as watcher, watch(admin, "StageService/WatchStages") as stages:
        watcher.until_caught_up()
        stages.until_caught_up()
        completed(admin, erase(admin, name).name)
        watcher.until(lambda _said: moves(watcher.changes(name)) == {("", False)}, "the erasure")
        stages.until(lambda said: any(number_of(name) in each.erased_customer_ids for each in said), "the erasure")
    admin.refused("ProfileService/ListMembershipChanges", {"parent": name}).must_be(NOT_FOUND, "NOT_FOUND")


def a_receipt_is_refused_before_the_erasure_is_through(shared):
    admin = shared.client("admin")
    source_id = uuid.uuid4().hex
    answer = questions.take_in(admin, facts.order(source_id, "e1"))
    questions.wait_for(admin, answer.facts_position)
    name = questions.find(admin, source_id)
    for package in ("scoring", "lifecycle", "segmentation"):
        method = f"quintile.{package}.v1.ErasureService/GetErasureReceipt"
        for position in (answer.facts_position, answer.facts_position + 1_000_000):
            refusal = admin.refused(method, {"name": name, "facts_position": position})
            refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
        admin.refused(method, {"name": name}).must_be(INVALID_ARGUMENT, "INVALID_FIELD")


def an_erasure_that_kill_9_interrupts_completes_after_the_restart(fresh):
    admin = fresh.client("admin")
    answer = questions.take_in(admin, *(facts.order(f"c{n}", "e1") for n in range(300)))
    questions.wait_for(admin, answer.facts_position)
    names = [questions.find(admin, f"c{n}") for n in range(0, 300, 30)]
    keys = wrapped_keys(fresh)
    erasures = [erase(admin, name) for name in names]
    fresh.kill()
    fresh.start()
    admin = fresh.client("admin")
    for erasure, name in zip(erasures, names):
        done = completed(admin, erasure.name)
        assert {receipt.service for receipt in done.receipts} == SERVICES
        assert files_with(key_files(fresh), keys[number_of(name)]) == []
        assert_as_absent(admin, name, derived_reads)
    questions.wait_for(admin, touch(admin))
    assert questions.distribution(admin).population == 291
