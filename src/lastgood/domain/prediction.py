"""What a version answered, what turned out to be true, and the two together."""

from typing import Final

import msgspec

ID_BYTES_MAX: Final = 128
"""The longest id that a caller may give a request, in UTF-8 bytes."""

ANSWER_BYTES_MAX: Final = 16 * 1024
"""An answer or an input longer than this is not kept; that there was one is."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """What another version answered to a copy of the same request, which its caller never saw.

    ``seconds`` is how long that took, ``answer`` JSON as of :class:`Prediction`.
    """

    version: int
    status: int
    seconds: float
    answer: bytes | None = None


class Prediction(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One answer as the prediction log keeps it.

    ``id`` is the caller's (the header ``lastgood-id``, else the ``id`` of a V2 body), else the UUIDv7 that the gateway
    made; ``also`` is what the header of the answer said, where that is another one, and finds the same prediction. ``at``
    is when the request came (epoch seconds), ``seconds`` how long its answer took. ``version`` and
    ``role`` (``stable``, ``candidate``, ``standby``, ``shadow``) say who answered. Where a release under way counted the
    request, ``stage`` and ``arm`` say where: ``arm`` is the one it was first meant for, which is not who answered
    where stable answered for a candidate; ``fallback`` then says why. A request that left its release uncounted has the
    ``release`` and no ``arm``. ``key`` is the 32-bit mark of the key within the release. ``answer`` and ``inputs`` are JSON
    as it was sent and received, None where it is not kept; ``answer_bytes`` says how long the answer was. ``copy`` is
    what a shadow answered. ``slices`` are values of the columns that the release's plan tells requests apart by, a list with
    one for each row, or with none where the inputs lack the column.
    """

    id: str
    at: float
    deployment: str
    model: str
    version: int
    role: str
    status: int
    seconds: float
    also: str | None = None
    release: int | None = None
    stage: int | None = None
    arm: str | None = None
    key: int | None = None
    fallback: str | None = None
    answer_bytes: int = 0
    answer: bytes | None = None
    inputs: bytes | None = None
    copy: Copy | None = None
    slices: dict[str, list[str]] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that find it."""
        return (self.id,) if self.also is None else (self.id, self.also)


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What turned out to be true of one row (0 for a request with one) of the request ``id``; ``at`` is when that was said.

    ``value`` is a class (text, integer or boolean), a number for a regression, or a reward.
    """

    id: str
    value: str | int | float | bool
    at: float
    row: int = 0
