"""The reflex: a worker takes a candidate that fails nearly everything out by itself, after a handful of requests.

It does not wait for the controller's next look. It weighs "the candidate fails every other request" against "it fails
as stable does in this worker", by a cumulative sum of log-likelihood ratios that never falls below nothing. It
judges nobody: the release is held, and its guardrails say what the candidate was. Pure arithmetic.
"""

from math import log
from typing import Final

from lastgood.wire.reports import Reflex

BOUND: Final = log(1e8)
"""It trips at this log-likelihood ratio: so seldom by chance that no plan needs to know of it."""

LEAST_RATE: Final = 0.01
"""A candidate is always expected to fail this share of its requests, whatever stable does."""

ALLOWANCE: Final = 2.0
"""A candidate may fail this many times as often as stable."""

_BROKEN: Final = 0.5  # the rate of a candidate that is out of order
_PRIOR_REQUESTS: Final = 50
_LATELY_REQUESTS: Final = 10  # what happens now soon outweighs what was always so


class Cusum:
    """One try of one release. ``failures`` of the last ``requests`` requests failed and made ``score``.

    ``score`` is 0 while nothing speaks against the candidate; the run of requests begins anew then.
    """

    __slots__ = ("_begun", "_success", "failures", "requests", "score", "tries", "tripped")

    def __init__(self, tries: int = 0) -> None:
        self.tries = tries
        self.score = 0.0
        self.failures = 0
        self.requests = 0
        self.tripped = False
        self._success = 0.0
        self._begun = (0, 0)

    def succeeded(self) -> None:
        """Weigh a request that the candidate answered well."""
        if self.score > 0 and not self.tripped:
            self.requests += 1
            self.score += self._success
            if self.score <= 0:
                self._forget()

    def failed(self, stable_bad: int, stable_requests: int) -> bool:
        """Weigh a request that the candidate failed; return whether the worker shall send it nothing more.

        ``stable_bad`` of ``stable_requests`` failed in this worker so far; both only grow.
        """
        if self.tripped:
            return False
        if self.requests == 0:
            self._begun = (stable_bad, stable_requests)
        rate = self._expected(stable_bad, stable_requests)
        self._success = log(_BROKEN / (1 - rate))
        self.failures += 1
        self.requests += 1
        self.score += log(_BROKEN / rate)
        self.tripped = self.score >= BOUND
        if self.score <= 0:
            self._forget()
        return self.tripped

    def _expected(self, stable_bad: int, stable_requests: int) -> float:
        """Return the rate of failures that says nothing against the candidate, 0.01 to 0.5.

        Stable's rate is the higher of that in all the worker's life and that since this run of failures began: an
        outage that both suffer is not the candidate's.
        """
        always = (stable_bad + 0.5) / (stable_requests + _PRIOR_REQUESTS)
        bad, requests = stable_bad - self._begun[0], stable_requests - self._begun[1]
        lately = (bad + _LATELY_REQUESTS * always) / (requests + _LATELY_REQUESTS)
        return min(max(LEAST_RATE, ALLOWANCE * max(always, lately)), _BROKEN)

    def _forget(self) -> None:
        self.score = 0.0
        self.failures = self.requests = 0


class Reflexes:
    """The newest try of each release that the route table names."""

    def __init__(self) -> None:
        self._cusums: dict[int, Cusum] = {}

    def of(self, release: int, tries: int) -> Cusum:
        """Return the reflex of a release: a new one when it is tried again."""
        cusum = self._cusums.get(release)
        if cusum is None or cusum.tries < tries:
            cusum = self._cusums[release] = Cusum(tries)
        return cusum

    def keep(self, releases: frozenset[int]) -> None:
        """Forget all other releases."""
        for release in self._cusums.keys() - releases:
            del self._cusums[release]

    def tripped(self) -> list[Reflex]:
        """Return those that took their candidate out, for the report."""
        return [
            Reflex(
                release=release,
                tries=cusum.tries,
                failures=cusum.failures,
                requests=cusum.requests,
                log_likelihood=cusum.score,
            )
            for release, cusum in self._cusums.items()
            if cusum.tripped
        ]
