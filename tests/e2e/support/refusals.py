"""What a refused call said, taken apart."""
import grpc
from google.rpc import error_details_pb2, status_pb2

DETAILS = "grpc-status-details-bin"


class Refusal(Exception):
    """A status other than OK, with the `google.rpc` details that came with it."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details() or ""
        self.trailers = tuple(error.trailing_metadata() or ()) + tuple(error.initial_metadata() or ())
        self.details = next((value for key, value in self.trailers if key == DETAILS), b"")
        super().__init__(f"{self.code}: {self.message} {self.trailers}")
        self.info = self.detail(error_details_pb2.ErrorInfo)
        self.bad_request = self.detail(error_details_pb2.BadRequest)

    def detail(self, kind):
        """The detail of a kind; None: there is none."""
        for each in status_pb2.Status.FromString(self.details).details:
            if each.Is(kind.DESCRIPTOR):
                message = kind()
                each.Unpack(message)
                return message
        return None

    @property
    def reason(self):
        """`ErrorInfo.reason`; None: the answer carries none."""
        return self.info.reason if self.info else None

    @property
    def answer(self):
        """All that a caller can learn from it, for comparing two refusals byte by byte."""
        return self.code, self.message, self.details

    def must_be(self, code, reason):
        """Asserts the status and that `ErrorInfo` gives the reason in our domain. `code` and `reason` may be sets."""
        codes = code if isinstance(code, (set, frozenset)) else {code}
        reasons = reason if isinstance(reason, (set, frozenset)) else {reason}
        assert self.code in codes, self
        assert self.info is not None, f"no google.rpc.ErrorInfo: {self}"
        assert self.info.domain == "quintile", self.info
        assert self.info.reason in reasons, self
        return self


INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
NOT_FOUND = grpc.StatusCode.NOT_FOUND
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
INTERNAL = grpc.StatusCode.INTERNAL
