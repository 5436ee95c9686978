"""Requests about segments, label sets, warnings and principals, for those who call every RPC."""
import uuid

from support import facts


def create_segment(_world):
    return {"segment_id": f"case-{uuid.uuid4().hex}", "segment": {"expression": facts.TARGET}}


def delete_segment(world):
    return {"name": world.client("admin").call("SegmentService/CreateSegment", create_segment(world)).name}


def segment_with_draft(world, **fields):
    segment = world.client("admin").call("SegmentService/CreateSegment", create_segment(world) | {"draft_only": True})
    return {"name": segment.name} | ({"etag": segment.etag} if fields.pop("etag", False) else {}) | fields


def update_segment(world):
    return {"segment": segment_with_draft(world) | {"description": "case"}, "update_mask": "description"}


def static_list(world):
    segment = {"kind": "SEGMENT_KIND_STATIC"}
    name = world.client("admin").call("SegmentService/CreateSegment", create_segment(world) | {"segment": segment}).name
    return {"parent": name, "customers": [world.customer]}


def list_with_customer(world):
    request = static_list(world)
    world.client("admin").call("SegmentService/AddMembers", request)
    return request


def create_label_set(_world, **fields):
    return {"label_set_id": f"case-{uuid.uuid4().hex}", "preset": "frequency-3"} | fields


def label_set(world, etag=False, **fields):
    made = world.client("admin").call("LabelService/CreateLabelSet", create_label_set(world, **fields))
    return {"name": made.name} | ({"etag": made.etag} if etag else {})


def draft_of_one_label(world):
    """Everybody would get the one label, whoever asks."""
    set_id = f"case-{uuid.uuid4().hex}"
    labels = [{"name": f"labelSets/{set_id}/labels/everybody", "expression": "orders >= 0"}, {"name": f"labelSets/{set_id}/labels/nobody"}]
    request = {"label_set_id": set_id, "label_set": {"labels": labels}, "draft_only": True}
    return {"name": world.client("admin").call("LabelService/CreateLabelSet", request).name}


def update_label_set(world):
    return {"label_set": label_set(world) | {"description": "case"}, "update_mask": "description"}


# What the RPCs of analyses are asked that all who analyse may call.
ANALYSES = {
    "GetOverlapMatrix": lambda world: {"parents": [world.segment, world.label]},
    "CompareSegments": lambda world: {"first": world.segment, "fields": ["orders", "first_order_at"]},
    "RankTargets": lambda world: {"parents": [world.segment, world.label]},
    "GetMigration": lambda _world: {"name": "labelSets/rfm-11", "start_time": "1998-07-01T00:00:00Z"},
}


CLUSTERS = "labelSets/case-clusters"


def fit_clusters(_world):
    return {"name": CLUSTERS, "features": [{"field": "orders"}], "clusters": 2}


def clustering(world):
    """Clusters that are in force."""
    admin = world.client("admin")
    if CLUSTERS not in [found.name for found in admin.call("LabelService/ListLabelSets").label_sets if found.version]:
        etag = admin.call("ClusterService/FitClusters", fit_clusters(world)).etag
        admin.call("LabelService/PublishLabelSet", {"name": CLUSTERS, "etag": etag})
    return {"name": f"{CLUSTERS}/clustering"}


# What the RPCs of clusters are asked.
CLUSTERINGS = {
    "FitClusters": fit_clusters,
    "GetClustering": clustering,
    "GetClusterDrift": clustering,
    "FindFactors": lambda _world: {"features": [{"field": field} for field in ("orders", "first_order_at", "last_order_at")]},
}


def warning(world, state="OPEN", **fields):
    """Of the canary's warnings for its complaints, one of which was resolved, that in a state."""
    states = [f"WARNING_STATE_{each}" for each in (("OPEN", "ACKNOWLEDGED") if state == "OPEN" else (state,))]
    found = world.client("admin").call("WarningService/ListWarnings", {"parent": world.customer, "states": states}).warnings
    return {"name": found[0].name} | fields


def given_warning(world):
    return warning(world, assignee=uuid.uuid4().hex)


def resolved_warning(world):
    return warning(world, "RESOLVED", resolution="WARNING_RESOLUTION_RETAINED")


def warning_policy(_world):
    return {"policy": {"medium_from": facts.dollars(100_00), "high_from": facts.dollars(1_000_00)}}


def of_policy(field, number=None):
    """A request about the stage policy, or a version of it."""
    return lambda _world: {field: "stagePolicies/default" + (f"/versions/{number}" if number else "")}


def stage_policy_draft(world):
    """A version that changes nothing."""
    return {"name": world.client("admin").call("StagePolicyService/CreateStagePolicyVersion", create_stage_policy(world)).name}


def create_stage_policy(_world):
    return {"parent": "stagePolicies/default", "version": {"description": "case"}}


def create_principal(_world):
    return {"principal_id": f"case-{uuid.uuid4().hex}", "principal": {"kind": "PRINCIPAL_KIND_SERVICE_ACCOUNT", "role": "analyst"}}


def principal(world):
    return world.client("admin").call("PrincipalService/CreatePrincipal", create_principal(world)).name


def update_principal(world):
    return {"principal": {"name": principal(world), "region": "east"}, "update_mask": "region"}


def delete_secret(world):
    return {"name": world.client("admin").call("PrincipalService/CreateSecret", {"parent": principal(world)}).secret.name}
