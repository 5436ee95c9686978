"""A case for every RPC of the suite: how it is called on a populated tenant, and which roles may call it.

To add an RPC, add a line to CASES. A case's `call` returns all the answers that the caller received, as messages, with the
metadata around them. Cases may be called any number of times, by any role, in any order: what they make has a new name.
"""
import uuid
from dataclasses import dataclass
from typing import Callable

import grpc

from support import canaries, facts, waiting
from support.refusals import Refusal

ADMIN = frozenset({"admin"})
FEEDS = frozenset({"admin", "service"})
CARE = frozenset({"admin", "service", "support"})
ANALYSIS = frozenset({"admin", "service", "analyst"})
EVERY_ROLE = frozenset({"admin", "service", "support", "analyst"})


@dataclass(frozen=True)
class Case:
    """How to call an RPC, and who may."""

    roles: frozenset
    call: Callable  # (world, client, method name) -> [(message, metadata)]
    public: bool = False  # Answers without a token, so it is in no role's list.


def unary(roles, build=lambda _world: {}, public=False):
    """A case that is one request and one answer."""
    return Case(roles, lambda world, client, method: [client.exchange(method, build(world))], public)


def read_stream(call, enough):
    """The answers of a stream until `enough(answer)`, then the call is ended."""
    answers = []
    try:
        for answer in call:
            answers.append(answer)
            if enough(answer):
                break
    except grpc.RpcError as error:
        raise Refusal(error) from None
    finally:
        call.cancel()
    assert answers and enough(answers[-1]), f"the stream ended before it had said enough: {str(answers)[:1000]}"
    return [(answer, ()) for answer in answers]


def watch(roles, enough):
    """A case that follows a feed from its start."""
    return Case(roles, lambda _world, client, method: read_stream(
        client.start(method, [{}], seconds=waiting.SECONDS), enough))


def watch_memberships(world, client, method):
    """Follows memberships from now on, and has an administrator's order make some."""
    call = client.start(method, [{}], seconds=waiting.SECONDS)
    try:
        answers = [next(call)]
    except grpc.RpcError as error:
        raise Refusal(error) from None
    new = uuid.uuid4().hex
    world.client("admin").call("IngestService/IngestBatch", facts.batch(facts.order(new, new)))
    return [(answers[0], ()), *read_stream(call, lambda answer: answer.changes)]


def ingest(_world, client, method):
    """One batch over a stream of its own."""
    new = uuid.uuid4().hex
    request = {"stream_id": f"case-{new}", "offset": 0, "rows": [facts.order(new, new)]}
    return read_stream(client.start(method, [request], seconds=waiting.SECONDS), lambda answer: answer.acked_offset == 1)


def update_customer(world):
    return {"customer": {"name": world.customer, "attributes": {"language": "zh"}}, "update_mask": "attributes.language"}


def create_customer(_world):
    # A contact of its own would make the canaries findable by another number; the canaries themselves may repeat.
    return {"customer": canaries.CUSTOMER | {"identities": [facts.identity(f"{canaries.SOURCE_ID}-{uuid.uuid4().hex}")]},
            "request_id": str(uuid.uuid4())}


def create_segment(_world):
    return {"segment_id": f"case-{uuid.uuid4().hex}", "segment": {"expression": facts.TARGET}}


def delete_segment(world):
    return {"name": world.client("admin").call("SegmentService/CreateSegment", create_segment(world)).name}


def of_customer(part):
    """A request by the name of a part of the canary customer."""
    return lambda world: {"name": f"{world.customer}{part}"}


INGESTION, SCORING = "quintile.ingestion.v1", "quintile.scoring.v1"
LIFECYCLE, SEGMENTATION, ACCESS = "quintile.lifecycle.v1", "quintile.segmentation.v1", "quintile.access.v1"

