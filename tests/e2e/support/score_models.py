"""Score models: defined, tried on all customers, put in force and read."""
import itertools
from collections import Counter
from types import SimpleNamespace

import grpc

import cdnow_witness as witness
from support import facts, questions, quintile, score_witness, waiting
from support.refusals import Refusal

SERVICE = "ScoreModelService"
RFM = "scoreModels/rfm"
BATCH = 1_000


# -- what is asked --------------------------------------------------------------------------------------------------------

def dimension(name, feature, method="FIXED", better="HIGHER", ties=None, **fields):
    """A dimension as a request has it."""
    made = {"name": name, "feature": feature, "method": f"SCORING_METHOD_{method}"}
    made |= {"direction": f"DIRECTION_{better}_IS_BETTER"} if method != "MAP" else {}
    return made | ({"tie_rule": f"TIE_RULE_{ties}"} if ties else {}) | fields


def mapped(name, feature, points, bins, **fields):
    """A dimension of `MAP`."""
    return dimension(name, feature, "MAP", bins=bins, **fields) | {
        "categories": [{"category": category, "score": score} for category, score in points.items()]}


def version(*dimensions, **fields):
    """A version as a request has it."""
    return {"dimensions": list(dimensions)} | fields


def rfm(recency, frequency, monetary):
    """The dimensions of `rfm` by cut-offs."""
    return [dimension("recency", "days_since(last_order_at)", better="LOWER", cut_offs=recency),
            dimension("frequency", "orders", cut_offs=frequency), dimension("monetary", "revenue", cut_offs=monetary)]


# Those that ship, as the witness has them.
SHIPPED = rfm([30, 90, 180, 365], [2, 3, 5, 10], [5_000, 10_000, 20_000, 50_000])


def create(client, model_id, *dimensions, **fields):
    """A new draft."""
    request = {"parent": f"scoreModels/{model_id}", "version": version(*dimensions, **fields)}
    return client.call(f"{SERVICE}/CreateScoreModelVersion", request)


def create_preset(client, model_id, preset):
    return client.call(f"{SERVICE}/CreateScoreModelVersion", {"parent": f"scoreModels/{model_id}", "preset": preset})


def get(client, name):
    """A model or a version, by its name."""
    method = "GetScoreModelVersion" if "/versions/" in name else "GetScoreModel"
    return client.call(f"{SERVICE}/{method}", {"name": name})


def versions(client, model_id, **request):
    return questions.everything(client, f"{SERVICE}/ListScoreModelVersions", "versions", parent=f"scoreModels/{model_id}", **request)


def preview(client, name, include_cells=False):
    """A dry run to its end: the progress that was told, the preview, its dimensions by name, and {number: byte} of the cells."""
    call = client.start(f"{SERVICE}/PreviewScoreModelVersion", [{"name": name, "include_cells": include_cells}], seconds=waiting.SECONDS)
    try:
        answers = list(call)
    except grpc.RpcError as error:
        raise Refusal(error) from None
    told = [next(kind for kind in ("progress", "preview", "cells") if each.HasField(kind)) for each in answers]
    order = [kind for kind, _ in itertools.groupby(told)]
    assert order in (["preview"], ["progress", "preview"], ["preview", "cells"], ["progress", "preview", "cells"]), order
    assert told.count("preview") == 1 and ("cells" in told) == include_cells
    of = answers[told.index("preview")].preview
    cells, ahead = {}, None
    for part in (each.cells for each in answers if each.HasField("cells")):
        assert ahead in (None, part.first_customer_id), "the parts come in order and leave nobody out"
        ahead = part.first_customer_id + len(part.cells)
        cells |= dict(enumerate(part.cells, part.first_customer_id))
    return SimpleNamespace(progress=[each.progress for each in answers if each.HasField("progress")], whole=of, version=of.version,
                           dimensions={each.dimension: each for each in of.dimensions}, cells=cells)


def begin_publishing(client, name, etag=""):
    """The operation that a publishing begins."""
    return client.call(f"{SERVICE}/PublishScoreModelVersion", {"name": name, "etag": etag})


def publish(client, name, etag=""):
    """Publishes, and waits for what it did."""
    return rescored(client, begin_publishing(client, name, etag))


def retire(client, model_id, **request):
    operation = client.call(f"{SERVICE}/RetireScoreModel", {"name": f"scoreModels/{model_id}"} | request)
    return rescored(client, operation)


def put_in_force(client, model_id, *dimensions, **fields):
    """Makes a draft, previews and publishes it: the version and what was done."""
    made = create(client, model_id, *dimensions, **fields)
    seen = preview(client, made.name)
    return seen.version, publish(client, made.name, seen.version.etag)


