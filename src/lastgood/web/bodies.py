"""The bodies and queries that the control API takes. Unknown fields are refused, so a typo never passes."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from lastgood.domain.given_text import LONGEST_ACTOR, LONGEST_REASON, check_given
from lastgood.domain.plan import Strategy

_LARGEST: Final = 2**63 - 1  # of the database's integers
Actor = Annotated[
    str, Meta(min_length=1, max_length=LONGEST_ACTOR, description="Who asks; kept in the audit record.")
]
Text = Annotated[str, Meta(max_length=LONGEST_REASON, description="One line.")]
Reference = Annotated[str, Meta(min_length=1, max_length=64, description="A version's number or label.")]

Sequence = Annotated[int, Meta(ge=0, le=_LARGEST)]
_KEPT: Final = ("actor", "reason", "override", "plan_source")


class Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people write and the record keeps is one line that can be seen whole."""

    def __post_init__(self) -> None:
        """Refuse what would forge a line where the record is shown."""
        for name in _KEPT:
            text = getattr(self, name, None)
            if text is not None:
                check_given(text, name.replace("_", " "))


class ReleaseOrder(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Release ``version`` of ``model``. ``plan`` is the text of a plan file; ``plan_source`` names it in errors.

    ``shadow``, a share such as ``10%``, sets a standing shadow before the steps of the built-in plan.
    """

    model: str
    version: Reference | int
    actor: Actor
    deployment: str | None = None
    plan: Annotated[str, Meta(max_length=262_144)] | None = None
    plan_source: Annotated[str, Meta(max_length=500)] = "plan"
    strategy: Strategy | None = None
    shadow: Annotated[str, Meta(min_length=1, max_length=20)] | None = None
    override: Annotated[str, Meta(min_length=1, max_length=LONGEST_REASON)] | None = None


class RollbackOrder(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Go back to ``version``, or to the last good one. ``keep`` leaves the version that is left untagged."""

    actor: Actor
    version: Reference | int | None = None
    reason: Text = ""
    keep: bool = False


class PromoteOrder(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Go to the next step at once, or with ``full`` to all traffic."""

    actor: Actor
    full: bool = False


class ReasonOrder(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Do it, for this reason."""

    actor: Actor
    reason: Text = ""


class ClearOrder(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let go of what is kept under these tokens, as far as nothing needs it."""

    actor: Actor
    tokens: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=10_000)]


class ActorOrder(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Do it."""

    actor: Actor


class VersionsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most ``limit`` versions, with numbers below ``before``."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    before: Annotated[int, Meta(ge=1, le=_LARGEST)] | None = None


class DiffQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two versions, by number or label."""

    first: Reference
    second: Reference


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most ``limit`` entries of each kind."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 20


class EvidenceQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much to say of a release: ``evidence`` adds the intervals, which take a while to work out."""

    evidence: bool = False


class ReadinessQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``fresh`` proves every link now, which may take as long as reading the snapshot; else the last look answers."""

    fresh: bool = False


class AtQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A moment: ISO 8601, or seconds since the epoch."""

    time: Annotated[str, Meta(min_length=1, max_length=64)]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events with a sequence above ``after``; or the last ones, newest first."""

    after: Sequence = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    deployment: str | None = None
    newest_first: bool = False
