"""The boost of a bet: growth that would go past the bound is given to the outcomes that stay below it.

Only reaching ``1/alpha`` counts, so money beyond it is wasted. Let a bet's growth be ``f`` with a mean of at most 1 over
the outcomes that are possible, and ``T`` the growth that would just reach the bound. Then ``min(b f, T)`` has
mean 1 for the right ``b``, and takes its place. (Fischer and Ramdas, SPRT without overshoot, 2024.)
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def log_boost(log_chances: Floats, log_growth: Floats, log_needed: float) -> float:
    """Return ``log b`` with ``sum_i exp(log_chances[i]) * min(b exp(log_growth[i]), exp(log_needed)) = 1``.

    Guarantee: growth boosted and cut like this has a mean of at most 1 over outcomes with these chances, which sum
    to 1. ``log_needed`` is above 0, the others are finite. ``b`` is below 1 where the mean of the growth itself is
    above 1, as it may be over outcomes drawn by lot. Costs a sort of the outcomes.
    """
    order = np.argsort(log_growth, kind="stable")
    growth, weight = log_growth[order], log_chances[order]
    kept = np.logaddexp.accumulate(weight + growth)
    past = np.logaddexp.accumulate(weight[::-1])[::-1]
    log_b, cut = -float(kept[-1]), len(growth)
    while True:
        following = int(np.searchsorted(growth[:cut], log_needed - log_b, "left"))
        if following in (0, cut):
            return log_b
        cut = following
        spent = log_needed + float(past[cut])
        if spent >= 0.0:
            return log_b
        log_b = max(log_b, math.log(-math.expm1(spent)) - float(kept[cut - 1]))
