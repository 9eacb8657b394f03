"""The evidence engine beyond the rows of its page: other rates, splits, margins, shapes of latency, and traffic in bursts.

    python bench/run.py robustness                     (about five minutes on one core)
    python bench/run.py robustness --streams 400

Seeded. For a change: how many times the information limit it takes; where nothing is wrong, or no more than the margin: the
share of false decisions, which is the only goal. Prints Markdown and writes it to bench/results/robustness.md.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "evidence"), str(HERE.parent / "tests" / "statistics")]

import streams  # noqa: E402 - found through the path above
import tables  # noqa: E402 - likewise

from lastgood.stats import margin, noninferiority, ranks, score  # noqa: E402 - likewise

Floats = streams.Floats
Law = Callable[[Floats], Floats]
LONGEST = 8.0
"""A stream that has not ended after so many times the limit counts with all of it."""


def bursts(at: Floats) -> Floats:
    """Return 1 %, and 40 % in both arms in the minute in which the candidate's share grows."""
    return np.where((at % 50 < 1) & (at >= 50), 0.4, 0.01)


def groups(part: float) -> Law:
    """Return latencies in two groups, such as hits and misses of a cache: 8 ms, and a part of 200 ms."""

    def cumulative(values: Floats) -> Floats:
        logs = np.log(np.maximum(values, 1e-9))
        quick, slow = (ndtr((logs - np.log(at)) / 0.35) for at in (8e3, 2e5))
        return np.asarray((1.0 - part) * quick + part * slow)

    return cumulative


def heavy(factor: float) -> Law:
    """Return latencies whose logarithm has no mean (Cauchy), with a median of 100 ms times a factor."""
    return lambda values: 0.5 + np.arctan(np.log(np.maximum(values, 1e-9) / 1e5 / factor) / 0.4) / np.pi


RATES = (
    streams.Scenario("0.3 → 2 %", 0.02, 0.003),
    streams.Scenario("2 → 4 %", 0.04, 0.02),
    streams.Scenario("10 → 14 %", 0.14, 0.1),
    streams.Scenario("5 → 20 %, a look every 20", 0.2, 0.05, look=20),
    streams.Scenario("1 → 5 %, half the traffic", 0.05, 0.01, share=0.5),
    streams.Scenario("1 → 5 %, 5 % of the traffic", 0.05, 0.01, share=0.05),
    streams.Scenario("1 → 5 %, 1 % of the traffic", 0.05, 0.01, share=0.01),
    streams.Scenario("20 → 22 %", 0.22, 0.2),
    streams.Scenario("1 → 10 % (few events)", 0.1, 0.01),
)
POINTS = ((0.01, 0.02, 0.005), (0.01, 0.05, 0.005), (0.1, 0.14, 0.01), (0.3, 0.4, 0.02))
PROOFS = ((0.001, 0.001, 0.1), (0.1, 0.02, 0.1), (0.3, 0.05, 0.1), (0.3, 0.05, 0.5), (0.02, 0.01, 0.05))
LATENCIES: tuple[tuple[str, Law, Law], ...] = (
    ("1 % of requests x4", streams.slowed(4.0, 0.01), streams.base),
    ("3 % of requests x2", streams.slowed(2.0, 0.03), streams.base),
    ("10 % of requests x2", streams.slowed(2.0, 0.1), streams.base),
    ("1 % of requests x20 (few events)", streams.slowed(20.0, 0.01), streams.base),
    ("two groups, misses 30 → 40 %", groups(0.4), groups(0.3)),
    ("two groups, misses 5 → 10 %", groups(0.1), groups(0.05)),
    ("heavy tail, all x1.2", heavy(1.2), heavy(1.0)),
)
GOOD_RATES = (
    streams.alike("5 %, half the traffic", 0.05, share=0.5),
    streams.alike("1 %, 1 % of the traffic", 0.01, share=0.01),
    streams.alike("ramp, bursts in both arms at each step", bursts, share=streams.ramp),
)
GOOD_LATENCIES = (("two groups", groups(0.3)), ("heavy tail", heavy(1.0)))


def chance(name: str) -> np.random.Generator:
    return np.random.default_rng([11, *name.encode()])


def size_of(size: int, looks: float) -> int:
    """Return how many streams: fewer, but 40 at least, where each is long."""
    return int(max(40, min(size, 1e5 / looks)))


def told(name: str, least: float, found: Floats) -> list[str]:
    """Return a row: the mean until the decision, times the limit, with one standard error, and the share that ended."""
    taken = np.where(np.isfinite(found), found, LONGEST * least) / least
    error = taken.std() / len(taken) ** 0.5
    ended = float(np.isfinite(found).mean())
    return [name, tables.number(least), f"{taken.mean():.2f} (±{error:.2f})", f"{ended:.0%}", str(len(found))]


