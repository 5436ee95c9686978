"""Models of recommendations: fitted, put in force, and what they recommend."""
import grpc

from support import waiting
from support.refusals import Refusal


def fit(client, **request):
    """A draft, fitted to everybody; progress is told before."""
    call = client.start("RecommendationModelService/FitRecommendationModel", [request], seconds=waiting.SECONDS)
    try:
        *progress, last = list(call)
    except grpc.RpcError as error:
        raise Refusal(error) from None
    assert all(answer.HasField("progress") for answer in progress) and last.HasField("model")
    return last.model


def publish(client, model, **request):
    return client.call("RecommendationModelService/PublishRecommendationModel", {"name": model.name, "etag": model.etag} | request)


def of_customer(client, name, **request):
    return client.call("RecommendationService/GetRecommendations", {"name": f"{name}/recommendations"} | request)
