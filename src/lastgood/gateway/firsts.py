"""First bad requests by key: what one arm of a stage needs so that a caller who fails again is not new evidence.

Only keys that had a bad request are remembered, by 32 bits of their hash, so a release in which nothing fails costs
nothing.
"""

from collections.abc import Iterable
from typing import Final

from lastgood.domain.traffic import MAX_KEYS, Firsts

REMEMBERED_MAX: Final = 16 * MAX_KEYS
"""Keys that a worker remembers of one metric of one arm over all stages of a release."""

ERRORS: Final = "errors"
TIMEOUTS: Final = "timeouts"
INVALID: Final = "invalid_output"
_ALWAYS: Final = (ERRORS, TIMEOUTS, INVALID)

Seen = dict[str, set[int]]
"""The keys of one arm of a release whose first bad request is known, by metric. Stages share it."""


class FirstBad:
    """The first bad requests of one arm of one stage."""

    __slots__ = ("_seen", "by_metric")

    def __init__(self, seen: Seen) -> None:
        self.by_metric: dict[str, Firsts] = {}
        self._seen = seen

    def count(self, key: int, bad: Iterable[str], counters: Iterable[tuple[str, bool]]) -> None:
        """Count one request: ``bad`` are the metrics by which it was, ``counters`` the version's own of it."""
        for metric in _ALWAYS:
            if metric in bad:
                self._bad(metric, key)
            elif metric in self._seen:
                self._good(metric, key)
        for name, is_bad in counters:
            metric = f"counter:{name}"
            if is_bad:
                self._bad(metric, key)
            elif metric in self._seen:
                self._good(metric, key)

    def copies(self) -> dict[str, Firsts]:
        """Return the counts as they are now, for a report that is compared with the next one."""
        return {
            metric: Firsts(bad=one.bad, repeats=one.repeats, keys=list(one.keys), unlisted=one.unlisted)
            for metric, one in self.by_metric.items()
        }

    def _good(self, metric: str, key: int) -> None:
        if key in self._seen[metric]:
            self._of(metric).repeats += 1

    def _bad(self, metric: str, key: int) -> None:
        first = self._of(metric)
        first.bad += 1
        seen = self._seen.setdefault(metric, set())
        if key in seen:
            first.repeats += 1
            return
        if len(seen) < REMEMBERED_MAX:
            seen.add(key)
        if len(first.keys) < MAX_KEYS:
            first.keys.append(key)
        else:
            first.unlisted += 1

    def _of(self, metric: str) -> Firsts:
        found = self.by_metric.get(metric)
        if found is None:
            found = self.by_metric[metric] = Firsts()
        return found
