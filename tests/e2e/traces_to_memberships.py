"""One trace from a client's order through all services to the membership event, and nothing of anybody in it."""
import pytest
from opentelemetry.proto.trace.v1 import trace_pb2

from one_process_per_role import free_ports
from support import canaries, facts, questions, quintile, waiting
from support.collector import Trace, collecting
from support.watching import moves, watch

# What becomes of an order, each step the child of the one before it: in which service, and as what.
STEPS = [("ingestion", "commit facts"), ("ingestion", "compute features"), ("scoring", "take records"), ("lifecycle", "take records"),
         ("segmentation", "take records"), ("segmentation", "tell memberships")]


@pytest.fixture(scope="module")
def collector():
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(backend, collector):
    """A suite that sends traces, of those alone whose callers say so, with a segment that one order is enough for."""
    settings = f'[telemetry]\notlp_endpoint = "{collector.endpoint}"\ntrace_ratio = 0.0\n'
    with quintile.suite(backend, settings=settings) as suite:
        admin = suite.client("admin")
        questions.save_segment(admin, "buyers", "orders >= 1")
        # Every service is through with what there was when it began to follow: of that no traces are told.
        questions.wait_for(admin, questions.take_in(admin, facts.order("before", "before")).facts_position)
        yield suite


def chain_of(spans, last):
    """The spans from the first to this one, each the parent of the next."""
    by_id, chain = {span.id: span for span in spans}, []
    while last:
        chain.insert(0, last)
        last = by_id.get(last.parent)
    return chain


def journey(collector, trace):
    """The spans that lead to the last telling of memberships, once they are there; None before."""
    spans = collector.of(trace)
    ends = [span for span in spans if span.name == "tell memberships"]
    chains = [chain_of(spans, end) for end in ends]
    whole = [chain for chain in chains if len(chain) == len(STEPS) + 1]
    return whole[0] if whole else None


def send(admin, trace, rows):
    """Takes in rows by one call that is traced."""
    request = facts.batch(*rows)
    answer = admin.call("IngestService/IngestBatch", request, (*admin.metadata(), trace.header))
    assert (answer.applied, list(answer.rejects)) == (len(rows), []), answer
    return answer


@pytest.mark.parametrize("orders", [1, 600], ids=["live", "in bulk"])
def an_order_is_one_trace_from_its_client_to_the_membership_event(traced, collector, new, orders):
    admin, trace = traced.client("admin"), Trace()
    with watch(traced.client("analyst"), "SegmentService/WatchMemberships", {"parents": ["segments/buyers"]}) as watcher:
        watcher.until_caught_up()
        send(admin, trace, [facts.order(f"{new}-{n}", f"{new}-{n}") for n in range(orders)])
        name = questions.find(admin, f"{new}-0")
        watcher.until(lambda _: moves(watcher.changes(name)) == {("segments/buyers", True)}, "the customer to enter")
        told = [parent for response in list(watcher.responses) if response.changes for parent in response.trace_parents]
    chain = waiting.until(lambda: journey(collector, trace), lambda: f"the whole trace; there are {collector.of(trace)}")
    call, *steps = chain
    assert (call.name, call.parent, call.kind) == ("quintile.ingestion.v1.IngestService/IngestBatch", trace.parent, call_kind("SERVER"))
    assert call.attributes == {"rpc.system.name": "grpc", "rpc.method": call.name, "rpc.response.status_code": "OK"}
    assert [(step.attributes["quintile.service"], step.name) for step in steps] == STEPS
    assert {step.attributes["quintile.tenant"] for step in steps} == {"default"}
    assert not any(span.failed for span in chain) and all(span.begins <= span.ends for span in chain)
    assert {span.service for span in chain} == {"quintile"}
    # Whoever watches may go on from the last step.
    assert f"00-{trace.id}-{steps[-1].id}-01" in told


def call_kind(name):
    return trace_pb2.Span.SpanKind.Value(f"SPAN_KIND_{name}")


