"""Each scenario once: the same streams through our engine and through the others' rules."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import peers
from sources import streams

from lastgood.stats import noninferiority, quantiles, ranks, score

Floats = streams.Floats
Ints = streams.Ints
QUANTILES = (0.5, 0.9, 0.98, 0.998)


class Row(NamedTuple):
    """A scenario's name, its limit in candidate requests (None: nothing is wrong), and each rule's stops.

    A stop is after how many candidate requests; infinity for a stream that was never rolled back. ``seen`` is how many
    candidate requests a stream has in all.
    """

    name: str
    limit: float | None
    seen: float
    stops: Mapping[str, Floats]


def rates(scenario: streams.Scenario, size: int, minutes: int, *, worse: bool) -> Row:
    """Measure a scenario of bad/total counts."""
    chance = np.random.default_rng([5, *scenario.name.encode()])
    counts = scenario.draw(chance, size, minutes)
    per_minute = _by_minute(counts, scenario.look)
    n1, bad1, n0, bad0 = np.moveaxis(per_minute, 2, 0)
    after = _requests_after(n1)
    stops = {
        "Argo": after(peers.argo(n1, bad1)),
        "Flagger": after(peers.flagger(n1, bad1)),
        "Kayenta": after(peers.kayenta(bad1 / np.maximum(n1, 1), bad0 / np.maximum(n0, 1))),
        "Lastgood": streams.stops(counts, score.initial(streams.ALPHA), score.update),
    }
    least = None
    if worse:
        stops["margin 1.2"] = streams.stops(counts, score.initial(streams.ALPHA, 1.2), score.update)
        least = streams.limit(float(scenario.candidate), float(scenario.stable))  # type: ignore[arg-type]
    return Row(scenario.name, least, float(n1.sum(axis=1).mean()), stops)


def latencies(
    name: str, slower: Callable[[Floats], Floats], size: int, minutes: int, look: int, *, worse: bool
) -> Row:
    """Measure a scenario of latencies; stable's thousand requests before the release only set ranks."""
    chance = np.random.default_rng([7, *name.encode()])
    laws = streams.law(slower), streams.law(streams.base)
    slow = np.exp2(streams.BUCKETS / streams.PER_OCTAVE) >= 500_000
    series: dict[str, list[Any]] = {"n1": [], "slow": [], "p99_1": [], "p99_0": []}
    distribution, by_quantiles = np.full(size, np.inf), np.full(size, np.inf)
    for number in range(size):
        one, other = streams.histograms(chance, *laws, minutes, look)
        past = next(streams.sparse(chance.multinomial(1000, laws[1])[None]))
        pairs = list(zip(streams.sparse(one), streams.sparse(other), strict=True))
        distribution[number] = _ranked(past, pairs, f"{name}:{number}")
        by_quantiles[number] = _four_quantiles(past, pairs)
        minute1, minute0 = (_by_minute(counts[None], look)[0] for counts in (one, other))
        series["n1"].append(minute1.sum(axis=1))
        series["slow"].append(minute1[:, slow].sum(axis=1))
        series["p99_1"].append(_p99(minute1))
        series["p99_0"].append(_p99(minute0))
    n1 = np.array(series["n1"])
    after = _requests_after(n1)
    stops = {
        "Flagger": after(peers.flagger(n1, np.array(series["slow"]))),
        "Kayenta": after(peers.kayenta(np.array(series["p99_1"]), np.array(series["p99_0"]))),
        "quantiles": by_quantiles,
        "distribution": distribution,
    }
    return Row(name, streams.limit(*laws) if worse else None, float(n1.sum(axis=1).mean()), stops)


