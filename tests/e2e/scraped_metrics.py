"""What a process tells whoever scrapes it: every metric of the reference, in numbers that move with what happens, and nothing of anybody."""
import http.client
import re
import socket
from types import SimpleNamespace

import pytest
from prometheus_client import parser

from one_process_per_role import free_ports
from support import canaries, facts, questions, quintile, receiver, waiting
from support.world import populate

SECONDS = 30
# Attributes that a series has where there is something to say alone.
SOMETIMES = {"error_type"}


def reference():
    """The metrics as METRICS.md has them: by name in Prometheus, what they are."""
    text = (quintile.REPOSITORY / "METRICS.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (\w+) \| `([^`]+)` \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    return {exported: SimpleNamespace(kind=kind, unit=unit, meaning=meaning, labels={
        attribute.replace(".", "_") for attribute in re.findall("`([^`]+)`", attributes)}) for _, exported, kind, unit, attributes, meaning in rows}


class Scraped:
    """The metrics of a process, as they are now."""

    def __init__(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            self.text = response.read().decode()
        finally:
            connection.close()
        assert (response.status, response.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        self.families = {family.name: family for family in parser.text_string_to_metric_families(self.text)}

    def samples(self, name, **labels):
        """{labels: value} of the series of a name with these labels."""
        return {tuple(sorted(sample.labels.items())): sample.value for family in self.families.values() for sample in family.samples
                if sample.name == name and labels.items() <= sample.labels.items()}

    def sum(self, name, **labels):
        return sum(self.samples(name, **labels).values())


@pytest.fixture(scope="module")
def told(backend):
    """A suite that tells its metrics, with something of everything in it."""
    [port] = free_ports(1)
    with quintile.suite(backend, webhooks=receiver.refusing(), settings=f'[telemetry]\nmetrics_address = "127.0.0.1:{port}"\n') as suite:
        world = populate(suite)
        suite.client("analyst").call("CustomerService/GetCustomer", {"name": world.customer})
        yield SimpleNamespace(suite=suite, world=world, port=port, scrape=lambda: Scraped(port))


def complete(told):
    """What is told, once members have been counted and somebody reads feeds."""
    return waiting.until(lambda: (scraped := told.scrape()).samples("quintile_segment_members", segment=told.world.segment) and scraped,
                         "members to be counted")


def every_metric_of_the_reference_is_told_as_the_reference_has_it_and_no_other(told):
    known, scraped = reference(), complete(told)
    assert len(known) >= 20
    families = {name + ("_total" if family.type == "counter" else ""): family for name, family in scraped.families.items()}
    # What Prometheus' convention has every process of OpenTelemetry tell of itself.
    target = families.pop("target_info")
    assert target.samples[0].labels["service_name"] == "quintile" and target.samples[0].labels["service_namespace"] == "quintile"
    assert families.keys() == known.keys()
    for name, family in families.items():
        assert (family.type, family.documentation) == (known[name].kind, known[name].meaning), name
        for sample in family.samples:
            own = sample.labels.keys() - {"le"}
            assert known[name].labels - SOMETIMES <= own <= known[name].labels, (name, sample)
            assert sample.value >= 0, (name, sample)
        assert family.samples, name


def calls_are_counted_by_method_and_status_from_the_first_to_the_last(told):
    analyst, before = told.suite.client("analyst"), told.scrape()
    for _ in range(3):
        analyst.call("StageService/GetFunnel")
    analyst.refused("ClockService/SetAsOf", {})
    counted = ("rpc_server_call_duration_seconds_count", "quintile.lifecycle.v1.StageService/GetFunnel")

    def more(status, name=counted[0], method=counted[1]):
        labels = {"rpc_method": method, "rpc_response_status_code": status, "rpc_system_name": "grpc"}
        return told.scrape().sum(name, **labels) - before.sum(name, **labels)
    # A call has ended when its status is sent, a moment after which it is counted.
    waiting.until(lambda: more("OK") == 3, "three calls to be counted")
    waiting.until(lambda: more("PERMISSION_DENIED", method="quintile.ingestion.v1.ClockService/SetAsOf") == 1, "a refusal to be counted")
    # Half a minute of a histogram's buckets is no whole call's.
    assert 0 < more("OK", "rpc_server_call_duration_seconds_sum") < SECONDS
    refusals = told.scrape().samples("rpc_server_call_duration_seconds_count", rpc_response_status_code="PERMISSION_DENIED")
    assert refusals and all("error_type" not in dict(labels) for labels in refusals), "a refusal is no error of the server"


def a_stream_is_counted_once_it_ends_and_as_cancelled_where_its_client_leaves(told):
    method = "quintile.segmentation.v1.SegmentService/WatchMemberships"

    def cancelled():
        return told.scrape().sum("rpc_server_call_duration_seconds_count", rpc_method=method, rpc_response_status_code="CANCELLED")
    before = cancelled()
    call = told.suite.client("analyst").start("SegmentService/WatchMemberships", [{}])
    next(call)
    assert cancelled() == before
    waiting.until(lambda: told.scrape().samples("quintile_feed_lag", feed="memberships", consumer="other", tenant="default"), "the reader to be told")
    call.cancel()
    waiting.until(lambda: cancelled() == before + 1, "the stream to be counted")
    waiting.until(lambda: not told.scrape().samples("quintile_feed_lag", consumer="other"), "the reader to be gone")


def a_method_that_there_is_not_makes_no_series_of_its_own(told):
    channel = told.suite.api().channels["ingestion"]
    for n in range(3):
        call = channel.unary_unary(f"/quintile.made.up.v{n}/Of{canaries.SOURCE_ID}", request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(Exception, match="UNIMPLEMENTED|PERMISSION_DENIED|UNAUTHENTICATED"):
            call(b"", metadata=told.suite.client("admin").metadata(), timeout=SECONDS)
    waiting.until(lambda: told.scrape().sum("rpc_server_call_duration_seconds_count", rpc_method="_OTHER") >= 3, "the calls to be counted")
    assert "made.up" not in told.scrape().text


def rows_are_counted_by_what_became_of_them(told, new):
    admin, before = told.suite.client("admin"), told.scrape()
    rows = [facts.order(new, "one"), facts.order(new, "two"), facts.order(new, "bad", cents=-1)]
    admin.call("IngestService/IngestBatch", facts.batch(*rows))
    admin.call("IngestService/IngestBatch", facts.batch(rows[0]))
    after = told.scrape()
    counted = {outcome: after.sum("quintile_intake_rows_total", tenant="default", outcome=outcome)
               - before.sum("quintile_intake_rows_total", tenant="default", outcome=outcome) for outcome in ("applied", "duplicate", "rejected")}
    assert counted == {"applied": 2, "duplicate": 1, "rejected": 1}


def who_is_shown_less_is_counted_by_class_and_role(told):
    def masked(role, kind):
        return told.scrape().sum("quintile_masked_fields_total", caller_role=role, **{"class": kind})
    before = {(role, kind): masked(role, kind) for role in ("analyst", "admin") for kind in ("name", "phone", "email")}
    for role in ("analyst", "admin"):
        told.suite.client(role).call("CustomerService/GetCustomer", {"name": told.world.customer})
    assert {key: masked(*key) - count for key, count in before.items()} == {
        ("analyst", "name"): 1, ("analyst", "phone"): 1, ("analyst", "email"): 1, ("admin", "name"): 0, ("admin", "phone"): 0, ("admin", "email"): 0}


def the_chain_tells_how_far_it_is_and_who_works(told):
    admin, scraped = told.suite.client("admin"), complete(told)
    services = {"ingestion", "scoring", "lifecycle", "segmentation"}
    position = questions.take_in(admin, facts.order("position", "position")).facts_position

    def positions():
        series = told.scrape().samples("quintile_watermark_position", tenant="default")
        return {dict(labels)["quintile_service"]: value for labels, value in series.items()}
    waiting.until(lambda: positions() == dict.fromkeys(services, position), lambda: f"all to reach {position}: {positions()}")
    # Business time stands: all have come to it.
    ages = {dict(labels)["quintile_service"]: age for labels, age in scraped.samples("quintile_watermark_age_seconds").items()}
    assert ages == dict.fromkeys(services, 0)
    workers = {dict(labels)["worker"]: held for labels, held in scraped.samples("quintile_lease_held", tenant="default").items()}
    assert workers.keys() >= {"features", "scores", "stages", "segments", "playbooks"} and set(workers.values()) == {1}
    followed = {(dict(labels)["feed"], dict(labels)["consumer"]) for labels in scraped.samples("quintile_feed_lag", tenant="default")}
    assert followed >= {("facts", "features"), ("features", "scoring"), ("scores", "lifecycle"), ("stages", "segmentation")}
    waiting.until(lambda: told.scrape().sum("quintile_feed_lag") == 0, "everybody to have caught up")


def sizes_of_segments_are_those_that_the_service_answers(told):
    client = told.suite.client("admin")

    def agree():
        scraped = told.scrape().samples("quintile_segment_members", tenant="default")
        sizes = {dict(labels)["segment"]: members for labels, members in scraped.items()}
        answered = client.call("SegmentService/GetSegment", {"name": told.world.segment}).members
        return sizes.get(told.world.segment) == answered > 0 and len(sizes) <= 100
    waiting.until(agree, "the members that are told to be those that are answered")


def what_is_told_holds_no_canary_and_nothing_but_get_is_answered(told):
    text = complete(told).text.encode()
    assert canaries.found_in_bytes(text, canaries.FROM_ANALYSTS) == [] and told.suite.client("admin").token.encode() not in text
    connection = http.client.HTTPConnection("127.0.0.1", told.port, timeout=SECONDS)
    answers = []
    for method, path in (("POST", "/metrics"), ("GET", "/"), ("GET", "/metrics/x")):
        connection.request(method, path)
        response = connection.getresponse()
        answers.append((response.status, response.read()))
    connection.close()
    assert answers == [(405, b""), (404, b""), (404, b"")]


def whoever_holds_connections_open_keeps_a_few_alone(told):
    """More connections than may be are closed at once, and once others are gone there is room again."""
    held = [socket.create_connection(("127.0.0.1", told.port), timeout=SECONDS) for _ in range(20)]
    try:
        def closed(connection):
            connection.setblocking(False)
            try:
                return connection.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True
        waiting.until(lambda: sum(map(closed, held)) >= 12, "connections beyond eight to be closed")
        assert sum(map(closed, held)) < 20
    finally:
        for connection in held:
            connection.close()

    def has_room():
        try:
            return Scraped(told.port)
        except (ConnectionError, http.client.HTTPException):
            return None
    waiting.until(has_room, "room for whoever scrapes")


def without_an_address_nothing_is_told_and_what_is_wrong_is_refused(backend, tmp_path):
    with quintile.suite(backend) as suite:
        assert "metrics" not in suite.endpoints and not suite.has_logged(" metrics ")
    for setting, words in (('metrics_address = "7710"', "telemetry.metrics_address"), ("trace_ratio = 1.5", "telemetry.trace_ratio"),
                           ('otlp_endpoint = "collector:4317"', "telemetry.otlp_endpoint")):
        with quintile.suite("sqlite", settings=f"[telemetry]\n{setting}\n", started=False) as suite, pytest.raises(AssertionError, match=words):
            suite.start()
