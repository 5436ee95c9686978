"""While facts keep coming without a pause, time passes, long work gets done and old facts go: nobody who takes in facts can hold these up."""
import contextlib
import threading
import uuid
from datetime import timedelta

from attribute_values import told as told_values
from past_features import told as told_features
from support import facts, ingest_stream, labels, questions, quintile, traits, waiting

# Of one customer: so many that it is computed beside the others, and that meanwhile the next fact comes in.
MANY = 10_000
# Rows of a batch that is not live.
LARGE = 600
# And of whom more are touched than are computed at once.
PARTS = 2_600
# Where the worker is about to compute whom such batches touched.
HELD = "features::before_bulk"


@contextlib.contextmanager
def kept_coming(send):
    """Has `send(number)` take facts in, one after the other, for as long as the context lasts. Gives the list of the positions it returns."""
    stop, positions, failures = threading.Event(), [], []

    def send_all():
        try:
            while not stop.is_set():
                positions.append(send(len(positions)))
        except Exception as problem:  # noqa: BLE001 - told by the test, not by a thread that nobody hears.
            failures.append(problem)

    sender = threading.Thread(target=send_all)
    sender.start()
    try:
        waiting.until(lambda: positions or failures, "the first of them")
        yield positions
    finally:
        stop.set()
        sender.join(waiting.SECONDS)
        assert not failures, failures


def facts_keep_coming(suite):
    """One fact after the other of a customer who has many."""
    client = suite.client("service")
    return kept_coming(lambda number: questions.take_in(client, facts.interaction("device", f"more-{number}")).facts_position)


@contextlib.contextmanager
def batches_keep_coming(suite):
    """One large batch after the other of customers of its own."""
    with ingest_stream.connection(suite.client("service"), "history") as stream:
        def send(batch):
            return stream.send(batch, [facts.order(f"b{batch}-{n}", "o", cents=100) for n in range(LARGE)]).facts_position

        with kept_coming(send) as positions:
            yield positions


def time_passes_and_long_work_gets_done_while_facts_keep_coming(fresh):
    admin = fresh.client("admin")
    questions.take_in(admin, *(facts.interaction("device", f"i{n}", days=1 + n % 300) for n in range(MANY)))
    position = questions.take_in(admin, facts.order("ann", "old", days=720), facts.order("ann", "o", days=5)).facts_position
    questions.wait_for(admin, position)
    name = questions.find(admin, "ann")
    with facts_keep_coming(fresh) as positions:
        operation = traits.define(admin, "orders", "ORDER", "COUNT")
        traits.done(admin, operation)
        admin.call("RetentionService/UpdateRetention", {"retention": {"order_days": 731}})
        before = questions.stage(admin, name)
        questions.set_clock(admin, facts.AS_OF + timedelta(days=400))
        waiting.until(lambda: questions.stage(admin, name) != before, "the stage to follow time")
        waiting.until(lambda: admin.call("RetentionService/GetRetention").complete, "the old order to go")
    # And what came meanwhile is in.
    questions.wait_for(admin, positions[-1], None)
    assert traits.values(admin, name) == {"orders": 1} and questions.features(admin, name).orders == 2
    everything = f"interactions == {MANY + len(positions)}"
    assert questions.preview(admin, everything).customers == 1


def a_heavy_customer_and_others_are_each_up_to_date_in_whatever_order_they_come(fresh):
    """Of which most are computed apart from the others, and a restart and an erasure come in between."""
    admin = fresh.client("admin")
    bulk = [facts.order("heavy", f"o{n}", days=1 + n % 300, cents=100) for n in range(6_000)]
    for start in range(0, len(bulk), 2_000):
        questions.take_in(admin, *bulk[start:start + 2_000])
    for turn in range(24):
        rows = [[facts.order("heavy", f"more-{turn}", cents=100)], [facts.order(f"light-{turn}", "o", cents=100 * (turn + 1))]]
        rows = rows[turn % 2:] + rows[:turn % 2] if turn % 4 < 2 else [rows[0] + rows[1]]
        position = [questions.take_in(admin, *each) for each in rows][-1].facts_position
        if turn % 8 == 7:
            questions.wait_for(admin, position)
            assert questions.preview(admin, f"orders == {len(bulk) + turn + 1} && revenue == {len(bulk) + turn + 1}").customers == 1
            assert questions.preview(admin, "orders == 1").customers == turn + 1
            assert questions.preview(admin, f"revenue == {turn + 1}").customers == 1
        if turn == 14:
            fresh.kill()
            fresh.start()
            admin = fresh.client("admin")
    heavy = questions.find(admin, "heavy")
    questions.take_in(admin, facts.order("heavy", "last"), facts.order("light-0", "last"))
    erasure = admin.call("PrivacyService/EraseCustomer", {"name": heavy, "request_id": str(uuid.uuid4())})
    waiting.until(lambda: admin.call("PrivacyService/GetErasure", {"name": erasure.name}).HasField("complete_time"), "the erasure")
    assert questions.preview(admin, "orders > 2").customers == 0 and questions.preview(admin, "orders == 2").customers == 1


