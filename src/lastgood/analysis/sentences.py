"""Numbers as a person reads them. One sentence for each finding is put together from these."""

import math
from typing import Final

from lastgood.domain.plan import OnFail
from lastgood.domain.verdict import Verdict

MOST_TO_ONE: Final = 1_000_000
"""Evidence beyond this is told as "over 1 000 000 : 1"; as a number it is capped here too."""

_FINE: Final = 1e-12  # 40 : 1 is not 39.999 : 1
_ACTIONS: Final = {OnFail.ROLLBACK: "roll back", OnFail.HOLD: "hold", OnFail.ALERT: "alert"}

_WORDS: Final = {
    Verdict.PASSED: "passed",
    Verdict.INCONCLUSIVE: "not enough yet",
    Verdict.ERROR: "cannot be judged",
}


def count(value: int) -> str:
    """Return a count with its thousands apart: 5 432."""
    return f"{value:,}".replace(",", " ")


def percent(rate: float) -> str:
    """Return a rate in percent with two significant digits or one decimal, whichever shows more: 5.1 %, 0.052 %."""
    value = 100.0 * rate
    decimals = 1 if value >= 1.0 or value == 0.0 else 1 - math.floor(math.log10(value))
    return f"{value:.{min(decimals, 6)}f} %"


def seconds(value: float) -> str:
    """Return a duration in the unit that suits it: 850 us, 12.3 ms, 1.50 s."""
    if value < 0.001:
        return f"{value * 1e6:.0f} us"
    if value < 1.0:
        return f"{value * 1e3:.1f} ms"
    return f"{value:.2f} s"


def as_given(value: float) -> str:
    """Return a duration that somebody set, as it was set: 50 ms, 1.5 s."""
    for least, unit, size in ((1.0, "s", 1.0), (0.001, "ms", 1e3)):
        if value >= least:
            return f"{value * size:g} {unit}"
    return f"{value * 1e6:g} us"


def to_one(log_ratio: float) -> str:
    """Return evidence as a bet: 240 : 1."""
    if log_ratio > math.log(MOST_TO_ONE):
        return f"over {count(MOST_TO_ONE)} : 1"
    value = math.exp(log_ratio) * (1.0 + _FINE)
    if value < 0.1:
        return "under 0.1 : 1"
    return f"{value:.1f} : 1" if value < 10.0 else f"{count(math.floor(value))} : 1"


def bet(log_ratio: float, log_bound: float) -> str:
    """Return evidence and its bound: 240 : 1, bound 167 : 1.

    The bound is rounded up and evidence down, but never below a bound that it has reached.
    """
    bound = math.exp(log_bound) * (1.0 - _FINE)
    told = f"{bound:.1f}" if bound < 10.0 else count(math.ceil(bound))
    has_it = log_bound <= log_ratio and math.floor(math.exp(min(log_ratio, 700.0))) < bound
    return f"{told if has_it else to_one(log_ratio).removesuffix(' : 1')} : 1, bound {told} : 1"


def ratio(log_ratio: float) -> float:
    """Return evidence as a number, capped at :data:`MOST_TO_ONE`."""
    return min(float(MOST_TO_ONE), math.exp(min(log_ratio, 700.0)))


def plural(number: int, one: str, many: str) -> str:
    """Return the number with its noun."""
    return f"{count(number)} {one if number == 1 else many}"


def against(bad1: int, n1: int, bad0: int, n0: int) -> str:
    """Return both arms' rates and counts: 5.1 % against 1.0 %, 31 of 608 against 54 of 5 432."""
    if not n0:
        return f"{percent(bad1 / n1)}, {count(bad1)} of {count(n1)}, with nothing to compare"
    rates = f"{percent(bad1 / n1)} against {percent(bad0 / n0)}"
    return f"{rates}, {count(bad1)} of {count(n1)} against {count(bad0)} of {count(n0)}"


def more(missing: int) -> str:
    """Say how many more requests of the candidate it takes, at least one."""
    short = max(1, missing)
    return f"{plural(short, 'more candidate request is', 'more candidate requests are')} needed"


def word(verdict: Verdict, on_fail: OnFail, *, dry_run: bool) -> str:
    """Return the last word of a sentence: what follows."""
    told = _ACTIONS[on_fail] if verdict is Verdict.FAILED else _WORDS[verdict]
    if not dry_run:
        return told
    return f"would {told} (dry run)" if verdict is Verdict.FAILED else f"{told} (dry run)"
