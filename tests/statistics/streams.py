"""Streams of traffic with two arms, and what any test must spend on telling the arms apart.

Shared by the tests of whole streams and by the bench. A thousand requests a minute arrive; a *look* is taken after every
100 of them (or fewer, where that would be coarser than what is measured). Each request goes to the candidate by lot.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Curve = float | Callable[[Floats], Floats]
"""A number, or what it is as a function of the time in minutes."""

ALPHA = 0.05
SHARE = 0.1
A_MINUTE = 1000
PER_OCTAVE = 16
BUCKETS = np.arange(180, 400)
"""Latency buckets of microseconds, 16 an octave: 2.4 milliseconds to 33 seconds."""


@dataclass(frozen=True)
class Scenario:
    """Rates of bad requests in both arms, the candidate's share of the traffic, and how often anyone looks.

    ``counted`` are the chances that a request of each arm counts at all, such as being predicted positive.
    """

    name: str
    candidate: Curve
    stable: Curve
    share: Curve = SHARE
    look: int = 100
    counted: tuple[float, float] = (1.0, 1.0)

    def draw(self, chance: np.random.Generator, streams: int, minutes: float, *, pace: float = 1.0) -> Ints:
        """Return ``[streams, looks, 4]``: the candidate's requests and bad ones, then stable's, of each look.

        With a ``pace`` above 1 the rates and shares change so many times faster.
        """
        looks = int(minutes * A_MINUTE / self.look)
        at = np.arange(looks) * self.look / A_MINUTE * pace
        p1, p0, share = (curve(at) if callable(curve) else np.full(looks, curve) for curve in self._curves())
        n1 = chance.binomial(self.look, share, (streams, looks))
        n0 = self.look - n1
        if self.counted != (1.0, 1.0):
            n1, n0 = chance.binomial(n1, self.counted[0]), chance.binomial(n0, self.counted[1])
        return np.stack((n1, chance.binomial(n1, p1), n0, chance.binomial(n0, p0)), axis=2)

    def _curves(self) -> tuple[Curve, Curve, Curve]:
        return self.candidate, self.stable, self.share


def alike(name: str, rate: Curve, **more: Any) -> Scenario:
    """Return a release of the same version: both arms have the same rate at every moment."""
    return Scenario(name, rate, rate, **more)


def daily(at: Floats) -> Floats:
    """Return a rate that swings between 0.3 and 3.3 %, once in 100 minutes."""
    return 0.01 * np.exp(1.2 * np.sin(2 * np.pi * at / 100))


def outages(at: Floats) -> Floats:
    """Return 1 %, and 30 % in two minutes of every forty."""
    return np.where((at % 40 >= 20) & (at % 40 < 22), 0.3, 0.01)


def drift(at: Floats) -> Floats:
    """Return a rate that grows from 1 % to 4 % over 200 minutes."""
    return 0.01 + 0.03 * np.minimum(at, 200) / 200


def ramp(at: Floats) -> Floats:
    """Return shares of 1, 5, 25 and 50 %, fifty minutes each."""
    return np.array([0.01, 0.05, 0.25, 0.5])[np.minimum(at // 50, 3).astype(int)]


ALIKE = (
    alike("0.1 % A/A", 0.001),
    alike("1 % A/A", 0.01),
    alike("5 % A/A", 0.05),
    alike("20 % A/A", 0.2),
    alike("daily cycle", daily),
    alike("shared outages", outages),
    alike("drift + ramp", drift, share=ramp),
)
UNEQUAL = alike("unequal denominators", 0.1, counted=(0.3, 0.2))

WORSE = (
    Scenario("errors 0.1 → 0.5 %", 0.005, 0.001),
    Scenario("errors 1 → 2 %", 0.02, 0.01),
    Scenario("errors 1 → 5 %", 0.05, 0.01),
    Scenario("errors 5 → 10 %", 0.1, 0.05),
    Scenario("errors 0 → 1 %", 0.01, 0.0),
    Scenario("errors 20 → 25 %", 0.25, 0.2),
    Scenario("crash 1 → 50 %", 0.5, 0.01, look=20),
    Scenario("accuracy .92 → .90", 0.1, 0.08),
    Scenario("accuracy .90 → .80", 0.2, 0.1),
)


def stops(counts: Ints, start: Any, update: Callable[..., Any]) -> Floats:
    """Return for each stream after how many candidate requests its test stopped; infinity where it never did."""
    found = np.full(len(counts), np.inf)
    for number, stream in enumerate(counts.tolist()):
        state, requests = start, 0
        for n1, bad1, n0, bad0 in stream:
            state = update(state, n1, bad1, n0, bad0)
            requests += n1
            if state.stopped:
                found[number] = requests
                break
    return found


def most_alarms(streams: int, alpha: float = ALPHA) -> float:
    """Return ``alpha`` and three standard errors: the largest share of alarms that agrees with the promise."""
    return alpha + 3.0 * math.sqrt(alpha * (1.0 - alpha) / streams)


def least_ratio(found: Floats, least: float, horizon: float) -> float:
    """Return how many times the limit the streams took, less three standard errors.

    A stream that never stopped counts with the whole ``horizon``, in candidate requests.
    """
    taken = np.where(np.isfinite(found), found, horizon)
    return float(taken.mean() - 3.0 * taken.std() / math.sqrt(len(taken))) / least


# Latencies


def base(values: Floats) -> Floats:
    """Return the share of stable's requests within so many microseconds: log-normal, median 100 ms, p99 320 ms."""
    return np.asarray(ndtr(np.log(np.maximum(values, 1e-9) / 1e5) / 0.5))


