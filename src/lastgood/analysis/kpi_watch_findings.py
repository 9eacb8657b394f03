"""What the watch says of a KPI: in words, in numbers, and whether going back would help."""

from typing import Any

from lastgood.analysis import changes, kpi_watch, sentences
from lastgood.analysis.going_back import Answer, Helps, compared, no_better, rate
from lastgood.analysis.kpi import PAIRED
from lastgood.analysis.kpi_state import KpiState
from lastgood.analysis.kpi_values import value_of
from lastgood.analysis.kpi_watch import KpiWatch, Seen
from lastgood.analysis.trials import Trials
from lastgood.domain.kpi import KpiCounts, Pairs
from lastgood.domain.plan import CONFUSIONS, Guardrail
from lastgood.stats import detector


def over(guardrail: Guardrail, counts: KpiCounts) -> bool:
    """Return whether labelled rows are over the hard limit; False below ``min_samples``."""
    if guardrail.maximum is None or counts.trials < max(1, guardrail.min_samples):
        return False
    return counts.bad / counts.trials > guardrail.maximum + 1e-12


def changed(guardrail: Guardrail, state: KpiState) -> bool:
    """Return whether the watch has found the promoted version worse than the one before."""
    watch = state.watch
    if not watch or not kpi_watch.is_worse(watch):
        return False
    return watch.total.beside.bad1 >= guardrail.min_bad


def worse_than_it_was(state: KpiState) -> bool:
    """Return whether the watch has found the promoted version worse than both versions were in the steps."""
    return kpi_watch.is_worse_than_it_was(state.watch) if state.watch else False


def both_over(guardrail: Guardrail, state: KpiState) -> bool:
    """Return whether the candidate breaks the hard limit and what it is held against does so hardly less.

    That is the version before where it answered enough of the same requests in the watch, else stable.
    """
    if not over(guardrail, state.total.candidate):
        return False
    beside = _seen(state).beside
    before = KpiCounts(trials=beside.n0, bad=beside.bad0)
    other = before if before.trials >= max(1, guardrail.min_samples) else state.total.stable
    own, limit = state.total.candidate, guardrail.maximum
    if limit is None or not over(guardrail, other):
        return False
    return no_better(own.bad / own.trials, other.bad / other.trials, limit)


def told(guardrail: Guardrail, state: KpiState, *, blamed: bool) -> list[str]:
    """Return clauses about the watch and about going back; ``blamed`` is whether the candidate has failed by itself."""
    clauses, seen = [], _seen(state)
    rise = worse_than_it_was(state) and not blamed
    if rise:
        was = _value(guardrail, state.watch.steps) if state.watch else ""
        clauses.append(f"in the watch {_value(guardrail, seen.alone)} against {was} in the steps")
        clauses.append(_of_the_world(guardrail, state))
    elif seen.beside.n1 and seen.beside.n0:
        worse = ", so it has become worse" if changed(guardrail, state) else ""
        own, other = _value(guardrail, seen.beside), _other(guardrail, seen.beside)
        clauses.append(
            f"in the watch {own} against {other} of the version before on the same requests"
            f"{_differ(guardrail, seen)}{worse}"
        )
    if both_over(guardrail, state) and not blamed:
        enough = seen.beside.n0 >= max(1, guardrail.min_samples)
        stable = state.total.stable
        counts = Trials(n0=stable.trials, bad0=stable.bad)
        name, value = ("the version before", seen.beside) if enough else ("stable", counts)
        clauses.append(f"{name} is under it too ({_other(guardrail, value)}): going back would not help")
    return clauses


def numbers(guardrail: Guardrail, state: KpiState, *, blamed: bool) -> dict[str, Any]:
    """Return ``watch`` and ``helps``; nothing before the watch, unless both arms break the hard limit."""
    found: dict[str, Any] = {}
    if state.watch:
        found["watch"] = _watch(state.watch)
    if state.watch or (both_over(guardrail, state) and not blamed):
        found["helps"] = answer(guardrail, state, blamed=blamed).numbers()
    return found


