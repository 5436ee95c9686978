"""Traits: defined, awaited and read."""
from support import waiting


def definition(fact, aggregate, value="", condition="", **fields):
    """A trait as a request has it."""
    return {"fact": f"TRAIT_FACT_{fact}", "aggregate": f"TRAIT_AGGREGATE_{aggregate}", "value": value, "filter": condition} | fields


def define(client, trait_id, *args, **fields):
    """Defines a trait: the operation that brings it to customers."""
    return client.call("TraitService/CreateTrait", {"trait_id": trait_id, "trait": definition(*args, **fields)})


def done(client, operation):
    """An operation once it has ended."""
    waiting.until(lambda: client.call("Operations/WaitOperation", {"name": operation.name, "timeout": "10s"}).done,
                  f"{operation.name} to end")
    return client.call("Operations/GetOperation", {"name": operation.name})


def progress(client, operation):
    """What is told of an operation meanwhile."""
    return unpacked(client, operation.metadata)


def unpacked(client, packed):
    """A message that came packed."""
    return client.api.message(packed.type_url.split("/")[-1]).FromString(packed.value)


def values(client, customer):
    """{id: value} of a customer's traits, a value as (kind, value)."""
    features = client.call("FeatureService/GetFeatures", {"name": f"{customer}/features"}).features
    return {value.key: of(value) for value in features.traits}


def of(value):
    """The one value that a message holds; None where the caller sees none."""
    kinds = [kind for kind in ("integer", "number", "money", "text", "time") if value.HasField(kind)]
    assert len(kinds) <= 1, value
    if not kinds:
        return None
    held = getattr(value, kinds[0])
    if kinds[0] == "money":
        return held.units * 100 + held.nanos // 10_000_000
    return held.ToJsonString() if kinds[0] == "time" else held
