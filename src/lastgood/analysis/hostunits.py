"""Host-minutes as trials: where bad requests come in bursts inside a host, each host counts once a minute.

In each closed minute both arms are thinned by lot to the same number of requests, and a host's minute is bad
when more of them are bad than in four fifths of stable's earlier minutes. Minutes of equal size of hosts that are
alike are exchangeable, whatever goes on inside them and whatever the past says is usual. (The candidate's own past
says nothing of what is usual: one that always fails would be usual by it.)
"""

import math
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np

from lastgood.analysis.trials import Trials
from lastgood.stats import quantiles

USUAL: Final = 0.8
"""The part of stable's earlier minutes that a bad one must exceed."""

PER_OCTAVE: Final = 16
"""Rates of earlier minutes are kept in log2 buckets: 2.2 % wide to both sides, at any length of a release."""

MOST_THINNED: Final = 10**9
"""The lot is drawn for up to so many requests; a minute with more of them is no trial."""


class HostMinutes(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The minute that is open, with its requests, and stable's bad rates in those before it.

    In ``zeros`` minutes stable had no bad request, ``rates`` counts the others by bucket. ``units`` sums the
    host-minutes that became trials.
    """

    minute: int | None = None
    open: Trials = Trials()
    zeros: int = 0
    rates: dict[int, int] = {}
    units: Trials = Trials()


def add(state: HostMinutes, minute: int, trials: Trials, seed: str) -> tuple[HostMinutes, Trials | None]:
    """Return the state after more requests, and the trials of the minute that they closed.

    ``minute`` is epoch seconds // 60 and never goes back. ``seed`` names the release and the test: with the
    minute it fixes the lot, so that a replay draws the same. The first minute only says what is usual.
    """
    if state.minute is None or minute <= state.minute:
        return msgspec.structs.replace(
            state,
            minute=minute if state.minute is None else state.minute,
            open=state.open.plus(trials),
        ), None
    state, closed = _close(state, f"{seed}:{state.minute}")
    return msgspec.structs.replace(state, minute=minute, open=trials), closed


def _close(state: HostMinutes, seed: str) -> tuple[HostMinutes, Trials | None]:
    size = min(state.open.n1, state.open.n0)
    if size < 1 or max(state.open.n1, state.open.n0) > MOST_THINNED:
        return state, None
    words = np.frombuffer(blake2b(seed.encode(), digest_size=32).digest(), dtype="<u4")
    chance = np.random.RandomState(words)
    bad1 = _thinned(state.open.n1, state.open.bad1, size, chance)
    bad0 = _thinned(state.open.n0, state.open.bad0, size, chance)
    usual = _usual(state)
    closed = None
    if usual is not None:
        closed = Trials(1, int(bad1 > size * usual), 1, int(bad0 > size * usual))
        state = msgspec.structs.replace(state, units=state.units.plus(closed))
    if not bad0:
        return msgspec.structs.replace(state, zeros=state.zeros + 1), closed
    bucket = quantiles.bucket_of(bad0 / size, PER_OCTAVE)
    return msgspec.structs.replace(state, rates=quantiles.merged((state.rates, {bucket: 1}))), closed


def _thinned(requests: int, bad: int, size: int, chance: np.random.RandomState) -> int:
    """Return how many bad ones are among ``size`` of the requests, drawn by lot."""
    if size == requests or bad in (0, requests):
        return min(bad, size)
    return int(chance.hypergeometric(bad, requests - bad, size))


def _usual(state: HostMinutes) -> float | None:
    """Return the bad rate that four fifths of stable's earlier minutes do not exceed; None without any."""
    count = state.zeros + quantiles.total(state.rates)
    if not count:
        return None
    below = state.zeros
    if below >= USUAL * count:
        return 0.0
    for bucket in sorted(state.rates):
        below += state.rates[bucket]
        if below >= USUAL * count:
            return math.exp2((bucket + 1) / PER_OCTAVE)
    return None
