"""What other tools would have done with the same streams, by the rules on their own pages.

Each rule looks at whole minutes, as those tools do through a metric store, and returns after which minute it goes
back (``NEVER`` if it does not). None of them is handicapped: queries are exact, take no time, and see each minute at
its end. Where a page leaves a number to the user, the one that decides sooner is taken.
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NEVER = -1


def argo(requests: Ints, bad: Ints) -> Ints:
    """Argo Rollouts: the analysis template ``success-rate``.

    Rule (argo-rollouts.readthedocs.io/en/stable/features/analysis; analysis/analysis.go): a measurement succeeds when
    the success rate is at least 95 %; the run fails when more than ``failureLimit`` = 3 measurements have failed. The page
    measures every 5 minutes; here it is every minute (the other interval on that page), five times sooner.
    """
    return _after(_share(bad, requests) > 0.05, 4)


def flagger(requests: Ints, bad: Ints) -> Ints:
    """Flagger: the built-in metric ``request-success-rate``, or ``request-duration`` when bad means too slow.

    Rule (docs.flagger.app/usage/metrics and usage/how-it-works; pkg/controller/scheduler.go): every ``interval`` = 1m
    the success rate of the last minute must be at least ``min`` = 99 (p99 of the duration at most ``max`` = 500 ms,
    which is the same as 1 % above 500 ms); the canary is rolled back when failed checks, counted since
    the analysis began, have reached ``threshold`` = 5.
    """
    return _after(_share(bad, requests) > 0.01, 5)


def kayenta(candidate: Floats, stable: Floats, every: int = 30) -> Ints:
    """Kayenta (Spinnaker): NetflixACAJudge on one time series with a value a minute for each arm.

    Rule (spinnaker.io/docs/guides/user/canary/judge and best-practices; MannWhitneyClassifier.scala and
    NetflixACAJudge.scala of Kayenta): a Mann-Whitney test with confidence 98 %; the metric is High, and the canary
    fails, when the lower end of the confidence interval for the Hodges-Lehmann shift lies above a tolerance of 25 % of
    the estimate. The page asks for 50 values and proposes an hour between judgements; here it judges every 30 minutes,
    on all minutes so far, which is sooner.
    """
    quantile = float(norm.ppf(0.99))
    found = np.full(len(candidate), NEVER)
    for minutes in range(every, candidate.shape[1] + 1, every):
        for stream in np.flatnonzero(found == NEVER):
            if _high(candidate[stream, :minutes], stable[stream, :minutes], quantile):
                found[stream] = minutes - 1
    return found


def _high(candidate: Floats, stable: Floats, quantile: float) -> bool:
    """Whether the interval's lower end is above a quarter of the estimated shift.

    The end lies where the shifted statistic meets ``quantile``; the statistic falls with the shift, so it is
    enough to compute it once, at the quarter.
    """
    gaps = candidate[:, None] - stable[None, :]
    shift = 0.25 * abs(float(np.median(gaps)))
    pairs = gaps.size
    lead = float(np.sum(gaps > shift) + 0.5 * np.sum(gaps == shift)) - 0.5 * pairs
    pooled = np.concatenate((candidate - shift, stable))
    ties = np.unique(pooled, return_counts=True)[1].astype(float)
    size = len(pooled)
    variance = pairs / 12 * (size + 1 - float(np.sum(ties**3 - ties)) / (size * (size - 1)))
    return variance > 0 and (lead - 0.5 * np.sign(lead)) / variance**0.5 > quantile


def _share(bad: Ints, requests: Ints) -> Floats:
    """The share of bad requests; a minute without requests is no measurement and fails nothing."""
    return np.divide(bad, requests, out=np.zeros(bad.shape), where=requests > 0)


def _after(failed: npt.NDArray[np.bool_], times: int) -> Ints:
    """The minute in which the given number of failed checks was reached."""
    reached = np.cumsum(failed, axis=1) >= times
    return np.where(reached.any(axis=1), reached.argmax(axis=1), NEVER)
