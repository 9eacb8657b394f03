"""A deployment: where a model is served, what is stable there, and what was before."""

from enum import StrEnum
from typing import Any

import msgspec


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """The present state of one deployment.

    ``stable`` is the version number that answers by default, None before the first release.
    ``release`` is the id of the release under way. ``generation`` is that of its present route.
    ``revision`` grows with every change and guards concurrent writers.
    """

    name: str
    model: str
    revision: int = 0
    stable: int | None = None
    release: int | None = None
    generation: int = 0


class StableEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of a deployment's history: ``version`` was stable from ``since`` to ``until``.

    ``good`` turns False when the version is marked failed; the last good version is the newest entry
    that is still good and is not the present one. ``release`` is the release that put it there, ``event`` the
    sequence of the event that says so (None where it is older than effects in events).
    """

    deployment: str
    sequence: int
    version: int
    since: float
    until: float | None
    release: int
    good: bool
    event: int | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The mark on a content digest that failed: why, on what numbers, by whom, and whether it still holds.

    ``lifted_by`` names the release whose overridden second try succeeded; until then the bytes are
    refused.
    """

    digest: str
    model: str
    version: int
    deployment: str
    release: int
    at: float
    by: str
    cause: str
    evidence: dict[str, Any] = {}
    lifted_by: int | None = None


class Role(StrEnum):
    """What a version does in a deployment now."""

    STABLE = "stable"
    CANDIDATE = "candidate"
    STANDBY = "standby"
    SHADOW = "shadow"