def batches_of_a_stream_belong_to_the_trace_of_the_stream(traced, collector, new):
    admin, trace = traced.client("admin"), Trace()
    batches = [{"stream_id": new, "offset": n, "rows": [facts.order(f"{new}-{n}", f"{new}-{n}")]} for n in range(2)]
    answers = list(admin.start("IngestService/Ingest", batches, (*admin.metadata(), trace.header)))
    assert [answer.applied for answer in answers] == [1, 1]
    with watch(traced.client("analyst"), "SegmentService/WatchMemberships"):
        questions.wait_for(admin, answers[-1].facts_position)

        def committed():
            spans = collector.of(trace)
            streams = [span for span in spans if span.name == "quintile.ingestion.v1.IngestService/Ingest"]
            commits = [span for span in spans if span.name == "commit facts"]
            return streams and commits and {commit.parent for commit in commits} == {streams[0].id} and len(
                [span for span in spans if span.attributes.get("quintile.service") == "segmentation"]) > 0
        waiting.until(committed, lambda: f"commits of the stream; there are {collector.of(trace)}")


def a_call_takes_its_trace_to_the_services_that_it_asks(traced, collector, new):
    admin, trace = traced.client("admin"), Trace()
    questions.wait_for(admin, questions.take_in(admin, facts.order(new, new)).facts_position)
    name = questions.find(admin, new)
    admin.call("ProfileService/GetProfile", {"name": f"{name}/profile"}, (*admin.metadata(), trace.header))

    def asked():
        spans = {span.id: span for span in collector.of(trace)}
        servers = [span for span in spans.values() if span.kind == call_kind("SERVER") and span.parent in spans]
        # Each has been called by a call of the one that was asked, and is named like it.
        assert all(spans[span.parent].name == span.name and spans[span.parent].kind == call_kind("CLIENT") for span in servers)
        return {span.name.split(".")[1] for span in servers} >= {"ingestion", "scoring", "lifecycle"}
    waiting.until(asked, lambda: f"calls of the other services; there are {collector.of(trace)}")


def a_call_that_is_refused_says_so_in_its_span_and_nothing_of_the_request(traced, collector):
    admin, trace = traced.client("admin"), Trace()
    admin.refused("CustomerService/GetCustomer", {"name": f"customers/{canaries.NAME}"}, (*admin.metadata(), trace.header))
    [span] = waiting.until(lambda: collector.of(trace), "the span of the call")
    assert span.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT" and not span.failed
    assert set(span.attributes) == {"rpc.system.name", "rpc.method", "rpc.response.status_code"}


def what_is_not_sampled_is_not_sent_and_nobody_is_named_in_what_is(traced, collector):
    admin, trace, seen = traced.client("admin"), Trace(sampled=False), Trace()
    profile = (*admin.metadata(), seen.header, ("tracestate", f"vendor={canaries.EMAIL_LOCAL}"))
    send(admin, trace, [facts.customer(canaries.SOURCE_ID, display_name=canaries.NAME, phone=canaries.PHONE)])
    answer = send(admin, seen, [facts.order(canaries.SOURCE_ID, "seen")])
    questions.wait_for(admin, answer.facts_position)
    name = questions.find(admin, canaries.SOURCE_ID)
    assert admin.call("ProfileService/GetProfile", {"name": f"{name}/profile"}, profile).customer.display_name == canaries.NAME

    def is_sent():
        names = {span.name for span in collector.of(seen)}
        return {"take records", "quintile.segmentation.v1.ProfileService/GetProfile"} <= names
    waiting.until(is_sent, lambda: f"the trace that is sampled; there are {collector.of(seen)}")
    # Spans are sent in the order in which they end: those of the call before would be there.
    assert collector.of(trace) == []
    hidden = canaries.Hidden(texts=(*canaries.FROM_ANALYSTS.texts, admin.token), digits=canaries.FROM_ANALYSTS.digits)
    with collector.lock:
        sent = [request.SerializeToString() for request in collector.requests]
    assert len(sent) > 1 and [canaries.found_in_bytes(each, hidden) for each in sent if canaries.found_in_bytes(each, hidden)] == []


def a_collector_that_is_away_holds_nobody_up(backend, new):
    """Nobody listens at the endpoint: calls are answered, facts travel, and the suite ends in time."""
    [port] = free_ports(1)
    with quintile.suite(backend, settings=f'[telemetry]\notlp_endpoint = "http://127.0.0.1:{port}"\ntrace_ratio = 1.0\n') as suite:
        admin = suite.client("admin")
        questions.wait_for(admin, questions.take_in(admin, facts.order(new, new)).facts_position)
        assert questions.features(admin, questions.find(admin, new)).orders == 1
        assert suite.stop() == 0
