"""A collector of traces, as OTLP over gRPC has it, that keeps what it is sent."""
import contextlib
import secrets
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Trace:
    """A trace that a client begins: the header that it sends, and the ids in it."""

    def __init__(self, sampled=True):
        self.id, self.parent = secrets.token_hex(16), secrets.token_hex(8)
        self.header = ("traceparent", f"00-{self.id}-{self.parent}-{'01' if sampled else '00'}")


class Span:
    """What the tests ask of a span."""

    def __init__(self, span, service):
        self.trace_id, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.name, self.kind, self.failed = span.name, span.kind, span.status.code == span.status.STATUS_CODE_ERROR
        self.begins, self.ends = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
        self.service = service

    def __repr__(self):
        return f"{self.name} {self.attributes} {self.parent}->{self.id}"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """What has been sent so far: all spans, and all requests as they came."""

    def __init__(self):
        self.spans, self.requests, self.lock = [], [], threading.Lock()

    def Export(self, request, context):
        spans = [Span(span, attribute(of_process.resource, "service.name"))
                 for of_process in request.resource_spans for scope in of_process.scope_spans for span in scope.spans]
        with self.lock:
            self.spans += spans
            self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace):
        with self.lock:
            return [span for span in self.spans if span.trace_id == trace.id]


def attribute(resource, name):
    return next((each.value.string_value for each in resource.attributes if each.key == name), None)


@contextlib.contextmanager
def collecting():
    """A collector on a port of its own, with its URL; gone afterwards."""
    server, collector = grpc.server(futures.ThreadPoolExecutor(max_workers=2)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()
