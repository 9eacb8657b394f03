"""The course that another plan would have taken over the recorded strata of a release. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from lastgood.analysis.custom_state import terms_of
from lastgood.analysis.drift_state import counts_for
from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.record import read
from lastgood.domain.change import Evidence
from lastgood.domain.plan import DRIFTS, KPIS, Guardrail, Metric, OnFail, Plan, UnitsChoice
from lastgood.domain.traffic import Baseline, Stratum, Units
from lastgood.domain.verdict import Finding, Verdict


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The first failure of one guardrail: after ``strata`` strata, the last of which closed at ``at`` (epoch seconds).

    ``candidate_requests`` are all that strata held until then, ``labelled_rows`` the candidate's for a guardrail that
    needs labels. ``follows`` is what the plan does then: its ``on_fail``, or ``nothing`` on a dry run.
    """

    guardrail: str
    follows: str
    sentence: str
    strata: int
    stage: int
    at: float
    candidate_requests: int
    labelled_rows: int | None = None


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan would have done with recorded traffic.

    ``turns`` are the failures in their order, up to the first one that rolls back (``rolled_back``), else all there
    are. ``findings`` is how the guardrails stood at the end of that. ``strata``, ``candidate_requests``, ``began`` and ``ended``
    are what was replayed. ``not_replayed`` names what of the plan the recorded traffic cannot answer, and why: nothing
    follows from these guardrails, and they are not among the findings, unless only a counter is missing.
    """

    rolled_back: bool
    turns: tuple[Turn, ...]
    findings: tuple[Finding, ...]
    strata: int
    candidate_requests: int
    stable_requests: int
    began: float | None
    ended: float | None
    not_replayed: dict[str, str]


def course(
    plan: Plan, baseline: Baseline, strata: Iterable[Stratum], *, release: int, recorded: Plan
) -> Course:
    """Return what ``plan`` would have done with the strata that ``release`` left, which was run by ``recorded``.

    Guardrails are judged after every stratum, as in a release. Traffic is what it was: the plan's own weights, times and
    samples move nothing, and its health checks are not recorded, so they pass. The watch of the recorded plan is the
    watch of this one.
    """
    evidence = Evidence(release=release)
    turns: list[Turn] = []
    findings: tuple[Finding, ...] = ()
    began = ended = None
    known = _known(plan, baseline)
    unanswered = _unanswered(plan, recorded) | ({} if release else _untabled(plan))
    own_split = release > 0 and plan.steps == recorded.steps  # else other weights split this traffic
    for stratum in _restaged(strata, plan, recorded):
        began = stratum.closed_at if began is None else began
        ended = stratum.closed_at
        evidence = fold(plan, known, evidence, (stratum,), split=own_split)
        judged = judge(plan, known, evidence, misses=0, intervals=False)
        findings = tuple(one for one in judged if one.guardrail not in unanswered)
        turns += _turns(findings, {one.guardrail for one in turns}, evidence, stratum)
        if turns and turns[-1].follows == OnFail.ROLLBACK.value:
            break
    total = read(evidence.states).total
    return Course(
        rolled_back=bool(turns) and turns[-1].follows == OnFail.ROLLBACK.value,
        turns=tuple(turns),
        findings=findings,
        strata=evidence.sequence,
        candidate_requests=total.candidate.requests,
        stable_requests=total.stable.requests,
        began=began,
        ended=ended,
        not_replayed=unanswered | _uncounted(plan, findings) | _unkeyed(plan, known),
    )


def _known(plan: Plan, baseline: Baseline) -> Baseline:
    """Return the baseline with the plan's own units, unless keys were not recorded because nobody asked for them."""
    if plan.units is UnitsChoice.AUTO or (
        plan.units is UnitsChoice.KEYS and baseline.units is not Units.KEYS
    ):
        return baseline
    return msgspec.structs.replace(baseline, units=Units(plan.units.value), why="the plan says so")


def _restaged(strata: Iterable[Stratum], plan: Plan, recorded: Plan) -> Iterator[Stratum]:
    """Yield the strata with their stages where the plan has them."""
    for stratum in strata:
        yield msgspec.structs.replace(stratum, stage=_stage_in(plan, recorded, stratum.stage))


