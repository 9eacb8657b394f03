"""One change of a deployment: everything that must become true together, or not at all."""

from typing import Any

import msgspec

from lastgood.domain.channel import Channel
from lastgood.domain.deployment import Deployment, Failure
from lastgood.domain.event import EventDraft
from lastgood.domain.release import Release
from lastgood.domain.snapshot import Kept
from lastgood.domain.traffic import Stratum


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction writes.

    ``deployment`` and ``release`` carry the revision they are to have; the row before must have exactly
    one less, or the whole change is a conflict. A release with revision 0 is inserted, its ``id`` (0 in the
    change) assigned by the store and put into the deployment, the events and the failure.
    ``new_route`` allots the next route generation to both. ``became_stable`` appends the deployment's
    stable version to its history and closes the entry before. ``failure`` marks a digest failed (and its
    history entries, in every model, not good); ``lifted`` lifts the mark of that digest, naming the release. ``notify`` queues
    one delivery for each of the ``events`` and channels. What is ``kept`` with release 0 is staged by the release that is
    inserted, and gets its token.
    """

    deployment: Deployment
    release: Release | None = None
    new_route: bool = False
    became_stable: bool = False
    failure: Failure | None = None
    lifted: str | None = None
    events: tuple[EventDraft, ...] = ()
    notify: tuple[Channel, ...] = ()
    kept: tuple[Kept, ...] = ()


class Evidence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The evidence of one release so far, persisted with the strata it came from.

    ``sequence`` is that of the last stratum folded in; ``seen`` are the cumulative counts of each worker
    life that have been used up (so that nothing counts twice); ``states`` are the guardrails' states. Both belong to
    :mod:`lastgood.analysis`: its own values while a release is under way, and the plain JSON of the same when they come
    out of the store. Nobody changes them in place.
    """

    release: int
    sequence: int = 0
    seen: Any = {}
    states: Any = {}


class EvidenceStep(msgspec.Struct, frozen=True, kw_only=True):
    """New evidence and the strata that led to it: written in one transaction, or refused as a conflict."""

    before: int
    evidence: Evidence
    strata: tuple[Stratum, ...]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One notification to send: an event to a channel. ``key`` is its idempotency key, the same on each try."""

    id: int
    key: str
    event: int
    channel: Channel
    attempts: int
