"""Models of lifetime value: fitted, put in force, and what they say of customers."""
import grpc

from support import waiting
from support.refusals import Refusal

BATCH = 1_000


def fit(client, **request):
    """A draft, fitted to everybody; progress is told before."""
    call = client.start("ValueModelService/FitValueModel", [request], seconds=waiting.SECONDS)
    try:
        answers = list(call)
    except grpc.RpcError as error:
        raise Refusal(error) from None
    *progress, last = answers
    assert all(answer.HasField("progress") for answer in progress) and last.HasField("model")
    return last.model


def publish(client, model, **request):
    return client.call("ValueModelService/PublishValueModel", {"name": model.name, "etag": model.etag} | request)


def values(client, names):
    """{customer: CustomerValue} of customers by their names."""
    found = {}
    for start in range(0, len(names), BATCH):
        asked = [f"{name}/value" for name in names[start:start + BATCH]]
        answer = client.call("ValueService/BatchGetValues", {"names": asked})
        found |= {value.name.removesuffix("/value"): value for value in answer.values}
    return found
