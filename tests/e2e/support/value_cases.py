"""Models of lifetime value of a populated tenant: calls that change which one is in force and leave one in force."""
from support import score_models, value_models, waiting, worth


def draft(world):
    """A new draft."""
    return {"name": value_models.fit(world.client("admin"), holdout_days=0).name}


def retired(world, client, method):
    """The call that takes the model in force out of it, behind which another one comes to everybody."""
    admin = world.client("admin")
    try:
        return [client.exchange(method, {"name": in_force(admin).name})]
    finally:
        if in_force(admin) is None:
            worth.rescored_by(admin, worth.publish_value_model(admin))
            waiting.until(lambda: is_valued(world), "records to tell again what the canary is worth")


def in_force(admin):
    listed = admin.call("ValueModelService/ListValueModels", {"page_size": 100}).models
    return next((model for model in listed if score_models.enum_name(model, "state") == "PUBLISHED"), None)


def is_valued(world):
    """Whether the last service of the chain has a lifetime value of the canary."""
    records = world.client("admin").call("SegmentService/ListMemberRecords", {"parent": world.segment}).records
    return any(f"customers/{each.customer_id}" == world.customer and each.scores.HasField("lifetime_value") for each in records)
