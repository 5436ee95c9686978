"""A case for every RPC of the suite: how it is called on a populated tenant, and which roles may call it.

To add an RPC, add a line to CASES. A case's `call` returns all the answers that the caller received, as messages, with the
metadata around them. Cases may be called any number of times, by any role, in any order: what they make has a new name.
"""
import functools
import uuid
from dataclasses import dataclass
from typing import Callable

import grpc

from support import canaries, checkpoints, churn, churn_cases, definitions, facts, oidc, playbook_cases, questions, recommendations, rewards
from support import score_models, traits, value_cases, waiting
from support.reflection import OPERATIONS
from support.refusals import Refusal
from support.world import NOW

# Written down from security.md and the descriptions of the roles, not from the policy: the policy is held to it.
SERVICES = frozenset({"service"})
ADMIN = frozenset({"admin"})
AUDITING = frozenset({"admin", "auditor"})
DECLARERS = frozenset({"admin", "data-engineer"})
FEEDS = frozenset({"admin", "service"})
PIPELINES = FEEDS | {"data-engineer"}
DEFINERS = PIPELINES | {"analyst"}
CARE = frozenset({"admin", "service", "support"})
SELLING = CARE | {"sales"}
ANSWERING = SELLING | {"marketer"}
PERSONS_RIGHTS = frozenset({"admin", "support"})
ANALYSIS = frozenset({"admin", "service", "marketer", "analyst", "data-engineer"})
EVERY_ROLE = SELLING | ANALYSIS
EVERYBODY = EVERY_ROLE | {"auditor"}


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


def watch(roles, enough, build=lambda _world: {}):
    """A case that reads a stream from its start: of a feed, or of what is asked for."""
    return Case(roles, lambda world, client, method: read_stream(
        client.start(method, [build(world)], seconds=waiting.SECONDS), enough))


def watch_from_now_on(roles, news, enough):
    """A case that follows a stream from now on, on which `news(world, administrator)` make something of the canary told."""
    def follow(world, client, method):
        call = client.start(method, [{}], seconds=waiting.SECONDS)
        try:
            answers = [next(call)]
        except grpc.RpcError as error:
            raise Refusal(error) from None
        news(world, world.client("admin"))
        return [(answers[0], ()), *read_stream(call, enough)]
    return Case(roles, follow)


def just_ordered(new):
    """The first order of somebody new, of this moment: models that are fitted learn nothing from it."""
    return facts.order(new, "event", order_time=facts.text_of(NOW))


def ingest(_world, client, method):
    """One batch over a stream of its own."""
    new = uuid.uuid4().hex
    request = {"stream_id": f"case-{new}", "offset": 0, "rows": [just_ordered(new)]}
    return read_stream(client.start(method, [request], seconds=waiting.SECONDS), lambda answer: answer.acked_offset == 1)


def update_customer(world):
    return {"customer": {"name": world.customer, "attributes": {"language": "zh"}}, "update_mask": "attributes.language"}


def create_customer(_world):
    # A contact of its own would make the canaries findable by another number; the canaries themselves may repeat.
    return {"customer": canaries.CUSTOMER | {"identities": [facts.identity(f"{canaries.SOURCE_ID}-{uuid.uuid4().hex}")]},
            "request_id": str(uuid.uuid4())}


def somebody(world):
    """A new customer, whom a case may restrict or erase."""
    request = {"customer": {"identities": [facts.identity(uuid.uuid4().hex)]}}
    return {"name": world.client("admin").call("CustomerService/CreateCustomer", request).name}


def erased(world):
    return {"name": world.client("admin").call("PrivacyService/EraseCustomer", somebody(world)).name}


@functools.cache
def erased_and_through(world):
    """An erasure whose receipt every service can give, to whoever asks how often."""
    admin = world.client("admin")
    name = admin.call("PrivacyService/EraseCustomer", somebody(world)).name
    erasure = waiting.until(
        lambda: next(iter(e for e in [admin.call("PrivacyService/GetErasure", {"name": name})]
                          if e.HasField("complete_time")), None), "an erasure to complete")
    return {"name": erasure.customer, "facts_position": erasure.facts_position}


def consent(world):
    return somebody(world) | {"purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN", "source": "by a form"}


def list_of(method, request):
    """A request for a list, once there is something to list."""
    def build(world):
        world.client("admin").call(method, request(world))
        return {}
    return build


def create_revocation(_world):
    return {"revocation": {"token_id": uuid.uuid4().hex}}


def new_roles(_world):
    return {"roles": [{"role": f"case-{uuid.uuid4().hex}", "methods": [f"{INGESTION}.ClockService/GetAsOf"]}]}