def proofs(size: int) -> list[tuple[str, float, Floats, Floats]]:
    """Measure promotion by proof: name, limit, stops of a good candidate, stops of one exactly at the margin."""
    cases = (
        ("1 %, +0.5 points", 0.01, streams.by_points(0.005), 200),
        ("1 %, +1 point", 0.01, streams.by_points(0.01), 120),
        ("1 %, odds x2", 0.01, streams.by_odds(2.0), 120),
        ("0.1 %, +0.5 points", 0.001, streams.by_points(0.005), 120),
        ("8 % (accuracy .92), +2 points", 0.08, streams.by_points(0.02), 120),
    )
    found = []
    for name, rate, worse, minutes in cases:
        odds = "odds" in name
        start = (
            noninferiority.initial_by_odds(streams.ALPHA, 2.0)
            if odds
            else noninferiority.initial(streams.ALPHA, worse(0.0))
        )
        update = noninferiority.update_by_odds if odds else noninferiority.update
        both = []
        for p1 in (rate, worse(rate)):
            chance = np.random.default_rng([9, *name.encode()])
            counts = streams.Scenario(name, p1, rate).draw(chance, size, minutes)
            both.append(streams.stops(counts, start, update))
        found.append((name, streams.limit_of_proof(rate, worse), both[0], both[1]))
    return found


def _ranked(past: dict[int, int], pairs: list[tuple[dict[int, int], dict[int, int]]], name: str) -> float:
    """Return after how many candidate requests rank betting, boosted, stops."""
    state, requests = ranks.initial(streams.ALPHA, past, draws=200), 0
    for number, (one, other) in enumerate(pairs):
        state = ranks.update(state, one, other, stratum=f"{name}:{number}")
        requests += sum(one.values())
        if ranks.reached(state):
            return requests
    return np.inf


def _four_quantiles(past: dict[int, int], pairs: list[tuple[dict[int, int], dict[int, int]]]) -> float:
    """Return after how many candidate requests "slower than a quantile of the past" stops, at a quarter of alpha each."""
    states = [score.initial(streams.ALPHA / len(QUANTILES))] * len(QUANTILES)
    requests, edges = 0, [0] * len(QUANTILES)
    known = past
    for number, (one, other) in enumerate(pairs):
        if number % 10 == 0:
            edges = [_edge(known, q) for q in QUANTILES]
        n1, n0 = sum(one.values()), sum(other.values())
        for place, edge in enumerate(edges):
            slow1, slow0 = (sum(c for b, c in values.items() if b > edge) for values in (one, other))
            states[place] = score.update(states[place], n1, slow1, n0, slow0)
        known = quantiles.merged((known, one, other))
        requests += n1
        if any(score.reached(state) for state in states):
            return requests
    return np.inf


def _edge(histogram: Mapping[int, int], q: float) -> int:
    """Return the bucket that holds the quantile."""
    value = quantiles.quantile(histogram, q, streams.PER_OCTAVE)
    return quantiles.bucket_of(value, streams.PER_OCTAVE)


def _by_minute(counts: Ints, look: int) -> Ints:
    """Add looks ``[streams, looks, ...]`` up to whole minutes."""
    looks = streams.A_MINUTE // look
    whole = counts[:, : counts.shape[1] // looks * looks]
    summed: Ints = whole.reshape(len(counts), -1, looks, counts.shape[2]).sum(axis=2)
    return summed


def _requests_after(n1: Ints) -> Callable[[Ints], Floats]:
    """Return how a minute becomes the candidate requests up to its end."""
    upto = np.cumsum(n1, axis=1)

    def after(minute: Ints) -> Floats:
        return np.where(minute == peers.NEVER, np.inf, np.take_along_axis(upto, minute[:, None], 1)[:, 0])

    return after


def _p99(counts: Ints) -> Floats:
    """Return the p99 of each row of histograms, in buckets' logarithmic units."""
    upto = np.cumsum(counts, axis=1)
    wanted = np.ceil(0.99 * upto[:, -1:])
    return np.exp2(streams.BUCKETS[(upto >= wanted).argmax(axis=1)] / streams.PER_OCTAVE)
