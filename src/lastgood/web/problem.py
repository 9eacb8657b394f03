"""How the control API says no: one mapping from an error to an answer."""

import logging
from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from lastgood.errors import HTTP_STATUS, Code, LastgoodError

logger = logging.getLogger(__name__)


def answer_error(
    error: Exception, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer to an error. Anything but a :class:`LastgoodError` is logged and not shown."""
    if not isinstance(error, LastgoodError):
        logger.error("a request to the control API failed", exc_info=error)
        error = LastgoodError(
            Code.INTERNAL,
            "The server failed at this request; nothing is known to be half-done.",
            "Look at the controller's log, and please report it.",
        )
    return Response(
        msgspec.json.encode(error.as_data()),
        status_code=status or HTTP_STATUS[error.code],
        media_type="application/json",
        headers=headers,
    )