def new_policy(world):
    """Roles, with the version that they replace."""
    present = world.client("admin").call("PolicyService/PreviewPolicy", {}).present_version
    return new_roles(world) | {"comment": "a case", "expected_version": present}


def policy_version(world):
    return {"name": world.client("admin").call("PolicyService/PublishPolicy", new_policy(world)).name}


def create_attribute(_world):
    return {"attribute_id": f"case-{uuid.uuid4().hex}", "attribute": {"sensitivity": "SENSITIVITY_PHONE"}}


def attribute(world):
    return {"name": world.client("admin").call("AttributeService/CreateAttribute", create_attribute(world)).name}


def create_trait(world):
    """A new trait; those of earlier cases make room."""
    admin = world.client("admin")
    earlier = [each for each in admin.call("TraitService/ListTraits").traits if each.name.startswith("traits/case-")]
    for each in earlier[:-40]:
        admin.call("TraitService/DeleteTrait", {"name": each.name})
    return {"trait_id": f"case-{uuid.uuid4().hex}",
            "trait": {"fact": "TRAIT_FACT_ORDER", "aggregate": "TRAIT_AGGREGATE_COUNT", "filter": "amount > 10"}}


def operation(world):
    """The operation of a new trait, ended."""
    admin = world.client("admin")
    begun = admin.call("TraitService/CreateTrait", create_trait(world))
    return {"name": traits.done(admin, begun).name}


def new_trait(world):
    request = create_trait(world)
    world.client("admin").call("TraitService/CreateTrait", request)
    return {"name": f"traits/{request['trait_id']}"}


def create_draft(_world):
    return {"parent": "scoreModels/planted", "preset": "value-grade"}


def draft(world):
    """A new draft."""
    orders = score_models.dimension("orders", "orders", cut_offs=[2])
    return {"name": score_models.create(world.client("admin"), "drafts", orders).name}


def rfm_draft(world):
    """A draft of the model that labels are made of, of the case's own: a preview changes it."""
    made = score_models.create_preset(world.client("admin"), "rfm", "luxury")
    return {"name": "labelSets/rfm-11", "score_model_version": made.name}


def recommendation_model(world):
    """A new draft of a model of recommendations."""
    return {"name": recommendations.fit(world.client("admin"), holdout_days=0).name}


def model_in_force(world):
    """A model of a case's own, of which there are few: retired before, it is put in force again."""
    orders = score_models.dimension("orders", "orders", cut_offs=[2])
    score_models.put_in_force(world.client("admin"), "retiring", orders)
    return {"name": "scoreModels/retiring"}


def reject_of_a_case(world):
    """A new reject, of nobody."""
    request = facts.batch(facts.order(uuid.uuid4().hex, "e", amount={"units": 5}))
    admin = world.client("admin")
    admin.call("IngestService/IngestBatch", request)
    rejects = questions.everything(admin, "IngestService/ListRejects", "rejects", page_size=1_000)
    return {"name": next(each.name for each in rejects if each.stream_id == request["request_id"])}


def two_customers(world):
    """Two new customers, as a request to merge them."""
    return {"customer": somebody(world)["name"], "other": somebody(world)["name"]}


def merged(world):
    return world.client("admin").call("IdentityService/MergeCustomers", two_customers(world)).name


def conflict(world):
    """The conflict of a customer with another of the same e-mail address."""
    admin = world.client("admin")
    email = f"{uuid.uuid4().hex}@example.com"
    for _ in range(2):
        request = {"customer": {"identities": [facts.identity(uuid.uuid4().hex)], "email": email}}
        name = admin.call("CustomerService/CreateCustomer", request).name
    conflicts = questions.everything(admin, "IdentityService/ListIdentityConflicts", "conflicts", page_size=1_000)
    return next(each.name for each in conflicts if name in each.customers)


EXPORT_KINDS = ("CUSTOMER", "ORDER", "REFUND", "INTERACTION", "FEEDBACK", "ACQUISITION_SPEND", "EXCHANGE_RATE")


def export_rows(_world, client, method):
    """All rows of every kind."""
    return [answer for kind in EXPORT_KINDS for answer in read_stream(
        client.start(method, [{"kind": f"EXPORT_KIND_{kind}"}], seconds=waiting.SECONDS), lambda answer: answer.complete)]


def of_customer(part):
    """A request by the name of a part of the canary customer."""
    return lambda world: {"name": f"{world.customer}{part}"}