def until(
    scenario: streams.Scenario, least: float, start: Any, update: Callable[..., Any], size: int
) -> Floats:
    """Return the candidate requests until a test stops, in streams of so many limits."""
    looks = LONGEST * least / float(scenario.share) / scenario.look  # type: ignore[arg-type] - a number here
    drawn = scenario.draw(
        chance(scenario.name), size_of(size, looks), (looks + 2) * scenario.look / streams.A_MINUTE
    )
    return streams.stops(drawn, start, update)


def changes(size: int) -> list[list[str]]:
    """Measure how soon changes of rates and latencies are found, and good candidates are proven."""
    rows = []
    for one in RATES:
        p1, p0, share = (float(value) for value in (one.candidate, one.stable, one.share))  # type: ignore[arg-type]
        least = streams.limit(p1, p0, share=share)
        rows.append(
            told(one.name, least, until(one, least, score.initial(streams.ALPHA), score.update, size))
        )
    for p0, p1, delta in POINTS:
        name = f"{100 * p0:g} → {100 * p1:g} %, margin {100 * delta:g} points"
        least, start = streams.limit_over(p1, p0, delta), margin.initial(streams.ALPHA, delta)
        scenario = streams.Scenario(name, p1, p0)
        rows.append(told(name, least, until(scenario, least, start, margin.update, size)))
    for rate, delta, share in PROOFS:
        name = f"proof: {100 * rate:g} %, +{100 * delta:g} points, {100 * share:g} % of the traffic"
        least = streams.limit_of_proof(rate, streams.by_points(delta), share=share)
        start, scenario = (
            noninferiority.initial(streams.ALPHA, delta),
            streams.Scenario(name, rate, rate, share),
        )
        rows.append(told(name, least, until(scenario, least, start, noninferiority.update, size)))
    for name, slower, usual in LATENCIES:
        least = streams.limit(streams.law(slower), streams.law(usual))
        looks = int(LONGEST * least / streams.SHARE / 100) + 2
        rows.append(told(name, least, ranked(name, slower, usual, size_of(size, 4 * looks), looks)))
    return rows


def false_decisions(size: int) -> tuple[list[list[str]], bool]:
    """Measure wrong decisions; return the rows, and whether all stay within alpha and three standard errors."""
    found = []
    for one in GOOD_RATES:
        drawn = one.draw(chance(one.name), size, 20, pace=10)
        found.append((f"A/A {one.name}", streams.stops(drawn, score.initial(streams.ALPHA), score.update)))
    for rate, delta in ((0.001, 0.001), (0.01, 0.005), (0.3, 0.05)):
        name = f"{100 * rate:g} %, worse by just {100 * delta:g} points"
        drawn = streams.Scenario(name, rate + delta, rate).draw(chance(name), size, 20)
        worse, proof = margin.initial(streams.ALPHA, delta), noninferiority.initial(streams.ALPHA, delta)
        found.append((f"rolled back: {name}", streams.stops(drawn, worse, margin.update)))
        found.append((f"proven: {name}", streams.stops(drawn, proof, noninferiority.update)))
    for name, law in GOOD_LATENCIES:
        found.append((f"A/A {name}", ranked(name, law, law, size, 100)))
    shares = [(name, float(np.isfinite(stops).mean()), len(stops)) for name, stops in found]
    rows = [[name, f"{share:.1%}", str(number)] for name, share, number in shares]
    return rows, all(share <= streams.most_alarms(number) for _, share, number in shares)


def ranked(name: str, slower: Law, usual: Law, size: int, looks: int) -> Floats:
    """Return the candidate requests until rank betting, boosted as in a release, stops."""
    lot, laws, found = chance(name), (streams.law(slower), streams.law(usual)), np.full(size, np.inf)
    for stream in range(size):
        past = next(streams.sparse(lot.multinomial(1000, laws[1])[None]))
        state, requests = ranks.initial(streams.ALPHA, past, draws=200), 0
        both = streams.histograms(lot, *laws, looks * 100 / streams.A_MINUTE)
        for number, (one, other) in enumerate(zip(*map(streams.sparse, both), strict=True)):
            state = ranks.update(state, one, other, stratum=f"{name}:{stream}:{number}")
            requests += sum(one.values())
            if ranks.reached(state):
                found[stream] = requests
                break
    return found


def main() -> int:
    """Measure, print, write; return 1 when a false decision is more frequent than promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--streams", type=int, default=200, help="streams for each row at most (default 200)")
    size = parser.parse_args().streams
    header = ["change", "limit", "times the limit", "decided within 8 limits", "streams"]
    first = tables.table(header, changes(size))
    print(first + "\n", flush=True)
    rows, kept = false_decisions(size)
    second = tables.table(["nothing is wrong, or just the margin", "decided", "streams"], rows)
    print(second + "\n")
    (HERE / "results" / "robustness.md").write_text(f"{first}\n\n{second}\n", "utf-8")
    print(
        "Goal (false decisions at most 5 %, within three standard errors): " + ("kept" if kept else "MISSED")
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