def a_live_order_is_in_before_the_batches_that_keep_coming(fresh):
    admin = fresh.client("admin")
    history = [(age, 6_000) for age in (200, 150, 100)]
    position = questions.take_in(admin, facts.order("ann", "e0", *history[0]), facts.order("ann", "e1", *history[1])).facts_position
    questions.wait_for(admin, position)
    name, labels = questions.find(admin, "ann"), questions.labels(admin)
    overtook = False
    with batches_keep_coming(fresh) as positions:
        # They wait for ten seconds, which a slow machine may need for one look.
        for number in range(2, 6):
            answer = questions.take_in(admin, facts.order("ann", f"e{number}", *history[2]))
            waiting.until(lambda number=number: questions.features(admin, name).orders == number + 1, "the features")
            told = facts.expected([*history[:2], *[history[2]] * (number - 1)])
            label, scores = labels[told["label"]], (told["r"], told["f"], told["m"])
            waiting.until(lambda scores=scores: questions.scores(admin, name) == scores, f"the score of {number + 1} orders")
            waiting.until(lambda label=label: questions.is_member(admin, label, name), f"the label of {number + 1} orders")
            overtook |= answer.facts_position > positions[0] and questions.preview(admin, "orders == 1").customers == 0
    assert overtook
    questions.wait_for(admin, positions[-1], None)
    assert questions.preview(admin, "orders == 1").customers == LARGE * len(positions)
    assert questions.preview(admin, "orders >= 1").customers == LARGE * len(positions) + 1


def who_waits_is_computed_after_a_kill_that_comes_before(backend):
    """Although what came live meanwhile was published: the worker's place stays behind those who wait."""
    with quintile.suite(backend, started=False) as suite:
        admin = suite.start(failpoints=f"{HELD}=1*return").client("admin")
        rows = [facts.order(f"b{n}", "o", cents=100) for n in range(PARTS)]
        bulk = questions.take_in(admin, *rows).facts_position
        live = questions.take_in(admin, facts.order("ann", "o", days=5)).facts_position
        assert live > bulk
        waiting.until(lambda: suite.has_logged(f"failpoint {HELD} reached"), suite.log_tail)
        assert questions.distribution(admin).watermark.facts_position < bulk
        suite.kill()
        admin = suite.start().client("admin")
        questions.wait_for(admin, live, None)
        assert questions.preview(admin, "orders == 1").customers == len(rows) + 1


def what_came_in_bulk_is_learnt_from_before_records_have_it(backend):
    with quintile.suite(backend, started=False) as suite:
        admin = suite.start(failpoints=f"{HELD}=1*return").client("admin")
        labels.declare(admin, {"plan": "NONE"})
        rows = [each for n in range(LARGE) for each in (labels.row(f"b{n}", {"plan": str(n)}), facts.order(f"b{n}", "o", days=5))]
        bulk = questions.take_in(admin, *rows).facts_position
        waiting.until(lambda: suite.has_logged(f"failpoint {HELD} reached"), suite.log_tail)
        assert questions.distribution(admin).watermark.facts_position < bulk
        assert {value["plan"] for _, _, value in told_values(admin, ["attributes/plan"])} == {str(n) for n in range(LARGE)}
        assert len({name for name, _ in told_features(admin, [facts.AS_OF - timedelta(days=1)])}) == LARGE


def who_waits_is_computed_although_the_worker_panics(backend):
    with quintile.suite(backend, started=False) as suite:
        admin = suite.start(failpoints=f"{HELD}=1*panic").client("admin")
        rows = [facts.order(f"b{n}", "o", cents=100) for n in range(2 * LARGE)]
        bulk = questions.take_in(admin, *rows).facts_position
        waiting.until(lambda: suite.has_logged(f"failpoint {HELD} panic"), suite.log_tail)
        questions.wait_for(admin, bulk, None)
        assert questions.preview(admin, "orders == 1").customers == len(rows)
