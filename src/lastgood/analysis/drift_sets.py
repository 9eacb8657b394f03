"""Which sets of a feature's values are watched for growing, and how likely each may be. Pure.

Training is a sample too: of few rows its parts are only roughly known. So a set may be likelier than in training by the
tolerated distance and two standard errors; one that was chosen because it has grown, by what the choice alone makes of chance.
"""

import math
from collections.abc import Iterator
from typing import Final

import msgspec

from lastgood.analysis.drift_bins import bins_of, expected
from lastgood.domain.drift import BinCounts
from lastgood.domain.sketch import Feature

CLASSES: Final = 20
"""Classes that are watched one by one, the commonest first."""

CLASSES_OF_ALL: Final = 800
"""Those of all features together: the evidence is saved with each stratum."""

_CLASSES_LEAST: Final = 4
_ERRORS: Final = 2.0
_SPREAD: Final = (
    0.3  # standard deviation of the distance of a sample from its source, times the root of its size
)


class Watched(msgspec.Struct, frozen=True):
    """A set that is watched: ``kind`` says what it is called when it grows. Without ``bins`` they are chosen from the past."""

    kind: str
    bins: tuple[int, ...] = ()

    @property
    def chosen(self) -> bool:
        """Whether its bins are those that have been over-represented so far."""
        return self.kind == "moved" and not self.bins


def classes_of(features: int) -> int:
    """Return how many classes of each of so many features are watched one by one."""
    return max(_CLASSES_LEAST, min(CLASSES, CLASSES_OF_ALL // max(1, features)))


def sets_of(feature: Feature, classes: int) -> Iterator[Watched]:
    """Yield what is watched of a feature, always in the same order."""
    if feature.shares:
        last = bins_of(feature) - 1
        every = tuple(range(last))
        if feature.categorical:
            yield from (Watched("moved", (index,)) for index in every[:classes])
        else:
            half, quarter = len(every) // 2, max(1, len(every) // 4)
            parts = (every[len(every) - half :], every[:half], every[len(every) - quarter :], every[:quarter])
            yield from (Watched("moved", part) for part in parts)
        yield Watched("unseen", (last,))
        yield Watched("moved")
    yield Watched("missing")


def bins_now(one: Watched, feature: Feature, past: BinCounts) -> tuple[int, ...]:
    """Return the bins of a set for the next minute, known before it; none of what is missing, or nothing has grown."""
    if not one.chosen:
        return one.bins
    present = past.present
    pairs = enumerate(zip(past.bins, expected(feature), strict=True))
    return tuple(index for index, (count, share) in pairs if count > share * present)


def allowed(one: Watched, feature: Feature, bins: tuple[int, ...], *, distance: float, rows: int) -> float:
    """Return how likely a set may be: its part of the reference of so many ``rows``, its error, and the distance."""
    if one.kind == "missing":
        return feature.missing + _error(feature.missing, rows) + distance
    known = expected(feature)
    share = math.fsum(known[index] for index in bins)
    if not one.chosen:
        return share + _error(share, rows) + distance
    if not rows:
        return share + distance
    by_choice = 0.5 * math.fsum(math.sqrt(2.0 * part * (1.0 - part) / (math.pi * rows)) for part in known)
    return share + by_choice + _ERRORS * _SPREAD / math.sqrt(rows) + distance


def _error(share: float, rows: int) -> float:
    if not rows:
        return 0.0
    share = (min(max(share, 0.0), 1.0) * rows + 2.0) / (
        rows + 4.0
    )  # what never came in few rows may yet come
    return _ERRORS * math.sqrt(share * (1.0 - share) / rows)
