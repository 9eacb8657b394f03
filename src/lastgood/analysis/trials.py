"""Which trials a bad/total metric takes from a stratum: requests, or those before each key's first bad one."""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from lastgood.analysis.counts import COUNTER, bad_of, measured_of, requests_of
from lastgood.domain.plan import Guardrail, Metric
from lastgood.domain.traffic import ArmCounts, Firsts

MAX_HASHES: Final = 32_768
"""Keys remembered of each metric in a release. Later ones are told apart within each gateway worker alone."""


class Trials(msgspec.Struct, frozen=True, gc=False):
    """Trials and bad ones of both arms: 1 is the candidate's, 0 stable's."""

    n1: int = 0
    bad1: int = 0
    n0: int = 0
    bad0: int = 0

    def plus(self, other: "Trials") -> "Trials":
        """Return the sum."""
        return Trials(self.n1 + other.n1, self.bad1 + other.bad1, self.n0 + other.n0, self.bad0 + other.bad0)


def name_of(guardrail: Guardrail) -> str:
    """Return the name under which gateways count the first bad requests of a guardrail's metric."""
    return COUNTER + guardrail.counter if guardrail.metric is Metric.COUNTER else guardrail.metric.value


def by_request(metric: str, candidate: ArmCounts, stable: ArmCounts) -> Trials:
    """Return every request as a trial."""
    return Trials(*measured_of(candidate, metric), *measured_of(stable, metric))


def by_key(metric: str, candidate: ArmCounts, stable: ArmCounts, seen: bytes) -> tuple[Trials, bytes]:
    """Return the trials without what came of a key after its first bad request, and the keys seen from now on.

    ``seen`` holds the keys of the release so far, of both arms: a key that changes its arm brings no past along.
    A request is no trial when its worker had seen its key go bad, or when it is a first one there though another
    worker or stratum was earlier. Within one stratum stable's comes first. Requests without a key all count.
    """
    n0, bad0, seen = _arm(stable, metric, seen)
    n1, bad1, seen = _arm(candidate, metric, seen)
    return Trials(n1, bad1, n0, bad0), seen


def _arm(counts: ArmCounts, metric: str, seen: bytes) -> tuple[int, int, bytes]:
    first = counts.firsts.get(metric, Firsts())
    known = np.frombuffer(seen, dtype="<u4")
    fresh = np.setdiff1d(np.array(first.keys, dtype="<u4"), known)
    trials = requests_of(counts, metric) - first.repeats - (len(first.keys) - len(fresh))
    bad = bad_of(counts, metric) - first.bad + len(fresh) + first.unlisted
    return trials, bad, _remember(known, fresh)


def _remember(known: npt.NDArray[np.uint32], fresh: npt.NDArray[np.uint32]) -> bytes:
    room = max(0, MAX_HASHES - len(known))
    return np.union1d(known, fresh[:room]).astype("<u4").tobytes()
