"""The prediction log: which version answered a request, with what; and what is recorded at all."""

from typing import Any

import msgspec

from lastgood.bootstrap import Services
from lastgood.domain.prediction import Copy, Label, Prediction
from lastgood.errors import Code, LastgoodError
from lastgood.web.endpoint import PREFIX, Endpoint
from lastgood.wire.predictions import waiting_bytes


class CopyView(msgspec.Struct, frozen=True, kw_only=True):
    """What another version, the shadow, answered to a copy of the request in ``seconds``; ``answer`` None: not kept."""

    version: int
    status: int
    seconds: float
    answer: Any


class PredictionView(msgspec.Struct, frozen=True, kw_only=True):
    """One answer; the fields are those of the log's, with ``answer`` and ``inputs`` as JSON (None: not kept).

    ``copy`` is what a shadow answered, which the caller never saw; ``slices`` are each row's values of the columns that the
    release's plan names. ``labels`` are what has been said to be true since, row by row.
    """

    id: str
    also: str | None
    at: float
    deployment: str
    model: str
    version: int
    role: str
    status: int
    seconds: float
    release: int | None
    stage: int | None
    arm: str | None
    key: int | None
    fallback: str | None
    answer_bytes: int
    answer: Any
    inputs: Any
    copy: CopyView | None = None
    slices: dict[str, list[str]] = {}
    labels: list[Label] = []


class RecordingView(msgspec.Struct, frozen=True, kw_only=True):
    """What the log holds, and what did not get there.

    ``predictions`` are in the log (the ``oldest`` from then, epoch seconds; ``expired`` ones are no more); ``waiting_bytes``
    wait to be added. Of what the gateways that run now answered, ``recorded`` were left for the log and ``dropped`` were
    not, because something was full. ``unreadable_bytes`` were lost when a worker or the machine ended in mid-write.
    """

    on: bool
    predictions: int
    expired: int
    oldest: float | None
    bytes: int
    waiting_bytes: int
    recorded: int
    dropped: int
    unreadable_bytes: int


class PredictionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``id`` is what the answer's header ``lastgood-id`` said, or the ``id`` of the V2 body."""

    id: str


def prediction(services: Services, id: str) -> PredictionView:  # noqa: A002 - the path's parameter
    """Return the answer that was given to a request.

    :raises LastgoodError: ``not_found`` when the log does not have it.
    """
    found = services.predictions.find([id]).get(id)
    if found is None:
        raise LastgoodError(
            Code.NOT_FOUND,
            f"The prediction log has no request {id!r}.",
            "It has answers about a second after they were given, for as long as 'keep_predictions' says; "
            "'lastgood doctor' says what was dropped.",
        )
    return prediction_view(found, services.feedback.of(found.id))


def prediction_asked(services: Services, *, query: PredictionQuery) -> PredictionView:
    """Do as :func:`prediction`, for ids that have no place in a path."""
    return prediction(services, query.id)


def prediction_view(found: Prediction, labels: list[Label]) -> PredictionView:
    """Return one prediction as it is shown."""
    copy = found.copy
    shown = {
        "answer": _shown(found.answer),
        "inputs": _shown(found.inputs),
        "copy": None if copy is None else _copy_view(copy),
        "labels": labels,
    }
    plain = PredictionView.__struct_fields__
    return PredictionView(**{name: getattr(found, name) for name in plain if name not in shown}, **shown)


def _copy_view(copy: Copy) -> CopyView:
    return CopyView(
        version=copy.version, status=copy.status, seconds=copy.seconds, answer=_shown(copy.answer)
    )


def _shown(content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return content.decode(errors="replace")  # a caller may send what is no JSON


def recording(services: Services) -> RecordingView:
    """Return what is recorded."""
    counts = services.predictions.counts()
    reports = services.reports.read()
    return RecordingView(
        on=services.settings.record_predictions,
        predictions=counts.predictions,
        expired=counts.expired,
        oldest=counts.oldest,
        bytes=counts.bytes,
        waiting_bytes=waiting_bytes(services.settings.incoming_predictions),
        recorded=sum(report.recorded for report in reports),
        dropped=sum(report.unrecorded for report in reports),
        unreadable_bytes=counts.unreadable_bytes,
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=f"{PREFIX}/recording",
        call=recording,
        answer=RecordingView,
        summary="What the prediction log holds, and what was dropped",
    ),
    Endpoint(
        method="GET",
        path=f"{PREFIX}/predictions",
        call=prediction_asked,
        query=PredictionQuery,
        answer=PredictionView,
        summary="The answer to a request, by any id",
    ),
    Endpoint(
        method="GET",
        path=f"{PREFIX}/predictions/{{id}}",
        call=prediction,
        answer=PredictionView,
        summary="The answer to a request",
    ),
)
