"""While facts keep coming without a pause, time passes, long work gets done and old facts go: nobody who takes in facts can hold these up."""
import contextlib
import threading
from datetime import timedelta

from support import facts, questions, traits, waiting

# Of one customer: so many that while they are computed the next fact comes in.
MANY = 30_000


@contextlib.contextmanager
def facts_keep_coming(suite):
    """One fact after the other of a customer who has many, for as long as the context lasts. Gives the list of their positions."""
    client, stop, positions, failures = suite.client("service"), threading.Event(), [], []

    def send():
        try:
            while not stop.is_set():
                positions.append(questions.take_in(client, facts.interaction("device", f"more-{len(positions)}")).facts_position)
        except Exception as problem:  # noqa: BLE001 - told by the test, not by a thread that nobody hears.
            failures.append(problem)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield positions
    finally:
        stop.set()
        sender.join(waiting.SECONDS)
        assert not failures, failures


def time_passes_and_long_work_gets_done_while_facts_keep_coming(fresh):
    admin = fresh.client("admin")
    for start in range(0, MANY, 10_000):
        questions.take_in(admin, *(facts.interaction("device", f"i{n}", days=1 + n % 300) for n in range(start, start + 10_000)))
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
