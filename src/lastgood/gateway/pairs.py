"""A pair: a request that stable answers, and the copy of it that a shadow answers to nobody.

A pair counts whole or not at all: both when the copy is over, one right after the other, so that no report has half of it.
It counts in the order in which the requests were sent, as the two arms of a split do. Pure rules.
"""

from collections.abc import Callable
from typing import NamedTuple

from lastgood.domain.deployment import Role
from lastgood.gateway.assignment import mark_in_pair
from lastgood.gateway.firsts import ERRORS
from lastgood.gateway.links import Connection
from lastgood.gateway.order import Arm
from lastgood.gateway.table import LiveShadow
from lastgood.gateway.tally import Tally
from lastgood.wire.frames import Counts


class Outcome(NamedTuple):
    """What became of a request or of its copy; ``bucket``, ``bad`` and ``counts`` are those of ``Tally.add``.

    One that was ``refused`` for what the caller asked is not bad yet: the other one says whose fault it was.
    """

    bucket: int | None
    bad: tuple[str, ...] = ()
    counts: Counts | None = None
    refused: bool = False


class Pair:
    """One pair, ``open`` until it has counted or can count no more. For its request it stands in the place of the order.

    ``request`` is what became of the request, None before that and for one that left its release; it counts in ``alone``
    where the pair does not count. ``answered`` is when its caller had the answer, ``held_bytes`` are those of its body and,
    since then, of its answer. The copy is on ``connection`` as ``identifier``, since ``sent`` and until ``expires``. Times are
    CLOCK_MONOTONIC nanoseconds. ``key`` is the mark of the request's key, None without one.
    """

    __slots__ = (
        "_leave",
        "alone",
        "answered",
        "connection",
        "expires",
        "held_bytes",
        "identifier",
        "key",
        "open",
        "place",
        "request",
        "sent",
        "shadow",
    )

    def __init__(self, shadow: LiveShadow, held_bytes: int, leave: Callable[["Pair"], None]) -> None:
        """Take two places in the order; ``leave`` is called when the request leaves its release."""
        self.shadow = shadow
        self.held_bytes = held_bytes
        self.place = shadow.order.sent
        shadow.order.sent += 2
        self.key: int | None = None
        self.alone: Tally = shadow.request.outside
        self.open = True
        self.request: Outcome | None = None
        self.answered = 0
        self.connection: Connection | None = None
        self.identifier = 0
        self.sent = 0
        self.expires = 0
        self._leave = leave

    @property
    def candidate_copies(self) -> bool:
        """Whether it is the candidate that answers the copy, and not the version before it."""
        return self.shadow.copy.arm is Role.CANDIDATE

    @property
    def needs_copy(self) -> bool:
        """Whether a copy can say anything, now that the request is over.

        Nothing can be compared with a request that its version was never asked: its host was away or had too many. The shadow's
        host has copies alone, so nothing of the kind befalls it, and one exit would pass for as many errors as there are pairs.
        """
        request = self.request
        if request is None or request.bucket is None:
            return False
        return not (request.refused and self.candidate_copies)

    def end(
        self,
        _place: int,
        _arm: Arm,
        bucket: int | None,
        bad: tuple[str, ...],
        _key: int | None = None,
        counts: Counts | None = None,
    ) -> None:
        """Keep what became of the request."""
        self.request = Outcome(bucket, bad, counts)

    def refuse(self, bucket: int) -> None:
        """Keep that the request was refused."""
        self.request = Outcome(bucket, refused=True)

    def leave(self, _place: int) -> None:
        """Hear that the request leaves its release."""
        self._leave(self)

    def count(self, copy: Outcome) -> bool:
        """Count both, or return False when they say nothing of the versions."""
        self.open = False
        shadow, order = self.shadow, self.shadow.order
        both = judged(self.request, copy, candidate_copies=self.candidate_copies)
        if both is None:
            self.give_up()
            return False
        for place, tally, one in zip(
            (self.place, self.place + 1), (shadow.request, shadow.copy), both, strict=True
        ):
            candidate = tally.arm is Role.CANDIDATE
            key = None if self.key is None else mark_in_pair(self.key, candidate=candidate)
            order.end(place, tally, one.bucket, one.bad, key, one.counts)
        return True

    def give_up(self) -> None:
        """Leave the order: neither counts."""
        self.open = False
        self.shadow.order.leave(self.place)
        self.shadow.order.leave(self.place + 1)


def judged(
    request: Outcome | None, copy: Outcome, *, candidate_copies: bool
) -> tuple[Outcome, Outcome] | None:
    """Return what counts of a request and its copy; None when they say nothing of the versions.

    As in a split, stable's word decides on an input that was refused: what stable refuses is the caller's fault, what only
    the candidate refuses is the candidate's, and where stable failed nobody knows.
    """
    if request is None:
        return None
    candidate, stable = (copy, request) if candidate_copies else (request, copy)
    if stable.refused or (candidate.refused and stable.bad):
        return None
    if candidate.refused:
        candidate = candidate._replace(bad=(ERRORS,))
    return (stable, candidate) if candidate_copies else (candidate, stable)