CASES = {
    f"{INGESTION}.ClockService/GetAsOf": unary(EVERY_ROLE),
    f"{INGESTION}.ClockService/SetAsOf": unary(ADMIN, lambda _world: {"as_of": facts.text_of(facts.AS_OF)}),
    f"{INGESTION}.CustomerService/CreateCustomer": unary(FEEDS, create_customer),
    f"{INGESTION}.CustomerService/GetCustomer": unary(EVERY_ROLE, of_customer("")),
    f"{INGESTION}.CustomerService/UpdateCustomer": unary(CARE, update_customer),
    f"{INGESTION}.CustomerService/ListCustomers": unary(EVERY_ROLE),
    f"{INGESTION}.CustomerService/LookupCustomer": unary(
        CARE, lambda _world: {"identity": facts.identity(canaries.SOURCE_ID)}),
    f"{INGESTION}.FeatureService/GetFeatures": unary(EVERY_ROLE, of_customer("/features")),
    f"{INGESTION}.FeatureService/WatchFeatures": watch(FEEDS, lambda answer: answer.records),
    f"{INGESTION}.IngestService/Ingest": Case(FEEDS, ingest),
    f"{INGESTION}.IngestService/IngestBatch": unary(
        FEEDS, lambda _world: facts.batch(facts.order(uuid.uuid4().hex, "event"))),
    f"{INGESTION}.IngestService/GetIngestStream": unary(FEEDS, lambda _world: {"name": "ingestStreams/planted-stream"}),
    f"{INGESTION}.IngestService/ListRejects": unary(FEEDS),
    f"{SCORING}.ScoreModelService/GetScoreModel": unary(EVERY_ROLE, lambda _world: {"name": "scoreModels/rfm"}),
    f"{SCORING}.ScoreModelService/ListScoreModels": unary(EVERY_ROLE),
    f"{SCORING}.ScoreService/GetScore": unary(EVERY_ROLE, of_customer("/score")),
    f"{SCORING}.ScoreService/BatchGetScores": unary(EVERY_ROLE, lambda world: {"names": [f"{world.customer}/score"]}),
    f"{SCORING}.ScoreService/ExplainScore": unary(EVERY_ROLE, of_customer("/score")),
    f"{SCORING}.ScoreService/WatchScores": watch(FEEDS, lambda answer: answer.records),
    f"{LIFECYCLE}.StageService/GetStage": unary(EVERY_ROLE, of_customer("/stage")),
    f"{LIFECYCLE}.StageService/GetFunnel": unary(EVERY_ROLE),
    f"{LIFECYCLE}.StageService/WatchStages": watch(FEEDS, lambda answer: answer.records),
    f"{SEGMENTATION}.LabelService/GetLabelSet": unary(EVERY_ROLE, lambda _world: {"name": "labelSets/rfm-11"}),
    f"{SEGMENTATION}.LabelService/GetLabelDistribution": unary(EVERY_ROLE, lambda _world: {"name": "labelSets/rfm-11"}),
    f"{SEGMENTATION}.ProfileService/GetProfile": unary(EVERY_ROLE, of_customer("/profile")),
    f"{SEGMENTATION}.SegmentService/CreateSegment": unary(ANALYSIS, create_segment),
    f"{SEGMENTATION}.SegmentService/GetSegment": unary(EVERY_ROLE, lambda world: {"name": world.segment}),
    f"{SEGMENTATION}.SegmentService/ListSegments": unary(EVERY_ROLE),
    f"{SEGMENTATION}.SegmentService/DeleteSegment": unary(ANALYSIS, delete_segment),
    f"{SEGMENTATION}.SegmentService/PreviewSegment": unary(
        ANALYSIS, lambda _world: {"expression": facts.TARGET, "sample_size": 10}),
    f"{SEGMENTATION}.SegmentService/ListMembers": unary(EVERY_ROLE, lambda world: {"parent": world.segment}),
    f"{SEGMENTATION}.SegmentService/CheckMembers": unary(
        EVERY_ROLE, lambda world: {"parent": world.label, "customers": [world.customer]}),
    f"{SEGMENTATION}.SegmentService/WatchMemberships": Case(ANALYSIS, watch_memberships),
    f"{ACCESS}.PolicyService/GetPolicy": unary(FEEDS),
    f"{ACCESS}.PolicyService/WatchPolicy": watch(FEEDS, lambda answer: answer.roles),
    f"{ACCESS}.TenantService/CreateTenant": unary(ADMIN, lambda _world: {"tenant_id": f"t{uuid.uuid4().hex}"}),
    f"{ACCESS}.TenantService/ListTenants": unary(ADMIN),
    # Anybody may try it, with the bootstrap secret; a token alone helps administrators only.
    f"{ACCESS}.TokenService/IssueToken": unary(ADMIN, lambda _world: {"role": "analyst"}, public=True),
    f"{ACCESS}.TokenService/GetJwks": unary(EVERY_ROLE, public=True),
}


def is_empty(message):
    """Whether an answer says nothing although its type could: a repeated field of it must have an item."""
    lists = [field for field in message.DESCRIPTOR.fields if field.is_repeated]
    if not message.DESCRIPTOR.fields:
        return False
    return message.ByteSize() == 0 or (
        len(message.DESCRIPTOR.fields) > 1 and message.DESCRIPTOR.name.startswith(("List", "BatchGet", "CheckMembers"))
        and not any(getattr(message, field.name) for field in lists))
