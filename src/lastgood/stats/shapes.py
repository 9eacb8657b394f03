"""What slower values look like by rank: the density ratios that :mod:`lastgood.stats.ranks` bets on.

Ranks between 0 and 1, of the past of both arms, are parted into classes. Each shape is a density ratio of arm 1 to arm 0 that
does not fall with the rank:

* a part of the values is slower by so many normal scores: all of them by 0.1 (a small shift) to 1.6, a tenth by 4, one in a
  hundred by 3. A part ``e`` slower by ``d`` has the ratio ``1 - e + e exp(d z - d**2/2)`` at the normal score ``z``;
* more values past one rank, alike among themselves: where values come in two or more groups, such as hits and misses of
  a cache, of which one grows.

Shapes and prior were chosen over 26 changes (shifts, slower parts from 0.3 to 30 % by factors of 1.5 to 20, groups,
heavy tails) so that none of them takes much longer than the others, in multiples of what any test must spend.
"""

from itertools import pairwise
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EDGES: Final = (
    *(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85),
    *(0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995),
)
"""Ranks at which the classes part."""

SLOWER_PARTS: Final = (
    *((1.0, 0.1, 1.0), (1.0, 0.2, 1.0), (1.0, 0.4, 2.0), (1.0, 0.8, 2.0), (1.0, 1.6, 1.0)),
    *(
        (0.2, 2.0, 2.0),
        (0.1, 4.0, 1.0),
        (0.05, 1.5, 0.5),
        (0.03, 3.0, 1.0),
        (0.03, 5.0, 1.0),
        (0.01, 3.0, 1.0),
    ),
)
"""Part of the values, normal scores by which it is slower, and how much money bets on it."""

STEPS: Final = ((0.5, 1.35, 1.0), (0.7, 1.35, 1.0), (0.95, 2.0, 0.5))
"""Rank, density ratio past it to that below, and how much money bets on it."""

_ALL_MONEY: Final = sum(money for _, _, money in (*SLOWER_PARTS, *STEPS))

PRIOR: Final = tuple(money / _ALL_MONEY for _, _, money in (*SLOWER_PARTS, *STEPS))
"""Each shape's part of the money, in the order of :data:`DENSITIES`."""


def _slower_part(part: float, scores: float) -> list[float]:
    """Return by class the mean density ratio when a part of the values is slower by so many normal scores."""
    bell = NormalDist()
    upto = [0.0, *(bell.cdf(bell.inv_cdf(edge) - scores) for edge in EDGES), 1.0]
    ranks = (0.0, *EDGES, 1.0)
    masses = zip(pairwise(ranks), pairwise(upto), strict=True)
    return [1.0 - part + part * (top - low) / (high - start) for (start, high), (low, top) in masses]


def _step(edge: float, ratio: float) -> list[float]:
    """Return by class 1 below a rank and the ratio past it."""
    return [ratio if low >= edge else 1.0 for low in (0.0, *EDGES)]


DENSITIES: Final[Floats] = np.array(
    [
        *(_slower_part(part, scores) for part, scores, _ in SLOWER_PARTS),
        *(_step(edge, ratio) for edge, ratio, _ in STEPS),
    ]
)
"""The shapes' density ratios by class, one row each, not yet scaled to mean 1; all non-decreasing."""
