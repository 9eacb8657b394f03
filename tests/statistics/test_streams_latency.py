"""Latencies judged by rank betting, boosted as a release does it, on whole streams of log-normal latencies."""

from collections.abc import Callable

import numpy as np
import pytest
from streams import (
    ALPHA,
    SLOWER,
    Floats,
    base,
    histograms,
    law,
    least_ratio,
    limit,
    most_alarms,
    slowed,
    sparse,
)

from lastgood.stats import ranks

Slower = Callable[[Floats], Floats]
each_slower = pytest.mark.parametrize(("name", "slower", "look"), SLOWER, ids=[name for name, _, _ in SLOWER])


def stops(seed: int, streams: int, minutes: float, slower: Slower, look: int = 100) -> Floats:
    """Return for each stream after how many candidate requests it was rolled back; infinity if never."""
    chance = np.random.default_rng(seed)
    law1, law0 = law(slower), law(base)
    found = np.full(streams, np.inf)
    for stream in range(streams):
        past = next(sparse(chance.multinomial(1000, law0)[None]))
        state, requests = ranks.initial(ALPHA, past, draws=200), 0
        both = histograms(chance, law1, law0, minutes, look)
        for number, (one, other) in enumerate(zip(*map(sparse, both), strict=True)):
            state = ranks.update(state, one, other, stratum=f"{seed}:{stream}:{number}")
            requests += sum(one.values())
            if ranks.reached(state):
                found[stream] = requests
                break
    return found


def found_soon(slower: Slower, look: int, seed: int, streams: int) -> tuple[float, float]:
    """Return the share of streams that ended, and how many times the limit they took."""
    least = limit(law(slower), law(base))
    minutes = max(1.0, 10 * least / 100)
    found = stops(seed, streams, minutes, slower, look)
    return float(np.isfinite(found).mean()), least_ratio(found, least, 100 * minutes)


def test_equal_latencies_roll_back_no_more_often_than_promised() -> None:
    """A/A over 40 looks, boosted: false rollbacks stay within alpha and three standard errors."""
    assert float(np.isfinite(stops(41, 80, 4.0, base)).mean()) <= most_alarms(80)


@pytest.mark.slow
def test_equal_latencies_roll_back_no_more_often_in_many_long_streams() -> None:
    """A/A over 600 looks, and for a candidate that is a little faster.

    Boosted evidence spends nearly all of alpha (5.0 % of 7 600 streams of fourteen seeds), so it takes many
    streams to tell it from too much.
    """
    assert float(np.isfinite(stops(42, 1600, 60.0, base)).mean()) <= most_alarms(1600)
    assert float(np.isfinite(stops(43, 100, 30.0, slowed(0.95))).mean()) <= most_alarms(100)


@each_slower
def test_a_slower_candidate_is_found_close_to_the_limit(name: str, slower: Slower, look: int) -> None:
    """Nearly every stream ends, with at most 2.2 times what any valid test must spend."""
    ended, ratio = found_soon(slower, look, 44, 40 if name != "all x1.05" else 12)

    assert ended >= 0.9
    assert ratio <= 2.2


@pytest.mark.slow
@each_slower
def test_a_slower_candidate_is_found_close_to_the_limit_in_many_streams(
    name: str, slower: Slower, look: int
) -> None:
    """The same with 400 streams each."""
    ended, ratio = found_soon(slower, look, 45, 400)

    assert ended >= 0.97
    assert ratio <= 2.2