def stretched(values: Floats) -> Floats:
    """Return the same with the median kept and the upper half stretched so far that the p99 doubles."""
    factor = 1.0 + math.log(2.0) / (0.5 * 2.3263)
    upper = 1e5 * np.exp(np.log(np.maximum(values, 1e-9) / 1e5) / factor)
    return np.where(values > 1e5, base(upper), base(values))


def slowed(factor: float, part: float = 1.0) -> Callable[[Floats], Floats]:
    """Return the same with a ``part`` of the requests ``factor`` times as slow."""
    return lambda values: (1.0 - part) * base(values) + part * base(values / factor)


SLOWER = (
    ("p50 same, p99 x2", stretched, 100),
    ("3 % of requests x4", slowed(4.0, 0.03), 100),
    ("all x1.2", slowed(1.2), 100),
    ("all x2", slowed(2.0), 20),
    ("all x1.05", slowed(1.05), 100),
)


def law(cumulative: Callable[[Floats], Floats]) -> Floats:
    """Return the chance of each bucket of :data:`BUCKETS`, with what is beyond in the outer ones."""
    inner = np.exp2(BUCKETS[1:] / PER_OCTAVE)
    return np.diff(np.concatenate(([0.0], cumulative(inner), [1.0])))


def histograms(
    chance: np.random.Generator, law1: Floats, law0: Floats, minutes: float, look: int = 100
) -> tuple[Ints, Ints]:
    """Return one stream: the candidate's and stable's counts ``[looks, buckets]``."""
    n1 = chance.binomial(look, SHARE, int(minutes * A_MINUTE / look))
    return chance.multinomial(n1, law1), chance.multinomial(look - n1, law0)


def sparse(counts: Ints) -> Iterator[dict[int, int]]:
    """Yield each look's histogram by bucket, without empty ones."""
    for row in counts:
        held = np.flatnonzero(row)
        yield dict(zip(BUCKETS[held].tolist(), row[held].tolist(), strict=True))


# Limits: no valid test of power one is faster on average (Wald, 1945)


def limit(law1: Floats | float, law0: Floats | float, *, share: float = SHARE, alpha: float = ALPHA) -> float:
    """Return the fewest candidate requests, on average, for telling two laws apart when neither is known.

    A number is the rate of bad requests. Both arms are compared with the mixture that an observer sees who does
    not know the arms.
    """
    one, other = _law(law1), _law(law0)
    mixed = share * one + (1.0 - share) * other
    return share * math.log(1.0 / alpha) / (share * _kl(one, mixed) + (1.0 - share) * _kl(other, mixed))


def limit_of_proof(
    rate: float, worse: Callable[[float], float], *, share: float = SHARE, alpha: float = ALPHA
) -> float:
    """Return the fewest candidate requests, on average, for showing that two equal rates are not ``worse`` apart.

    ``worse`` maps stable's rate to the lowest rate of a candidate that is worse by the margin.
    """

    def information(p0: float) -> float:
        return share * _kl(_law(rate), _law(worse(p0))) + (1.0 - share) * _kl(_law(rate), _law(p0))

    least = minimize_scalar(information, bounds=(1e-9, min(3 * rate + 0.01, 0.999)), method="bounded").fun
    return share * math.log(1.0 / alpha) / float(least)


def limit_over(p1: float, p0: float, delta: float) -> float:
    """Return the fewest candidate requests, on average, for showing that ``p1`` is more than ``delta`` over ``p0``."""

    def information(p: float) -> float:
        return SHARE * _kl(_law(p1), _law(p + delta)) + (1.0 - SHARE) * _kl(_law(p0), _law(p))

    least = minimize_scalar(information, bounds=(1e-9, min(1.0 - delta, 3.0 * p1)), method="bounded").fun
    return SHARE * math.log(1.0 / ALPHA) / float(least)


def by_points(delta: float) -> Callable[[float], float]:
    """Return a margin in points."""
    return lambda p0: min(p0 + delta, 1.0 - 1e-12)


def by_odds(ratio: float) -> Callable[[float], float]:
    """Return a margin as a ratio of odds."""
    return lambda p0: ratio * p0 / (1.0 + (ratio - 1.0) * p0)


def _law(given: Floats | float) -> Floats:
    return np.array([given, 1.0 - given]) if isinstance(given, float) else given


def _kl(one: Floats, other: Floats) -> float:
    held = one > 0.0
    return float(np.sum(one[held] * np.log(one[held] / other[held])))