INGESTION, SCORING = "quintile.ingestion.v1", "quintile.scoring.v1"
LIFECYCLE, SEGMENTATION, ACCESS = "quintile.lifecycle.v1", "quintile.segmentation.v1", "quintile.access.v1"
AUDIT = "quintile.audit.v1"

CASES = {
    f"{INGESTION}.ClockService/GetAsOf": unary(EVERYBODY),
    f"{INGESTION}.ClockService/SetAsOf": unary(ADMIN, lambda _world: {"as_of": facts.text_of(NOW)}),
    f"{INGESTION}.CustomerService/CreateCustomer": unary(FEEDS, create_customer),
    f"{INGESTION}.CustomerService/GetCustomer": unary(EVERY_ROLE, of_customer("")),
    f"{INGESTION}.CustomerService/UpdateCustomer": unary(SELLING, update_customer),
    f"{INGESTION}.CustomerService/ListCustomers": unary(EVERY_ROLE),
    f"{INGESTION}.CustomerService/LookupCustomer": unary(CARE, lambda _world: {"identity": facts.identity(canaries.SOURCE_ID)}),
    f"{INGESTION}.CustomerService/ListBirthdays": unary(FEEDS, lambda _world: canaries.BIRTHDAY),
    f"{INGESTION}.ExportService/ExportRows": Case(ANALYSIS, export_rows),
    f"{INGESTION}.ExportService/ExportAudience": unary(FEEDS, lambda world: {"customers": [world.customer]}),
    f"{INGESTION}.FeatureService/GetFeatures": unary(EVERY_ROLE, of_customer("/features")),
    f"{INGESTION}.FeatureService/WatchFeatures": watch(PIPELINES, lambda answer: answer.records),
    f"{INGESTION}.FeatureService/ReadPastFeatures": watch(
        PIPELINES, lambda answer: answer.complete, lambda _world: {"as_of": [facts.text_of(NOW)]}),
    f"{INGESTION}.IngestService/Ingest": Case(PIPELINES, ingest),
    f"{INGESTION}.IngestService/IngestBatch": unary(PIPELINES, lambda _world: facts.batch(just_ordered(uuid.uuid4().hex))),
    f"{INGESTION}.IngestService/GetIngestStream": unary(PIPELINES, lambda _world: {"name": "ingestStreams/planted-stream"}),
    f"{INGESTION}.IngestService/ListRejects": unary(PIPELINES),
    f"{INGESTION}.IngestService/GetReject": unary(PIPELINES, lambda world: {"name": world.reject}),
    f"{INGESTION}.IngestService/ReplayReject": unary(PIPELINES, reject_of_a_case),
    f"{INGESTION}.IngestService/DeleteReject": unary(PIPELINES, reject_of_a_case),
    f"{INGESTION}.FactService/ListCustomerFacts": unary(EVERY_ROLE, lambda world: {"parent": world.customer}),
    f"{INGESTION}.FactService/ListWaitingFacts": Case(PIPELINES, lambda world, client, method: [
        client.exchange(method, {"reason": f"WAITING_REASON_{reason}"}) for reason in ("NO_EXCHANGE_RATE", "NO_PURCHASE")]),
    f"{INGESTION}.IdentityService/MergeCustomers": unary(CARE, two_customers),
    f"{INGESTION}.IdentityService/UnmergeCustomers": unary(CARE, lambda world: {"name": merged(world)}),
    f"{INGESTION}.IdentityService/ListMerges": unary(CARE, lambda world: merged(world) and {}),
    f"{INGESTION}.IdentityService/ListIdentityConflicts": unary(CARE, lambda world: conflict(world) and {}),
    f"{INGESTION}.IdentityService/ResolveIdentityConflict": unary(
        CARE, lambda world: {"name": conflict(world), "state": "CONFLICT_STATE_KEPT_APART"}),
    f"{INGESTION}.FactService/ListExchangeRates": unary(ANALYSIS),
    f"{INGESTION}.FactService/ListAcquisitionSpend": unary(ANALYSIS),
    f"{INGESTION}.PrivacyService/SetConsent": unary(CARE, consent),
    f"{INGESTION}.PrivacyService/GetConsents": unary(CARE, of_customer("")),
    f"{INGESTION}.PrivacyService/RestrictProcessing": unary(PERSONS_RIGHTS, somebody),
    f"{INGESTION}.PrivacyService/LiftRestriction": unary(PERSONS_RIGHTS, somebody),
    f"{INGESTION}.PrivacyService/ExportPersonalData": Case(PERSONS_RIGHTS, lambda world, client, method: read_stream(
        client.start(method, [{"name": world.customer}], seconds=waiting.SECONDS), lambda answer: answer.complete)),
    f"{INGESTION}.PrivacyService/EraseCustomer": unary(ADMIN, somebody),
    f"{INGESTION}.PrivacyService/GetErasure": unary(ADMIN, erased),
    f"{INGESTION}.PrivacyService/ListErasures": unary(ADMIN, lambda world: erased(world) and {}),
    f"{INGESTION}.AttributeService/CreateAttribute": unary(DECLARERS, create_attribute),
    f"{INGESTION}.AttributeService/GetAttribute": unary(EVERY_ROLE, attribute),
    f"{INGESTION}.AttributeService/ListAttributes": unary(EVERY_ROLE, lambda world: attribute(world) and {}),
    f"{INGESTION}.AttributeService/DeleteAttribute": unary(DECLARERS, attribute),
    f"{INGESTION}.AttributeService/ReadAttributeValues": watch(
        FEEDS, lambda answer: answer.complete, lambda _world: {"attributes": [f"attributes/{canaries.NOTE_KEY}"]}),
    f"{INGESTION}.TraitService/CreateTrait": unary(DEFINERS, create_trait),
    f"{INGESTION}.TraitService/GetTrait": unary(EVERY_ROLE, new_trait),
    f"{INGESTION}.TraitService/ListTraits": unary(EVERY_ROLE),
    f"{INGESTION}.TraitService/DeleteTrait": unary(DEFINERS, new_trait),
    f"{INGESTION}.RetentionService/GetRetention": unary(DEFINERS),
    # For longer than any trait's window, or other cases that define one would be refused.
    f"{INGESTION}.RetentionService/UpdateRetention": unary(DECLARERS, lambda _world: {"retention": {"feedback_days": 36_500}}),
    f"{INGESTION}.ResponseService/GetResponseTargets": unary(EVERY_ROLE),
    # As they are at first, or other cases would find nothing overdue.
    f"{INGESTION}.ResponseService/UpdateResponseTargets": unary(ADMIN, lambda _world: {
        "targets": {"complaint_hours": 24, "support_ticket_hours": 48}}),
    f"{INGESTION}.ResponseService/GetResponseTimes": unary(EVERY_ROLE),
    f"{INGESTION}.ResponseService/ListOverdueFeedback": unary(EVERY_ROLE),
    f"{OPERATIONS}/GetOperation": unary(DEFINERS, operation),
    f"{OPERATIONS}/ListOperations": unary(DEFINERS),
    f"{OPERATIONS}/WaitOperation": unary(DEFINERS, lambda world: operation(world) | {"timeout": "10s"}),
    f"{OPERATIONS}/CancelOperation": unary(DEFINERS, operation),
    f"{OPERATIONS}/DeleteOperation": unary(DEFINERS, operation),
    f"{SCORING}.ErasureService/GetErasureReceipt": unary(FEEDS, erased_and_through),
    f"{LIFECYCLE}.ErasureService/GetErasureReceipt": unary(FEEDS, erased_and_through),
    f"{SEGMENTATION}.ErasureService/GetErasureReceipt": unary(FEEDS, erased_and_through),
    f"{SEGMENTATION}.ProfileService/ListMembershipChanges": unary(EVERY_ROLE, lambda world: {"parent": world.customer}),
    f"{SCORING}.ScoreModelService/GetScoreModel": unary(EVERY_ROLE, lambda _world: {"name": "scoreModels/rfm"}),
    f"{SCORING}.ScoreModelService/ListScoreModels": unary(EVERY_ROLE),
    f"{SCORING}.ScoreModelService/ListScoreModelPresets": unary(EVERY_ROLE),
    f"{SCORING}.ScoreModelService/ListScoreModelVersions": unary(EVERY_ROLE, lambda _world: {"parent": "scoreModels/planted"}),
    f"{SCORING}.ScoreModelService/GetScoreModelVersion": unary(EVERY_ROLE, lambda _world: {"name": "scoreModels/planted/versions/1"}),
    f"{SCORING}.ScoreModelService/CreateScoreModelVersion": unary(DEFINERS, create_draft),
    f"{SCORING}.ScoreModelService/DeleteScoreModelVersion": unary(DEFINERS, draft),
    f"{SCORING}.ScoreModelService/RefitScoreModel": unary(DEFINERS, lambda _world: {"name": "scoreModels/planted-found"}),
    f"{SCORING}.ScoreModelService/PreviewScoreModelVersion": watch(
        DEFINERS, lambda answer: answer.HasField("preview"), lambda _world: {"name": "scoreModels/planted/versions/1"}),
    f"{SCORING}.ScoreModelService/PublishScoreModelVersion": unary(DEFINERS, draft),
    f"{SCORING}.ScoreModelService/RetireScoreModel": unary(DEFINERS, model_in_force),
    f"{SCORING}.ScoreService/GetScore": unary(EVERY_ROLE, of_customer("/score")),
    f"{SCORING}.ScoreService/BatchGetScores": unary(EVERY_ROLE, lambda world: {"names": [f"{world.customer}/score"]}),
    f"{SCORING}.ScoreService/ExplainScore": unary(EVERY_ROLE, lambda world: {"name": f"{world.customer}/score", "model": "scoreModels/planted"}),
    f"{SCORING}.ScoreService/ListScoreChanges": unary(EVERY_ROLE, lambda world: {"parent": f"{world.customer}/score"}),
    f"{SCORING}.ValueModelService/FitValueModel": watch(
        DEFINERS, lambda answer: answer.HasField("model"), lambda _world: {"holdout_days": 0}),
    f"{SCORING}.ValueModelService/GetValueModel": unary(EVERY_ROLE, lambda _world: {"name": "valueModels/1"}),
    f"{SCORING}.ValueModelService/ListValueModels": unary(EVERY_ROLE),
    f"{SCORING}.ValueModelService/PublishValueModel": unary(DEFINERS, value_cases.draft),
    f"{SCORING}.ValueModelService/RetireValueModel": Case(DEFINERS, value_cases.retired),
    f"{SCORING}.RecommendationModelService/FitRecommendationModel": watch(
        DEFINERS, lambda answer: answer.HasField("model"), lambda _world: {"holdout_days": 0}),
    f"{SCORING}.RecommendationModelService/GetRecommendationModel": unary(EVERY_ROLE, lambda _world: {"name": "recommendationModels/2"}),
    f"{SCORING}.RecommendationModelService/ListRecommendationModels": unary(EVERY_ROLE),
    f"{SCORING}.RecommendationModelService/PublishRecommendationModel": unary(DEFINERS, recommendation_model),
    f"{SCORING}.RecommendationService/GetRecommendations": unary(EVERY_ROLE, of_customer("/recommendations")),
    f"{SCORING}.RecommendationService/GetRelatedProducts": unary(EVERY_ROLE, lambda _world: {"product": "teapot"}),
    f"{SCORING}.RefitService/GetRefitSchedule": unary(EVERY_ROLE, lambda _world: {"name": "refitSchedules/valueModels"}),
    f"{SCORING}.RefitService/UpdateRefitSchedule": unary(DEFINERS, lambda _world: {"schedule": {"name": "refitSchedules/recommendationModels"}}),
    f"{SCORING}.EconomicsService/GetUnitEconomics": watch(
        DEFINERS, lambda answer: answer.HasField("economics"),
        lambda _world: {"start_date": {"year": 1990, "month": 1, "day": 1}, "end_date": {"year": 1999, "month": 12, "day": 31}}),
    f"{SCORING}.ValueService/GetValue": unary(EVERY_ROLE, of_customer("/value")),
    f"{SCORING}.ValueService/BatchGetValues": unary(EVERY_ROLE, lambda world: {"names": [f"{world.customer}/value", f"{world.lead}/value"]}),
    f"{SCORING}.ScoreService/WatchScores": watch(PIPELINES, lambda answer: answer.records),
    f"{LIFECYCLE}.ChurnModelService/TrainChurnModel": Case(DEFINERS, churn_cases.training),
    f"{LIFECYCLE}.ChurnModelService/GetChurnTrainingSchedule": unary(EVERY_ROLE, lambda _world: {"name": churn.NAME}),
    f"{LIFECYCLE}.ChurnModelService/UpdateChurnTrainingSchedule": unary(DEFINERS, lambda _world: {"schedule": {"name": churn.NAME}}),
    f"{LIFECYCLE}.ChurnModelService/GetChurnModel": unary(EVERY_ROLE, churn_cases.oldest),
    f"{LIFECYCLE}.ChurnModelService/ListChurnModels": unary(EVERY_ROLE),
    f"{LIFECYCLE}.ChurnModelService/PublishChurnModel": Case(DEFINERS, churn_cases.published),
    f"{LIFECYCLE}.ChurnModelService/RetireChurnModel": Case(DEFINERS, churn_cases.retired),
    f"{LIFECYCLE}.ChurnModelService/MeasureChurnDrift": watch(DEFINERS, lambda answer: answer.HasField("drift")),
    f"{LIFECYCLE}.ChurnService/GetChurnRisk": unary(EVERY_ROLE, of_customer("/churnRisk")),
    f"{LIFECYCLE}.ChurnService/ListChurnRisks": unary(EVERY_ROLE, lambda _world: {"page_size": 1_000}),
    f"{LIFECYCLE}.StageService/GetStage": unary(EVERY_ROLE, of_customer("/stage")),
    f"{LIFECYCLE}.StageService/GetFunnel": unary(EVERY_ROLE),
    **{f"{LIFECYCLE}.StagePolicyService/{method}": unary(EVERY_ROLE, definitions.of_policy(*about)) for method, *about in (
        ("GetStagePolicy", "name"), ("ListStagePolicyVersions", "parent"), ("GetStagePolicyVersion", "name", 1))},
    f"{LIFECYCLE}.StagePolicyService/ListStageFields": unary(EVERY_ROLE),
    f"{LIFECYCLE}.StagePolicyService/CreateStagePolicyVersion": unary(DEFINERS, definitions.create_stage_policy),
    **{f"{LIFECYCLE}.StagePolicyService/{verb}StagePolicyVersion": unary(DEFINERS, definitions.stage_policy_draft) for verb in ("Delete", "Publish")},
    f"{LIFECYCLE}.StagePolicyService/PreviewStagePolicyVersion": watch(
        DEFINERS, lambda part: part.HasField("preview"), definitions.of_policy("name", 1)),
    f"{LIFECYCLE}.StageService/ListStageTransitions": unary(EVERY_ROLE, lambda world: {"parent": f"{world.customer}/stage"}),
    **{f"{LIFECYCLE}.RetentionService/{method}": unary(ANALYSIS) for method in ("GetCohortRetention", "GetSurvival", "GetStageTimes")},
    f"{LIFECYCLE}.RetentionService/GetStageFlow": unary(ANALYSIS, lambda _world: {"start_time": "1998-01-01T00:00:00Z"}),
    f"{LIFECYCLE}.StageService/ListRecords": unary(ANALYSIS),
    f"{LIFECYCLE}.WarningService/ListWarnings": unary(EVERY_ROLE, lambda _world: {"parent": "customers/-"}),
    f"{LIFECYCLE}.WarningService/GetWarning": unary(EVERY_ROLE, definitions.warning),
    f"{LIFECYCLE}.WarningService/GetWarningPolicy": unary(EVERY_ROLE),
    **{f"{LIFECYCLE}.WarningService/{method}": unary(ANSWERING, build) for method, build in (
        ("AcknowledgeWarning", definitions.warning), ("AssignWarning", definitions.given_warning), ("ResolveWarning", definitions.resolved_warning))},
    f"{LIFECYCLE}.WarningService/UpdateWarningPolicy": unary(FEEDS | {"marketer"}, definitions.warning_policy),
    f"{LIFECYCLE}.WarningService/WatchWarnings": watch_from_now_on(
        ANSWERING, lambda world, admin: admin.call("WarningService/AssignWarning", definitions.given_warning(world)), lambda answer: answer.warnings),
    f"{LIFECYCLE}.StageService/WatchStages": watch(PIPELINES, lambda answer: answer.records),
    **{f"{LIFECYCLE}.{method}": unary(roles, build) for roles, builds in (
        (EVERY_ROLE, playbook_cases.READ), (FEEDS | {"marketer"}, playbook_cases.MADE), (ANSWERING, playbook_cases.DONE),
        (DEFINERS | {"marketer"}, playbook_cases.COUNTED), (PIPELINES | {"support", "marketer"}, playbook_cases.SENT),
        (PIPELINES, playbook_cases.SENT_AGAIN), (FEEDS | {"sales", "marketer"}, playbook_cases.PUT_IN), (EVERY_ROLE, rewards.READ),
        (FEEDS | {"marketer"}, rewards.MADE), (CARE | {"marketer"}, rewards.GRANTED), (CARE, rewards.REDEEMED), (FEEDS, rewards.DELETED))
       for method, build in builds.items()},
    f"{SEGMENTATION}.LabelService/GetLabelSet": unary(EVERY_ROLE, lambda _world: {"name": "labelSets/rfm-11"}),
    **{f"{SEGMENTATION}.AnalysisService/{method}": unary(ANALYSIS, build) for method, build in definitions.ANALYSES.items()},
    **{f"{SEGMENTATION}.ClusterService/{method}": unary(DEFINERS, build) for method, build in definitions.CLUSTERINGS.items()},
    f"{SEGMENTATION}.AnalysisService/ListSegmentSizes": unary(DEFINERS, lambda world: {"parent": world.label}),
    f"{SEGMENTATION}.LabelService/ListLabelSets": unary(EVERY_ROLE),
    f"{SEGMENTATION}.LabelService/ListLabelSetVersions": unary(EVERY_ROLE, lambda world: {"parent": definitions.label_set(world)["name"]}),
    f"{SEGMENTATION}.LabelService/CreateLabelSet": unary(ANALYSIS, definitions.create_label_set),
    f"{SEGMENTATION}.LabelService/UpdateLabelSet": unary(ANALYSIS, definitions.update_label_set),
    f"{SEGMENTATION}.LabelService/PreviewLabelSetDraft": unary(ANALYSIS, definitions.draft_of_one_label),
    f"{SEGMENTATION}.LabelService/PublishLabelSet": unary(ANALYSIS, lambda world: definitions.label_set(world, etag=True, draft_only=True)),
    f"{SEGMENTATION}.LabelService/DeleteLabelSet": unary(ANALYSIS, definitions.label_set),
    f"{SEGMENTATION}.LabelService/PreviewImpact": unary(DEFINERS, rfm_draft),
    f"{SEGMENTATION}.LabelService/GetLabelDistribution": unary(EVERY_ROLE, lambda _world: {"name": "labelSets/rfm-11"}),
    f"{SEGMENTATION}.ProfileService/GetProfile": unary(EVERY_ROLE, of_customer("/profile")),
    f"{SEGMENTATION}.SegmentService/CreateSegment": unary(ANALYSIS, definitions.create_segment),
    f"{SEGMENTATION}.SegmentService/GetSegment": unary(EVERY_ROLE, lambda world: {"name": world.segment}),
    f"{SEGMENTATION}.SegmentService/ListSegments": unary(EVERY_ROLE),
    f"{SEGMENTATION}.SegmentService/DeleteSegment": unary(ANALYSIS, definitions.delete_segment),
    f"{SEGMENTATION}.SegmentService/UpdateSegment": unary(ANALYSIS, definitions.update_segment),
    f"{SEGMENTATION}.SegmentService/PreviewSegmentDraft": unary(ANALYSIS, lambda world: definitions.segment_with_draft(world, sample_size=10)),
    f"{SEGMENTATION}.SegmentService/PublishSegment": unary(ANALYSIS, lambda world: definitions.segment_with_draft(world, etag=True)),
    f"{SEGMENTATION}.SegmentService/ListSegmentVersions": unary(EVERY_ROLE, lambda world: {"parent": world.segment}),
    f"{SEGMENTATION}.SegmentService/AddMembers": unary(ANALYSIS, definitions.static_list),
    f"{SEGMENTATION}.SegmentService/RemoveMembers": unary(ANALYSIS, definitions.list_with_customer),
    f"{SEGMENTATION}.ExpressionService/ListFields": unary(EVERY_ROLE),
    f"{SEGMENTATION}.ExpressionService/CheckExpression": unary(EVERY_ROLE, lambda _world: {"expression": facts.TARGET}),
    f"{SEGMENTATION}.SegmentService/PreviewSegment": unary(
        ANALYSIS, lambda world: {"expression": facts.TARGET, "sample_size": 10, "breakdown_fields": ["rfm.r"],
                                 "overlap_parents": [world.segment]}),
    f"{SEGMENTATION}.SegmentService/ListMembers": unary(EVERY_ROLE, lambda world: {"parent": world.segment}),
    f"{SEGMENTATION}.SegmentService/ListMemberRecords": unary(ANALYSIS, lambda world: {"parent": world.segment}),
    f"{SEGMENTATION}.SegmentService/CheckMembers": unary(EVERY_ROLE, lambda world: {"parent": world.label, "customers": [world.customer]}),
    f"{SEGMENTATION}.SegmentService/WatchMemberships": watch_from_now_on(
        ANALYSIS, lambda world, admin: admin.call("SegmentService/CreateSegment", definitions.create_segment(world)), lambda answer: answer.changes),
    f"{ACCESS}.PolicyService/GetPolicy": unary(FEEDS),
    f"{ACCESS}.PolicyService/WatchPolicy": watch(FEEDS, lambda answer: answer.roles),
    f"{ACCESS}.PolicyService/PreviewPolicy": unary(ADMIN, new_roles),
    f"{ACCESS}.PolicyService/PublishPolicy": unary(ADMIN, new_policy),
    f"{ACCESS}.PolicyService/GetPolicyVersion": unary(ADMIN, policy_version),
    f"{ACCESS}.PolicyService/ListPolicyVersions": unary(ADMIN, list_of("PolicyService/PublishPolicy", new_policy)),
    f"{ACCESS}.PolicyService/ExplainAccess": unary(ADMIN, lambda _world: {
        "role": "support", "field": f"{INGESTION}.Customer.phone", "method": f"{INGESTION}.CustomerService/GetCustomer"}),
    f"{ACCESS}.TenantService/CreateTenant": unary(ADMIN, lambda _world: {"tenant_id": f"t{uuid.uuid4().hex}"}),
    f"{ACCESS}.TenantService/ListTenants": unary(ADMIN),
    # Anybody may try it, with the bootstrap secret; a token alone helps administrators only.
    f"{ACCESS}.TokenService/IssueToken": unary(ADMIN, lambda _world: {"role": "analyst"}, public=True),
    f"{ACCESS}.TokenService/GetJwks": unary(EVERYBODY, public=True),
    f"{ACCESS}.MasterKeyService/RewrapKeys": unary(ADMIN),
    f"{ACCESS}.MasterKeyService/ReportKeyState": unary(SERVICES, lambda _world: {
        "state": {"service": "scoring", "instance": "case", "key_id": "case"}}),
    f"{ACCESS}.MasterKeyService/ListKeyStates": unary(ADMIN),
    f"{ACCESS}.CheckpointService/SignCheckpoint": unary(SERVICES, checkpoints.sign_checkpoint),
    f"{ACCESS}.CheckpointService/ListCheckpoints": unary(AUDITING, checkpoints.list_checkpoints),
    # Of the port that reflects it last, which is access-control's.
    f"{AUDIT}.AuditService/ListAuditEvents": unary(AUDITING),
    f"{AUDIT}.AuditService/ListAuditEntries": unary(AUDITING),
    f"{AUDIT}.AuditService/GetAuditHead": unary(AUDITING),
    f"{AUDIT}.AuditService/ListAuditCheckpoints": unary(AUDITING, checkpoints.list_audit_checkpoints),
    f"{ACCESS}.IssuerService/CreateIssuer": Case(ADMIN, oidc.with_issuer(None, made=False)),
    f"{ACCESS}.IssuerService/GetIssuer": Case(ADMIN, oidc.with_issuer(lambda name: {"name": name})),
    f"{ACCESS}.IssuerService/ListIssuers": Case(ADMIN, oidc.with_issuer(lambda _name: {})),
    f"{ACCESS}.IssuerService/UpdateIssuer": Case(ADMIN, oidc.with_issuer(
        lambda name: {"issuer": {"name": name, "audience": "api"}, "update_mask": "audience"})),
    f"{ACCESS}.IssuerService/DeleteIssuer": Case(ADMIN, oidc.with_issuer(lambda name: {"name": name})),
    f"{ACCESS}.IssuerService/RefreshIssuer": Case(FEEDS, oidc.with_issuer(lambda name: {"name": name})),
    f"{ACCESS}.PrincipalService/CreatePrincipal": unary(ADMIN, definitions.create_principal),
    f"{ACCESS}.PrincipalService/GetPrincipal": unary(ADMIN, lambda world: {"name": definitions.principal(world)}),
    f"{ACCESS}.PrincipalService/ListPrincipals": unary(ADMIN, list_of("PrincipalService/CreatePrincipal", definitions.create_principal)),
    f"{ACCESS}.PrincipalService/UpdatePrincipal": unary(ADMIN, definitions.update_principal),
    f"{ACCESS}.PrincipalService/DeletePrincipal": unary(ADMIN, lambda world: {"name": definitions.principal(world)}),
    f"{ACCESS}.PrincipalService/CreateSecret": unary(ADMIN, lambda world: {"parent": definitions.principal(world)}),
    f"{ACCESS}.PrincipalService/DeleteSecret": unary(ADMIN, definitions.delete_secret),
    f"{ACCESS}.RevocationService/CreateRevocation": unary(ADMIN, create_revocation),
    f"{ACCESS}.RevocationService/ListRevocations": unary(ADMIN, list_of("RevocationService/CreateRevocation", create_revocation)),
    f"{ACCESS}.SigningKeyService/ListSigningKeys": unary(ADMIN),
    f"{ACCESS}.SigningKeyService/RotateSigningKey": unary(ADMIN),
}


def is_empty(message):
    """Whether an answer says nothing although its type could: a repeated field of it must have an item."""
    lists = [field for field in message.DESCRIPTOR.fields if field.is_repeated]
    if not message.DESCRIPTOR.fields:
        return False
    return message.ByteSize() == 0 or (
        len(message.DESCRIPTOR.fields) > 1 and message.DESCRIPTOR.name.startswith(("List", "BatchGet", "CheckMembers"))
        and not any(getattr(message, field.name) for field in lists))
