"""Bodies of the answers that the gateway makes itself, in the shape that each protocol's clients expect."""

from collections.abc import Iterable
from typing import Final

import msgspec

from lastgood.wire.frames import Request

_MLFLOW_CODES: Final = {
    400: "BAD_REQUEST",
    404: "RESOURCE_DOES_NOT_EXIST",
    408: "DEADLINE_EXCEEDED",
    409: "RESOURCE_CONFLICT",
    413: "INVALID_PARAMETER_VALUE",
    415: "INVALID_PARAMETER_VALUE",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
NOTHING_DEPLOYED: Final = (
    "nothing is deployed yet: lastgood release MODEL --version N makes the first version stable"
)
encode = msgspec.json.Encoder().encode


def problem(kind: Request, status: int, sentence: str) -> bytes:
    """Return an error body: ``{"error"}`` for V2, ``{"error_code", "message"}`` for MLflow."""
    if kind is Request.INVOCATIONS:
        return encode({"error_code": _MLFLOW_CODES.get(status, "INTERNAL_ERROR"), "message": sentence})
    return encode({"error": sentence})


def known(words: Iterable[object]) -> str:
    """Return the words in a row for a sentence, or ``none``."""
    return ", ".join(str(word) for word in words) or "none"
