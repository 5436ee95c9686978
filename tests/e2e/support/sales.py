"""A load of which every customer, order and cent is known, and what has to be true of it whatever befell the suite meanwhile."""
import contextlib

from support import facts, questions, waiting
from support.ingest_stream import connection
from support.refusals import NOT_FOUND, Refusal
from support.watching import Watcher, watch

READY_SECONDS = 30
CUSTOMERS = 7
FEEDS = ("FeatureService/WatchFeatures", "ScoreService/WatchScores", "StageService/WatchStages")
MEMBERSHIPS = "SegmentService/WatchMemberships"
RETURNING = "orders >= 2"


def batch(number):
    """The rows of a batch: an order of every customer, of another amount each."""
    return [facts.order(f"c{each}", f"{number}-{each}", days=number + 1, cents=cents(number, each)) for each in range(CUSTOMERS)]


def cents(number, customer):
    return 1_000 * (number + 1) + 7 * customer


def progress(client, stream_id):
    """The next batch that a stream expects; 0 before its first."""
    try:
        return client.call("IngestService/GetIngestStream", {"name": f"ingestStreams/{stream_id}"}).acked_offset
    except Refusal as refusal:
        assert refusal.code == NOT_FOUND, refusal
        return 0


def assert_all_is_there_once(client, batches):
    """Every customer's orders and money, by the first service of the chain and by the last, are those of so many batches."""
    total = 0
    for each in range(CUSTOMERS):
        expected = sum(cents(number, each) for number in range(batches))
        features = questions.features(client, questions.find(client, f"c{each}"))
        assert (features.orders, facts.cents_of(features.net_revenue)) == (batches, expected), f"c{each}"
        total += expected
    distribution = questions.distribution(client)
    assert distribution.population == CUSTOMERS
    # Everybody is under exactly one label.
    assert sum(label.customers for label in distribution.labels) == CUSTOMERS
    assert sum(facts.cents_of(label.net_revenue) for label in distribution.labels if label.customers) == total
    assert questions.preview(client, f"orders == {batches}").customers == CUSTOMERS


def assert_what_is_stored_is_there_once(client, stream_id):
    """What a stream has, has come through to the end of the chain before anything else comes. Returns how many batches that are."""
    state = client.call("IngestService/GetIngestStream", {"name": f"ingestStreams/{stream_id}"})
    questions.wait_for(client, state.facts_position)
    assert_all_is_there_once(client, state.acked_offset)
    return state.acked_offset


def finish(client, stream_id, first, batches):
    """Sends batches from `first` on. What the stream has already is answered and not applied; the others are, once. Returns when the
    end of the chain has taken them in."""
    resumed = progress(client, stream_id)
    with connection(client, stream_id) as stream:
        for number in range(first, batches):
            answer = stream.send(number, batch(number))
            assert (answer.acked_offset, list(answer.rejects)) == (max(number + 1, resumed), []), answer
            assert (answer.applied, answer.duplicates) == ((0, 0) if number < resumed else (CUSTOMERS, 0)), answer
    # The same facts by another stream: each has had its one effect.
    with connection(client, f"{stream_id}-again-{batches}") as stream:
        answer = stream.send(0, [row for number in range(batches) for row in batch(number)])
        assert (answer.applied, answer.duplicates) == (0, CUSTOMERS * batches), answer
    questions.wait_for(client, answer.facts_position)


class Listeners:
    """Who follows every feed over any number of connections, each behind the last answer that was heard."""

    def __init__(self):
        self.heard = {method: [] for method in (*FEEDS, MEMBERSHIPS)}

    @contextlib.contextmanager
    def listening(self, client):
        with contextlib.ExitStack() as stack:
            watchers = {}
            for method, heard in self.heard.items():
                cursor = heard[-1].cursor if heard else ""
                watchers[method] = stack.enter_context(watch(client, method, {"cursor": cursor}))
            for watcher in watchers.values():
                watcher.until_caught_up()
            yield
        for method, watcher in watchers.items():
            self.heard[method] += watcher.responses

    def orders(self, method):
        """{customer: orders} by the last record of each that a feed has told."""
        return {record.customer_id: record.features.orders for answer in self.heard[method] for record in answer.records}

    def assert_nothing_was_missed(self, client, batches, segment):
        """No feed has a gap, and every customer has entered the segment once and never left it."""
        with self.listening(client):
            pass
        numbers = {int(questions.find(client, f"c{each}").split("/")[1]) for each in range(CUSTOMERS)}
        for method in FEEDS:
            assert self.orders(method) == dict.fromkeys(numbers, batches), method
        moves = [(int(change.customer.split("/")[1]), change.entered) for answer in self.heard[MEMBERSHIPS]
                 for change in answer.changes if change.parent == segment]
        assert sorted(moves) == [(number, True) for number in sorted(numbers)]


def send_until_reached(suite, point, stream_id, batches):
    """Sends batches, each when the one before it has gone all the way, until a failpoint is reached. Returns what was heard and how many
    were sent."""
    admin, reached = suite.client("admin"), f"failpoint {point} reached"
    with connection(admin, stream_id) as stream:
        heard = Watcher(stream.call)

        def has_gone_all_the_way(number):
            if len(heard.responses) <= number:
                return False
            return questions.reached(questions.distribution(admin).watermark, heard.responses[number].facts_position, facts.AS_OF)

        for number in range(batches):
            stream.put(number, batch(number))
            waiting.until(lambda number=number: suite.has_logged(reached) or has_gone_all_the_way(number),
                          lambda number=number: f"batch {number}:\n{suite.log_tail()}")
            if suite.has_logged(reached):
                return heard, number + 1
    raise AssertionError(f"{point} was never reached: is the binary built with `--features quintile/failpoints`?")
