"""What counts as one trial in a release, chosen before it begins from what stable did."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from lastgood.analysis import sentences
from lastgood.domain.plan import UnitsChoice
from lastgood.domain.traffic import Baseline, TrafficMinute, Units
from lastgood.stats import quantiles

BURSTS_FROM: Final = 1.5
"""Bad requests that vary more than this, against independent ones, come in bursts."""

KEYED_FROM: Final = 0.1
"""With keys on at least this part of the requests, callers are told apart."""

MIN_PAIRS: Final = 30
"""Pairs of neighbouring minutes with a bad request that it takes to speak of bursts."""

_PLANNED: Final = {
    UnitsChoice.REQUESTS: Units.REQUESTS,
    UnitsChoice.KEYS: Units.KEYS,
    UnitsChoice.HOSTS: Units.HOSTS,
}


def choose(minutes: Sequence[TrafficMinute], choice: UnitsChoice) -> Baseline:
    """Return what stable did in ``minutes``, and the units that follow from it unless the plan names its own."""
    requests = sum(one.counts.requests for one in minutes)
    keyed = sum(one.counts.keyed for one in minutes)
    varied = dispersion(minutes)
    units, why = _auto(requests, keyed, varied)
    if choice in _PLANNED:
        units, why = _PLANNED[choice], "the plan says so"
    return Baseline(
        units=units,
        why=why,
        minutes=len({one.minute for one in minutes}),
        requests=requests,
        keyed=keyed,
        dispersion=varied,
        latency=quantiles.merged(one.counts.latency for one in minutes),
    )


def dispersion(minutes: Sequence[TrafficMinute]) -> float | None:
    """Return the variance of the bad requests in a minute over what independent requests would give.

    Each minute is held against the next one, so that a rate that drifts over the day does not count: given both
    minutes' requests and the number of bad ones in them together, independent requests give each minute its part
    with a known (hypergeometric) variance. About 1 for independent requests; None for fewer than
    :data:`MIN_PAIRS` pairs with something bad.
    """
    counted: dict[int, tuple[int, int]] = {}
    for one in minutes:
        requests, bad = counted.get(one.minute, (0, 0))
        counted[one.minute] = (
            requests + one.counts.requests,
            bad + one.counts.errors + one.counts.invalid,
        )
    squares = variances = 0.0
    pairs = 0
    for early, late in pairwise(sorted(counted)):
        (n1, bad1), (n0, bad0) = counted[early], counted[late]
        n, bad = n1 + n0, bad1 + bad0
        if late != early + 1 or not (n1 and n0 and 0 < bad < n):
            continue
        squares += (bad1 - bad * n1 / n) ** 2
        variances += bad * (n - bad) * n1 * n0 / (n * n * (n - 1.0))
        pairs += 1
    return squares / variances if pairs >= MIN_PAIRS else None


def _auto(requests: int, keyed: int, varied: float | None) -> tuple[Units, str]:
    if not requests:
        return Units.REQUESTS, "nothing is known of stable's traffic before the release"
    if varied is not None and varied > BURSTS_FROM:
        why = f"from minute to minute they vary {varied:.1f} times as much as independent ones would"
        return Units.HOSTS, f"stable's bad requests come in bursts: {why} (more than {BURSTS_FROM:g})"
    if keyed >= KEYED_FROM * requests:
        return Units.KEYS, f"{sentences.percent(keyed / requests)} of stable's requests came with a key"
    few = "none" if not keyed else f"only {sentences.percent(keyed / requests)}"
    return Units.REQUESTS, f"stable's bad requests show no bursts, and {few} of its requests came with a key"