def _stage_in(plan: Plan, recorded: Plan, stage: int) -> int:
    """Return the watch for the watch; else the nearest step, of those with copies for copies, where the plan has any."""
    if stage >= recorded.watch_stage:
        return plan.watch_stage + stage - recorded.watch_stage
    place, pairs = min(stage, max(0, plan.watch_stage - 1)), recorded.pairs_at(stage)
    alike = [index for index in range(len(plan.steps)) if plan.pairs_at(index) == pairs]
    return min(alike, key=lambda index: abs(index - place), default=place)


def _turns(
    findings: Iterable[Finding], told: set[str], evidence: Evidence, stratum: Stratum
) -> Iterator[Turn]:
    """Yield the guardrails that have failed for the first time, what rolls back last."""
    fresh = [one for one in findings if one.verdict is Verdict.FAILED and one.guardrail not in told]
    requests = read(evidence.states).total.candidate.requests
    for one in sorted(fresh, key=_follows_rollback):
        yield Turn(
            guardrail=one.guardrail,
            follows="nothing" if one.dry_run else one.on_fail.value,
            sentence=one.sentence,
            strata=evidence.sequence,
            stage=stratum.stage,
            at=stratum.closed_at,
            candidate_requests=requests,
            labelled_rows=one.numbers.get("candidate_rows"),
        )
        if _follows_rollback(one):
            return


def _follows_rollback(finding: Finding) -> bool:
    return finding.on_fail is OnFail.ROLLBACK and not finding.dry_run


def _unanswered(plan: Plan, recorded: Plan) -> dict[str, str]:
    """Return the guardrails that no recorded traffic answers, or that were counted in another way, and why."""
    asked = {one.name: _asks(one) for one in recorded.guardrails if one.metric is Metric.CUSTOM}
    counted = {one.name: (one.metric, one.kpi) for one in recorded.guardrails if one.metric in KPIS}
    agreed = {one.name: one.agreement for one in recorded.guardrails}
    columns = {one.name: set(one.slices) for one in recorded.guardrails}
    told = {}
    for one in plan.guardrails:
        if one.metric is Metric.HEALTH:
            told[one.name] = "no stratum holds whether a host answered"
        elif one.metric is Metric.CUSTOM and asked.get(one.name) != _asks(one):
            told[one.name] = "only what the release's own plan asked for was measured"
        elif one.metric in KPIS and counted.get(one.name) != (one.metric, one.kpi):
            told[one.name] = "labels were counted for the guardrails of the release's own plan alone"
        elif not columns.get(one.name, set()).issuperset(one.slices):
            told[one.name] = "labels were counted for the columns of the release's own plan alone"
        elif one.agreement is not None and one.agreement != agreed.get(one.name):
            told[one.name] = "answers were compared as the release's own plan says alone"
        elif one.metric in DRIFTS and not counts_for(recorded, one):
            told[one.name] = "values were counted for what the release's own plan looks at alone"
    return told


def _untabled(plan: Plan) -> dict[str, str]:
    """Return the guardrails that a table of outcomes does not answer, which has no release."""
    return {
        one.name: "a table of outcomes holds no inputs, and of outputs only the right and the wrong ones"
        for one in plan.guardrails
        if one.metric in DRIFTS or one.metric is Metric.AGREEMENT
    }


def _asks(guardrail: Guardrail) -> tuple[object, ...]:
    """Return what a custom guardrail asks, and of whom: its bounds and times may be others."""
    terms = terms_of(guardrail)
    return terms.kind, terms.ask, terms.url, terms.value, terms.counts


def _uncounted(plan: Plan, findings: Iterable[Finding]) -> dict[str, str]:
    unmeasured = {one.guardrail for one in findings if one.no_data is not None}
    told = {
        one.name: f"no version reported the counter {one.counter}"
        for one in plan.guardrails
        if one.metric is Metric.COUNTER and one.name in unmeasured
    }
    outside = [one for one in findings if one.metric == Metric.CUSTOM.value]
    return told | {
        one.guardrail: "nothing was measured outside" for one in outside if not one.numbers["measurements"]
    }


def _unkeyed(plan: Plan, known: Baseline) -> dict[str, str]:
    if plan.units is not UnitsChoice.KEYS or known.units is Units.KEYS:
        return {}
    return {"units: keys": f"no keys were recorded: units are {known.units.value} instead"}
