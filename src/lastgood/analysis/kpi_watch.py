"""The watch of KPIs: whether the promoted version is worse than the one before, and whether it is worse than it was.

The first question is asked of pairs, copies of the same requests that the version before answered: of accuracy and recall
pair by pair, of precision and F1 with both answers as two arms. The second is asked of all that the promoted version
answered, against a reference: what both arms were wrong on in the steps. A daily cycle or a change of the world answers yes
to it, so on its own it blames nobody: what follows from it is a hold.

Labels count in the minute in which they are read, when it is over. A mean (``mean``, ``mae``) has no detector: of ``mae`` the
steps' test goes on with the pairs of the watch, of both the hard limit does.
"""

import math
from typing import Final

import msgspec

from lastgood.analysis import changes
from lastgood.analysis.changes import Change, ChangeInPairs
from lastgood.analysis.kpi import PAIRED
from lastgood.analysis.trials import Trials
from lastgood.domain.kpi import Kpi, Pairs
from lastgood.domain.plan import Guardrail, MarginKind
from lastgood.stats import detector

REFERENCE_LEAST: Final = 100
"""Labelled rows of the steps, of both arms together, before anything is held against them."""

ALLOWANCE: Final = 1.2
"""The odds by which the promoted version may be worse than the reference; the margin, where that is more."""

_WIDTH: Final = 2.0  # standard errors: what so few rows may be wrong by is the version's, not the world's
_MINUTE: Final = 60.0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was labelled of the watch: all rows of the promoted version (``n1``, ``bad1``), both arms' rows of pairs, the pairs."""

    alone: Trials = Trials()
    beside: Trials = Trials()
    pairs: Pairs = Pairs()

    def plus(self, other: "Seen") -> "Seen":
        """Return the sum."""
        return Seen(
            alone=self.alone.plus(other.alone),
            beside=self.beside.plus(other.beside),
            pairs=self.pairs.plus(other.pairs),
        )


class KpiWatch(msgspec.Struct, frozen=True, kw_only=True):
    """One guardrail's watch.

    ``against`` looks at the version before, ``was`` at the reference (None until there is one). ``open`` is the minute that is
    not over (epoch seconds // 60), ``total`` sums all of them. ``steps`` are both arms' rows of the steps together, as of the
    last minute that was closed.
    """

    run_length: float
    against: Change | ChangeInPairs
    was: detector.Detector | None = None
    minute: int | None = None
    open: Seen = Seen()
    total: Seen = Seen()
    steps: Trials = Trials()


def initial(guardrail: Guardrail, run_length: float) -> KpiWatch:
    """Return the watch before any label; ``run_length`` in minutes, of each of its two detectors."""
    if guardrail.metric in PAIRED:
        return KpiWatch(run_length=run_length, against=changes.change_in_pairs(guardrail.margin, run_length))
    return KpiWatch(run_length=run_length, against=changes.change(guardrail.margin, run_length))


def after(
    watch: KpiWatch, guardrail: Guardrail, kpi: Kpi, steps: Trials, *, paired: bool, at: float
) -> KpiWatch:
    """Return the watch after one more stratum of labels, read ``at`` epoch seconds.

    ``steps`` are the labelled rows of both arms in the steps so far, together. ``paired`` is whether the stratum is about pairs.
    """
    minute = int(at // _MINUTE)
    if watch.minute is None or minute > watch.minute:
        watch = msgspec.structs.replace(_closed(watch, guardrail, steps), minute=minute, open=Seen())
    own, other = kpi.candidate, kpi.stable
    seen = Seen(
        alone=Trials(n1=own.trials, bad1=own.bad),
        beside=Trials(own.trials, own.bad, other.trials, other.bad) if paired else Trials(),
        pairs=kpi.pairs or Pairs(),
    )
    return msgspec.structs.replace(watch, open=watch.open.plus(seen), total=watch.total.plus(seen))


def reference(guardrail: Guardrail, steps: Trials) -> float | None:
    """Return the rate of wrong rows from which the promoted version is worse than it was; None without enough rows.

    It is the upper end of what the rate in the steps may have been (two standard errors, by Wilson), and the
    allowance on top: odds of 1.2 or the margin, whichever is more.
    """
    n, bad = steps.n1, steps.bad1
    if n < REFERENCE_LEAST:
        return None
    rate, square = bad / n, _WIDTH * _WIDTH
    spread = _WIDTH * math.sqrt(rate * (1.0 - rate) / n + square / (4.0 * n * n))
    upper = min((rate + square / (2.0 * n) + spread) / (1.0 + square / n), 1.0 - 1e-9)
    odds = guardrail.margin.value if guardrail.margin.kind is MarginKind.ODDS else ALLOWANCE
    most = _times(upper, max(odds, ALLOWANCE))
    if guardrail.margin.kind is MarginKind.ABSOLUTE:
        most = max(most, upper + guardrail.margin.value)
    return most if most < 1.0 else None


def is_worse(watch: KpiWatch) -> bool:
    """Return whether the promoted version has become worse than the one before."""
    return changes.reached(watch.against)


def is_worse_than_it_was(watch: KpiWatch) -> bool:
    """Return whether the promoted version has become worse than both versions were in the steps."""
    return watch.was is not None and detector.reached(watch.was)


def _closed(watch: KpiWatch, guardrail: Guardrail, steps: Trials) -> KpiWatch:
    seen, against = watch.open, watch.against
    if isinstance(against, ChangeInPairs):
        against = changes.with_pairs(against, seen.pairs)
    else:
        against = changes.with_minute(against, seen.beside)
    was, rate = watch.was, reference(guardrail, steps)
    if rate is not None and seen.alone.n1:
        state = was or detector.initial_against(watch.run_length, rate)
        was = detector.update(msgspec.structs.replace(state, reference=rate), seen.alone.n1, seen.alone.bad1)
    return msgspec.structs.replace(watch, against=against, was=was, steps=steps)


def _times(rate: float, odds: float) -> float:
    """Return the rate whose odds are so many times those of ``rate``."""
    return odds * rate / (1.0 - rate + odds * rate)
