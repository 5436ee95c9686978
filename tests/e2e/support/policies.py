"""Roles of a test's own: like a seeded one but for what the test is about, published, and in force in every service."""
from google.protobuf import json_format

from support import tokens, waiting
from support.refusals import Refusal

# One RPC of every port.
ONE_EACH = ("ClockService/GetAsOf", "ScoreModelService/ListScoreModels", "StageService/GetFunnel",
            "SegmentService/ListSegments", "TenantService/ListTenants")
FORCE_SECONDS = 15
# What takes in anybody's facts, drops them, tells who is one person with whom, counts everybody, or is done to everybody: no role with a row
# scope has it.
TAKING_IN = ("IngestService/Ingest", "IngestService/IngestBatch", "IngestService/ReplayReject", "IngestService/DeleteReject",
             "CustomerService/CreateCustomer", "IdentityService/MergeCustomers", "IdentityService/UnmergeCustomers",
             "IdentityService/ListMerges", "IdentityService/ListIdentityConflicts", "IdentityService/ResolveIdentityConflict",
             "ScoreModelService/PreviewScoreModelVersion", "ValueModelService/FitValueModel", "LabelService/PreviewImpact",
             "EconomicsService/GetUnitEconomics", "ScoreModelService/PublishScoreModelVersion", "ScoreModelService/RetireScoreModel",
             "ValueModelService/PublishValueModel", "ValueModelService/RetireValueModel", "RecommendationModelService/FitRecommendationModel",
             "RecommendationModelService/PublishRecommendationModel", "RefitService/UpdateRefitSchedule", "AnalysisService/ListSegmentSizes",
             "ClusterService/FitClusters", "ClusterService/GetClustering", "ClusterService/GetClusterDrift", "ClusterService/FindFactors",
             "StagePolicyService/PreviewStagePolicyVersion", "StagePolicyService/PublishStagePolicyVersion", "PlaybookService/StartPlaybook",
             "PlaybookService/UpdateContactPolicy", "LoyaltyService/DeleteLoyaltyTier",
             *(f"ChurnModelService/{method}" for method in (
                 "TrainChurnModel", "PublishChurnModel", "RetireChurnModel", "MeasureChurnDrift", "UpdateChurnTrainingSchedule")))


def as_dict(message):
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def forms_with(forms, **changes):
    """The forms of a role with others for some classes, such as `FINANCIAL={"form": "MASK_FORM_BUCKET", "bucket": 100}`."""
    changed = {f"SENSITIVITY_{name}" for name in changes}
    kept = [form for form in forms if form["sensitivity"] not in changed]
    return kept + [{"sensitivity": f"SENSITIVITY_{name}"} | change for name, change in changes.items()]


def role_like(admin, seeded, name, forms=None, without=(), **changes):
    """A role that differs from a seeded one in the forms of some classes, in methods that it lacks, or in other fields."""
    policy = admin.call("PolicyService/GetPolicy")
    role = as_dict(next(role for role in policy.roles if role.role == seeded))
    role["methods"] = [method for method in role["methods"] if not method.endswith(tuple(without))]
    role["forms"] = forms_with(role.get("forms", []), **(forms or {}))
    return role | {"role": name} | changes


def publish(admin, *roles):
    """Publishes roles beside those that the tenant has made already, or in their place."""
    policy = as_dict(admin.call("PolicyService/GetPolicy"))
    names = {role["role"] for role in roles}
    kept = [role for of in policy.get("tenant_roles", []) for role in of.get("roles", []) if role["role"] not in names]
    return publish_all(admin, [*kept, *roles])


def publish_all(admin, roles):
    """Publishes roles as all that the tenant has made."""
    present = admin.call("PolicyService/PreviewPolicy", {"roles": roles}).present_version
    return admin.call("PolicyService/PublishPolicy", {"roles": roles, "comment": "for a test", "expected_version": present})


def token_of(suite, role, subject="tess", admin=None, **fields):
    """A new token of a role, issued to an administrator, of whose tenant it is."""
    admin = admin or suite.client("admin")
    tenant = tokens.parts(admin.token)[1]["tenant"]
    return admin.call("TokenService/IssueToken", {"role": role, "subject": subject, "tenant": tenant} | fields).token


def is_known(client, methods=ONE_EACH):
    """Whether every service has heard of who the client is: it may be denied, and is no stranger."""
    for method in methods:
        try:
            client.call(method)
        except Refusal as refusal:
            if refusal.code.name in ("UNAUTHENTICATED", "UNAVAILABLE"):  # The latter while a new tenant is being loaded.
                return False
            assert refusal.code.name == "PERMISSION_DENIED", refusal
    return True


def client_of(suite, role, subject="tess", **fields):
    """A client with a role that was just published, as soon as every service knows the role."""
    client = suite.api().client(token_of(suite, role, subject, **fields))
    waiting.until(lambda: is_known(client), f"every service to know the role {role}", FORCE_SECONDS)
    return client
