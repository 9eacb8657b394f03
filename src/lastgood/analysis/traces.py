"""How the evidence of a release grew, stratum by stratum: what pictures of it are drawn from. Pure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.record import read
from lastgood.domain.change import Evidence
from lastgood.domain.plan import Plan
from lastgood.domain.traffic import Baseline, Stratum

POINTS_MAX: Final = 160


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """Where one guardrail's evidence was after ``strata`` strata, the last of which closed at ``at`` (epoch seconds).

    ``part`` is the logarithm of the evidence in parts of that of its bound: from 1 on it is enough. The comparison
    that is nearest to its bound counts.
    """

    strata: int
    at: float
    candidate_requests: int
    part: float


class StageTraffic(msgspec.Struct, kw_only=True):
    """What both arms had in one stage, and between which times (epoch seconds). ``pairs``: it was requests and their copies."""

    stage: int
    pairs: bool
    since: float
    until: float
    candidate: int = 0
    stable: int = 0
    candidate_bad: int = 0
    stable_bad: int = 0


class Traces(msgspec.Struct, frozen=True, kw_only=True):
    """``points`` by guardrail, at most :data:`POINTS_MAX` each, the last stratum among them; ``stages`` in order."""

    points: dict[str, list[Point]]
    stages: list[StageTraffic]


def traces(plan: Plan, baseline: Baseline, release: int, strata: Iterable[Stratum], *, count: int) -> Traces:
    """Return the traces over ``strata``, of which there are ``count``."""
    every = max(1, math.ceil(count / POINTS_MAX))
    evidence = Evidence(release=release)
    points: dict[str, list[Point]] = {}
    stages: dict[int, StageTraffic] = {}
    for stratum in strata:
        evidence = fold(plan, baseline, evidence, (stratum,))
        _count(plan, stages, stratum)
        if evidence.sequence % every and evidence.sequence != count:
            continue
        requests = read(evidence.states).total.candidate.requests
        for finding in judge(plan, baseline, evidence, misses=0, intervals=False):
            part = _part(finding.numbers)
            if part is not None:
                point = Point(
                    strata=evidence.sequence, at=stratum.closed_at, candidate_requests=requests, part=part
                )
                points.setdefault(finding.guardrail, []).append(point)
    return Traces(points=points, stages=[stages[stage] for stage in sorted(stages)])


def _count(plan: Plan, stages: dict[int, StageTraffic], stratum: Stratum) -> None:
    if stratum.labels or stratum.drift or stratum.custom or stratum.agreement:
        return
    at = stratum.closed_at
    begun = StageTraffic(stage=stratum.stage, pairs=plan.pairs_at(stratum.stage), since=at, until=at)
    here = stages.setdefault(stratum.stage, begun)
    here.until = at
    here.candidate += stratum.candidate.requests
    here.stable += stratum.stable.requests
    here.candidate_bad += stratum.candidate.errors + stratum.candidate.invalid
    here.stable_bad += stratum.stable.errors + stratum.stable.invalid


def _part(numbers: Mapping[str, Any]) -> float | None:
    """Return how near the nearest comparison is to its bound, None where nothing is compared."""
    told = [*(numbers.get("parts") or [numbers]), *numbers.get("slices", ())]
    found = [
        one["log_e"] / math.log(one["bound"])
        for one in told
        if one.get("log_e") is not None and (one.get("bound") or 0.0) > 1.0
    ]
    return max(found, default=None)
