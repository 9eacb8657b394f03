"""What is kept of live data: quarantines, and what may be let go of."""

import msgspec

from lastgood.bootstrap import Services
from lastgood.control.clearing import KeptView
from lastgood.control.quarantine_views import QuarantineView, RestoreResult
from lastgood.errors import Code, LastgoodError
from lastgood.web.bodies import ClearOrder, ReasonOrder
from lastgood.web.endpoint import PREFIX, Endpoint

_ONE = f"{PREFIX}/quarantines/{{token}}"


class QuarantineList(msgspec.Struct, frozen=True):
    """Every quarantine that takes room, by source and release."""

    quarantines: list[QuarantineView]


class KeptList(msgspec.Struct, frozen=True):
    """Things that are kept, and what becomes of each."""

    kept: list[KeptView]


def quarantines(services: Services) -> QuarantineList:
    """Return every quarantine."""
    return QuarantineList(services.quarantines.all())


def quarantine(services: Services, *, token: str) -> QuarantineView:
    """Return one quarantine, also one that was deleted."""
    return services.quarantines.one(token)


def restore(services: Services, *, token: str, body: ReasonOrder) -> RestoreResult:
    """Begin a restore; answer when it is over, or after 25 seconds with how it stands."""
    return services.quarantines.restore(token, reason=body.reason, actor=body.actor)


def restored(services: Services, *, token: str, release: str) -> RestoreResult:
    """Wait for a restore at most 25 seconds, and say how it stands."""
    if not (release.isascii() and release.isdigit() and len(release) < 19):
        raise LastgoodError(
            Code.INVALID, f"{release!r} is not a release's number.", "See 'lastgood history'."
        )
    return services.quarantines.followed(token, int(release))


def delete(services: Services, *, token: str, body: ReasonOrder) -> QuarantineView:
    """Let a quarantine go for good; ``freed_at`` is null where that takes longer than 25 seconds."""
    return services.quarantines.delete(token, reason=body.reason, actor=body.actor)


def kept(services: Services) -> KeptList:
    """Return everything that is kept, and what a clearing would do with it."""
    return KeptList(services.clearing.look())


def clear(services: Services, *, body: ClearOrder) -> KeptList:
    """Let go of what was named, as far as nothing needs it now."""
    return KeptList(services.clearing.clear(body.tokens, actor=body.actor))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=f"{PREFIX}/quarantines",
        call=quarantines,
        answer=QuarantineList,
        summary="Every quarantine",
    ),
    Endpoint(method="GET", path=_ONE, call=quarantine, answer=QuarantineView, summary="One quarantine"),
    Endpoint(
        method="POST",
        path=f"{_ONE}/restore",
        call=restore,
        body=ReasonOrder,
        answer=RestoreResult,
        summary="Make a quarantined state live again",
    ),
    Endpoint(
        method="GET",
        path=f"{_ONE}/restores/{{release}}",
        call=restored,
        answer=RestoreResult,
        summary="How a restore stands; waits for its end up to 25 seconds",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/delete",
        call=delete,
        body=ReasonOrder,
        answer=QuarantineView,
        summary="Let a quarantine go for good",
    ),
    Endpoint(
        method="GET",
        path=f"{PREFIX}/kept",
        call=kept,
        answer=KeptList,
        summary="What is kept of live data, and what may be let go of",
    ),
    Endpoint(
        method="POST",
        path=f"{PREFIX}/kept/clear",
        call=clear,
        body=ClearOrder,
        answer=KeptList,
        summary="Let go of what nothing needs",
    ),
)