def answer(guardrail: Guardrail, state: KpiState, *, blamed: bool) -> Answer:
    """Return whether going back would help.

    No, where both break the hard limit, or where by the pairs (at least ``min_samples``) it would win back less than half
    of what was lost since the steps.
    """
    seen = _seen(state)
    beside, pairs = seen.beside, seen.pairs
    least = max(1, guardrail.min_samples)
    own, other = rate(beside.bad1, beside.n1), rate(beside.bad0, beside.n0)
    verdict = Helps.UNKNOWN
    if blamed:
        verdict = Helps.YES
    elif both_over(guardrail, state):
        verdict = Helps.NO
    elif over(guardrail, state.total.candidate) and beside.n0 >= least:
        verdict = Helps.YES
    elif worse_than_it_was(state) and state.watch and own is not None and other is not None:
        was = rate(state.watch.steps.bad1, state.watch.steps.n1) or 0.0
        if min(beside.n1, beside.n0) >= least and own - other < 0.5 * (own - was):
            verdict = Helps.NO
    paired = guardrail.metric in PAIRED
    return Answer(
        verdict=verdict,
        pairs=pairs.pairs if paired else min(beside.n1, beside.n0),
        differ=pairs.only1 + pairs.only0 if paired else None,
        candidate_wrong=own,
        stable_wrong=other,
    )


def _of_the_world(guardrail: Guardrail, state: KpiState) -> str:
    seen = _seen(state)
    if not seen.beside.n0:
        return "nobody answers the same requests beside it, so whether going back would help is not known"
    other = _other(guardrail, seen.beside)
    found = answer(guardrail, state, blamed=False)
    if found.verdict is Helps.NO:
        better = compared(found.candidate_wrong, found.stable_wrong)
        return (
            f"the version before does {better} on the same requests ({other}{_differ(guardrail, seen)}): "
            "going back would not help"
        )
    return (
        f"the version before has {other} on {sentences.count(seen.beside.n0)} of the same requests: whether going back "
        "would help is not known yet"
    )


def _differ(guardrail: Guardrail, seen: Seen) -> str:
    if guardrail.metric not in PAIRED or not seen.pairs.pairs:
        return ""
    pairs = sentences.plural(seen.pairs.pairs, "pair", "pairs")
    return f", of {pairs} they differ in {sentences.count(seen.pairs.only1 + seen.pairs.only0)}"


def _value(guardrail: Guardrail, trials: Trials) -> str:
    """Return the metric of the promoted version's rows."""
    return _said(guardrail, trials.bad1, trials.n1)


def _other(guardrail: Guardrail, trials: Trials) -> str:
    """Return the metric of the other arm's rows."""
    return _said(guardrail, trials.bad0, trials.n0)


def _said(guardrail: Guardrail, bad: int, trials: int) -> str:
    value = value_of(guardrail, KpiCounts(trials=trials, bad=bad)) if guardrail.metric in CONFUSIONS else None
    return "nothing" if value is None else sentences.percent(value)


def _seen(state: KpiState) -> Seen:
    return state.watch.total if state.watch else Seen()


def _watch(watch: KpiWatch) -> dict[str, Any]:
    seen = watch.total
    parts = [
        {
            "name": "the version before",
            "log_e": changes.log_e(watch.against),
            "bound": watch.against.state.run_length,
            "reached": changes.reached(watch.against),
        }
    ]
    if watch.was is not None:
        parts.append(
            {
                "name": "the steps",
                "log_e": detector.log_e(watch.was),
                "bound": watch.was.run_length,
                "reached": detector.reached(watch.was),
                "reference": watch.was.reference,
            }
        )
    return {
        "candidate": {
            "requests": seen.alone.n1,
            "bad": seen.alone.bad1,
            "rate": rate(seen.alone.bad1, seen.alone.n1),
        },
        "stable": {
            "requests": seen.beside.n0,
            "bad": seen.beside.bad0,
            "rate": rate(seen.beside.bad0, seen.beside.n0),
        },
        "pairs": pairs_numbers(seen.pairs),
        "parts": parts,
    }


def pairs_numbers(pairs: Pairs) -> dict[str, int]:
    """Return how many pairs there were, and in how many just the candidate, just stable, or both were wrong."""
    return {"pairs": pairs.pairs, "only1": pairs.only1, "only0": pairs.only0, "both": pairs.both}