# -- operations of scoring ------------------------------------------------------------------------------------------------

def operations(client, method):
    """A method of the operations of scoring: ingestion serves the same service, of other operations."""
    return client.api.method_on("scoring", f"Operations/{method}")


def done(client, operation):
    """An operation once it has ended."""
    wait = operations(client, "WaitOperation")
    waiting.until(lambda: client.call(wait, {"name": operation.name, "timeout": "10s"}).done, f"{operation.name} to end")
    return client.call(operations(client, "GetOperation"), {"name": operation.name})


def unpacked(client, packed):
    return client.api.message(packed.type_url.split("/")[-1]).FromString(packed.value)


def rescored(client, operation):
    """What a rescoring did, once it has ended well."""
    ended = done(client, operation)
    assert not ended.HasField("error"), ended
    said = unpacked(client, ended.response)
    assert said.DESCRIPTOR.name == "Rescoring"
    assert unpacked(client, ended.metadata).progress_percent == 100
    return said


# -- what is read ---------------------------------------------------------------------------------------------------------

def enum_name(message, field):
    """The name of an enum's value, without its prefix."""
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    named = enum.values_by_number[getattr(message, field)].name
    zero = enum.values_by_number[0].name
    return named.removeprefix(zero.removesuffix("UNSPECIFIED"))


def state(client, name):
    return enum_name(get(client, name), "state")


def values(client, numbers):
    """{number: ScoreValues} of customers, by reading them."""
    found, numbers = {}, sorted(numbers)
    for start in range(0, len(numbers), BATCH):
        names = [f"customers/{number}/score" for number in numbers[start:start + BATCH]]
        answer = client.call("ScoreService/BatchGetScores", {"names": names})
        found |= {int(each.name.split("/")[1]): each.values for each in answer.scores}
    return found


def streamed(client):
    """{number: ScoreValues} of all customers, by the feed from its start."""
    call = client.start("ScoreService/WatchScores", [{}], seconds=waiting.SECONDS)
    found = {}
    try:
        for answer in call:
            found |= {record.customer_id: record.scores for record in answer.records}
            if answer.HasField("watermark"):
                return found
    finally:
        call.cancel()
    raise AssertionError("the feed ended")


def of_rfm(scored):
    return scored.recency, scored.frequency, scored.monetary


def of_model(scored, model_id):
    """A customer's ModelScore; None: it has none under the model."""
    found = [each for each in scored.models if each.model_version.split("/")[1] == model_id]
    assert len(found) <= 1
    return found[0] if found else None


def under(scored_of_all, model_id):
    """{number: scores} under a model, of those who have any."""
    found = {number: of_model(scored, model_id) for number, scored in scored_of_all.items()}
    return {number: tuple(each.scores) for number, each in found.items() if each and any(each.scores)}


def grade_of(scored, model_id="grade"):
    """(composite, band, tier, vip); None: no grade."""
    found = of_model(scored, model_id)
    if not found or not found.HasField("grade"):
        return None
    return found.grade.composite, found.grade.band, found.grade.tier, found.grade.vip


def explain(client, number, model="", **request):
    return client.call("ScoreService/ExplainScore", {"name": f"customers/{number}/score", "model": model} | request)


def moves(of):
    """{(from, to): customers} of a dimension's preview."""
    return {(getattr(each, "from"), each.to): each.customers for each in of.moves}


def told_moves(before, after, place):
    """The same by the witness."""
    found = Counter((before[number][place], after[number][place]) for number in after)
    return {pair: count for pair, count in found.items() if pair[0] != pair[1]}


# -- who there is ---------------------------------------------------------------------------------------------------------

def purchases_of(start, end):
    """{source id: [(day, cents)]} of customers of CDNOW by their place in the file."""
    with open(quintile.cdnow(), encoding="ascii") as stream:
        return dict(list(witness.read_purchases(stream).items())[start:end])


def rows_of(purchases):
    """The orders of customers of CDNOW, each customer through a channel of its own."""
    return [{"order": facts.cdnow_order(source_id, place, *line)["order"] | {"channel": score_witness.channel_of(source_id)}}
            for source_id, lines in purchases.items() for place, line in enumerate(lines)]


def take_in(client, purchases):
    """Takes customers in with all that they bought, and waits for the end of the chain: {number: what the witness says}."""
    rows = rows_of(purchases)
    for start in range(0, len(rows), 10_000):
        position = questions.take_in(client, *rows[start:start + 10_000]).facts_position
    questions.wait_for(client, position)
    numbers = questions.numbers_of(client, "cdnow")
    return {numbers[source_id]: score_witness.person(source_id, lines) for source_id, lines in purchases.items()}
