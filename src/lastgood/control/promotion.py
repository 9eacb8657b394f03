"""When a candidate may become stable, and what is still missing. Pure.

A plan promotes when its steps are over and every guardrail has passed (``measured``), or as soon as every
comparison has shown that the candidate is not worse than its proof margin (``proven``). Either way nothing is
promoted that has not been measured, and no gate that a person opens is passed over.
"""

from lastgood.control.moves import Move, Situation, promote
from lastgood.domain.plan import NoData, OnFail, Plan, PromoteWhen, StepKind
from lastgood.domain.release import MOVING, HoldReason, Phase, Release, Rule
from lastgood.domain.verdict import Finding, Verdict

_HEALTH = "health"


def in_force(release: Release, findings: tuple[Finding, ...]) -> list[Finding]:
    """Return the findings that can stand in the way of a promotion."""
    return [
        finding
        for finding in findings
        if not finding.dry_run
        and finding.on_fail is not OnFail.ALERT
        and finding.no_data is not NoData.IGNORE
        and finding.guardrail not in release.waived
    ]


def undecided(release: Release, seen: Situation) -> list[Finding]:
    """Return the findings that stand between the last step and the promotion."""
    if not measures(release.plan):
        return []
    open_ones = _unproven if release.plan.promote_when is PromoteWhen.PROVEN else _unpassed
    return open_ones(in_force(release, seen.findings))


def missing(release: Release, seen: Situation) -> list[str]:
    """Say what stands between the last step and the promotion; nothing when the plan promotes then."""
    if not measures(release.plan):
        return []
    told = [finding.sentence for finding in undecided(release, seen)]
    measuring = [finding for finding in seen.findings if finding.metric != _HEALTH]
    if measuring and all(finding.no_data is not None for finding in measuring):
        told.append("no guardrail has measured anything of the candidate yet")
    proving = release.plan.promote_when is PromoteWhen.PROVEN
    if proving and not any(finding.proven for finding in in_force(release, seen.findings)):
        told = told or ["no guardrail that compares is in force, so nothing can be proven"]
    if release.plan.shadows and not (seen.requests or release.shadows):
        told.append("the candidate has answered no request of this step, only copies before")
    left = _soak_left(release, seen)
    if left > 0.0:
        told.append(f"the plan's soak lasts {left:.0f} s more")
    return told


def as_soon_as_proven(release: Release, seen: Situation) -> Move | None:
    """Return the promotion of a candidate that is proven not worse, None while it is not or a gate lies ahead."""
    plan = release.plan
    if plan.promote_when is not PromoteWhen.PROVEN or not measures(plan) or _gate_ahead(release):
        return None
    timed = release.hold is not None and release.hold.reason is HoldReason.PAUSE
    if release.phase is Phase.PAUSED and not timed:
        return None
    if _only_copies(release, seen) or missing(release, seen):
        return None
    return _promotion(release, seen, Rule.PROVEN, _proof_told(release, seen))


def after_last_step(release: Release, seen: Situation, cause: str) -> Move | None:
    """Return the promotion at the end of the last step, None while anything is missing, and on copies alone."""
    if release.shadows or missing(release, seen):
        return None  # never a silent promotion: the deadline decides what happens to the undecided
    if not measures(release.plan):
        return _promotion(release, seen, Rule.AT_ONCE, f"{cause}; the plan measures nothing before")
    if release.plan.promote_when is PromoteWhen.PROVEN:
        return _promotion(release, seen, Rule.PROVEN, f"{cause}; {_proof_told(release, seen)}")
    return _promotion(release, seen, Rule.MEASURED, f"{cause}, measured, and every guardrail has passed")


def measures(plan: Plan) -> bool:
    """Whether the plan has a step with a weight; one of pauses and approvals alone has nothing to measure."""
    return any(step.kind is StepKind.WEIGHT for step in plan.steps)


def lasts(release: Release, seen: Situation) -> bool:
    """Whether the time or the samples of the present step are not over; a standing shadow's never are."""
    step = release.plan.steps[release.step]
    if release.plan.stands_at(release.step):
        return True
    return seen.now - release.step_since < (step.duration or 0.0) or seen.requests < step.samples


def waiting_for(release: Release, seen: Situation) -> str:
    """Say in one sentence what a release that does not move is waiting for."""
    if release.hold is not None:
        return release.hold.message
    if release.phase not in MOVING:
        return release.cause
    if release.plan.stands_at(release.step):
        return f"it stands until a person ends it: lastgood promote {release.deployment}"
    step = release.plan.steps[release.step]
    told = []
    left = release.step_since + (step.duration or 0.0) - seen.now
    if left > 0:
        told.append(f"{left:.0f} s more")
    if seen.requests < step.samples:
        what = "pairs" if step.kind is StepKind.SHADOW else "candidate requests"
        told.append(f"{seen.requests} of {step.samples} {what}")
    if not told and release.step + 1 >= len(release.plan.steps):
        told = missing(release, seen)
    return "waiting for " + "; ".join(told) if told else "about to go on"


def _unpassed(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR)]


def _unproven(findings: list[Finding]) -> list[Finding]:
    """Return the comparisons without proof, and what does not compare and has not passed."""
    return [
        finding
        for finding in findings
        if finding.verdict in (Verdict.ERROR, Verdict.FAILED)
        or finding.proven is False
        or (finding.proven is None and finding.verdict is not Verdict.PASSED)
    ]


def _gate_ahead(release: Release) -> bool:
    """Whether a person has to act before the last step is over, by the plan itself."""
    return any(
        step.kind is StepKind.APPROVE or (step.kind is StepKind.PAUSE and step.duration is None)
        for step in release.plan.steps[release.step :]
    )


def _only_copies(release: Release, seen: Situation) -> bool:
    """Whether a plan with shadow steps has not yet got past its first step with a weight."""
    plan, stage = release.plan, release.plan.stage_at(release.step)
    if not plan.shadows:
        return False
    weighed = sum(step.kind is StepKind.WEIGHT for step in plan.steps[: stage + 1])
    return weighed == 0 or (weighed == 1 and stage == release.step and lasts(release, seen))


def _soak_left(release: Release, seen: Situation) -> float:
    """Return the seconds until the plan's soak is over; a release from before it was noted counts from its step."""
    since = release.step_since if release.traffic_since is None else release.traffic_since
    return since + release.plan.soak - seen.now if release.plan.soak > 0.0 else 0.0


def _proof_told(release: Release, seen: Situation) -> str:
    names = [finding.guardrail for finding in in_force(release, seen.findings) if finding.proven]
    return f"proven not worse within the plan's margins: {', '.join(names)}"


def _promotion(release: Release, seen: Situation, rule: Rule, cause: str) -> Move:
    return promote(release, seen, cause, rule=rule, findings=seen.findings)
