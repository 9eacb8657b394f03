"""An interval for a rate, to put beside it in words.

It holds for one look at a time fixed beforehand. Nothing is ever decided on it: decisions are looked at all the
time and need the sequential tests.
"""

import math
from statistics import NormalDist


def wilson(events: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (1927) for the rate behind ``events`` of ``trials``.

    Its coverage is ``confidence`` on average over rates, not for each rate; it stays within 0 and 1 and needs
    no iteration at any count. Without trials the rate may be anything: 0 to 1. Raises ValueError for
    impossible counts or a confidence that is not between 0 and 1.
    """
    if not 0 <= events <= trials:
        raise ValueError(f"impossible counts: {events} of {trials}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"the confidence must lie between 0 and 1, not {confidence}")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    rate = events / trials
    scale = 1.0 + z * z / trials
    middle = (rate + z * z / (2.0 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1.0 - rate) / trials + z * z / (4.0 * trials * trials))
    low = 0.0 if events == 0 else max(0.0, middle - half)
    high = 1.0 if events == trials else min(1.0, middle + half)
    return low, high
