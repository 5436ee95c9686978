"""A replayed import changes nothing, under its own name or another, by the command or by a client."""
import itertools

import pytest

from support import facts, questions, quintile
from support.ingest_stream import connection
from support.watching import watch

LINES = 3_000


@pytest.fixture
def file(tmp_path):
    """The head of CDNOW: whole customers, as the file is sorted by customer."""
    path = tmp_path / "cdnow_head.txt"
    with open(quintile.cdnow(), encoding="ascii", newline="") as source:
        path.write_text("".join(itertools.islice(source, LINES)), encoding="ascii", newline="")
    return path


def state_of(client):
    """All that readers can see, byte by byte: every feature, score and stage, the label table and the funnel."""
    customers = questions.everything(client, "CustomerService/ListCustomers", "customers", page_size=1_000)
    every_seventh = [customer.name for customer in customers][::7]
    answers = [client.call("LabelService/GetLabelDistribution", {"name": questions.LABEL_SET}),
               client.call("StageService/GetFunnel")]
    for name in every_seventh:
        answers += [client.call("FeatureService/GetFeatures", {"name": f"{name}/features"}),
                    client.call("ScoreService/GetScore", {"name": f"{name}/score"}),
                    client.call("StageService/GetStage", {"name": f"{name}/stage"})]
    return [customer.SerializeToString(deterministic=True) for customer in customers] + [
        questions.without_watermark(answer) for answer in answers]


def assert_silent(client, watcher, marker):
    """Nothing came to the watcher before a marker that is sent now."""
    answer = questions.take_in(client, facts.order(marker, "marker"))
    name = questions.find(client, marker)
    watcher.until(lambda _said: watcher.changes(name), "the marker")
    questions.wait_for(client, answer.facts_position)
    assert {change.customer for change in watcher.changes()} == {name}


@pytest.mark.parametrize("stream_id", ["first", "second"], ids=["same_stream", "another_stream"])
def an_import_that_is_run_again_changes_nothing_and_moves_no_membership(fresh, file, stream_id):
    admin = fresh.client("admin")
    questions.save_segment(admin, "target", facts.TARGET)
    questions.wait_for(admin, fresh.import_cdnow(file, "first"))
    before = state_of(admin)
    with watch(admin, "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        questions.wait_for(admin, fresh.import_cdnow(file, stream_id))
        assert state_of(admin) == before
        assert_silent(admin, watcher, f"marker-{stream_id}")


def rows_that_come_again_under_another_stream_are_all_duplicates(fresh):
    admin = fresh.client("admin")
    rows = [facts.order(f"c{n % 7}", f"e{n}", days=n + 1, cents=n * 100) for n in range(50)]
    with connection(admin, "one") as stream:
        first = stream.send(0, rows)
    assert (first.applied, first.duplicates) == (50, 0)
    questions.wait_for(admin, first.facts_position)
    before = state_of(admin)
    with watch(admin, "SegmentService/WatchMemberships") as watcher:
        watcher.until_caught_up()
        with connection(admin, "two") as stream:
            again = stream.send(0, list(reversed(rows)))
        assert (again.applied, again.duplicates, list(again.rejects)) == (0, 50, [])
        questions.wait_for(admin, again.facts_position)
        assert state_of(admin) == before
        assert_silent(admin, watcher, "marker")
