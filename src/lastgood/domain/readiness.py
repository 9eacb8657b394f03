"""Readiness: whether the way back is open now, link by link; and a drill, which is that way rehearsed. Pure values."""

from enum import StrEnum
from typing import Final

import msgspec

READINESS: Final = "readiness"
"""What a release that cannot be held any more is told by, beside the names of its guardrails."""


class LinkState(StrEnum):
    """How one link of the way back stands."""

    OK = "ok"
    BROKEN = "broken"
    UNKNOWN = "unknown"  # not looked at yet, or nobody here can tell


class LinkName(StrEnum):
    """What a rollback needs, in the order in which it needs it."""

    LAST_GOOD = "last good version"
    ARTIFACT = "artifact"
    HOST = "host"
    ANSWERS = "answers"
    CONTRACT = "data contract"
    SNAPSHOT = "snapshot"
    ROOM = "room"
    DRILL = "last drill"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One link: how it stands, in a sentence, and what to do (empty when nothing is to be done).

    ``accepted`` is whether the plan of the release says that it may be so: nothing is held for it.
    """

    name: LinkName
    state: LinkState
    sentence: str
    next: str = ""
    accepted: bool = False


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The way back of one deployment as it was found ``at`` (seconds since the epoch).

    ``version`` is what a rollback would lead to, None where nothing was good before; ``release`` is the one under way.
    """

    deployment: str
    model: str
    version: int | None
    label: str | None = None
    release: int | None = None
    at: float
    links: tuple[Link, ...]

    @property
    def broken(self) -> tuple[Link, ...]:
        """The links that are broken."""
        return tuple(link for link in self.links if link.state is LinkState.BROKEN)

    @property
    def ready(self) -> bool:
        """Whether no link is broken; one that nobody can tell of is no reason to say no."""
        return not self.broken

    @property
    def lost(self) -> str:
        """What holds a release: the first broken link that its plan does not accept; empty when there is none."""
        return next((f"{link.name.value}: {link.sentence}" for link in self.broken if not link.accepted), "")


class Standing(msgspec.Struct, frozen=True):
    """What a decision may know of readiness: why the way back is ``lost``, and whether it is known to be ``open``.

    Neither holds before anybody has looked, or when that is too long ago.
    """

    open: bool = False
    lost: str = ""


class DrillPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a drill: how long it took, and what came of it in a sentence."""

    name: str
    ok: bool
    seconds: float
    sentence: str


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """A rehearsal of a rollback to ``version``. It is ``done`` once every part has been tried or one has failed."""

    deployment: str
    version: int | None
    label: str | None = None
    at: float
    seconds: float = 0.0
    done: bool = False
    parts: tuple[DrillPart, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it came to its end and no part failed."""
        return self.done and all(part.ok for part in self.parts)

    @property
    def lasted(self) -> str:
        """How long all parts took, as it is told: ``25ms``, ``1.5s``."""
        return f"{self.seconds * 1000:.0f}ms" if self.seconds < 1 else f"{self.seconds:.1f}s"

    @property
    def failed(self) -> str:
        """The part that failed, with its reason; empty when none did."""
        return next((f"{part.name}: {part.sentence}" for part in self.parts if not part.ok), "")
