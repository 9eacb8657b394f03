"""The split of requests between the arms: is it what the route says.

Arms whose split is another one are not alike but for the version: some requests were sent, lost or left out by what
they are, and nothing that compares the arms can be trusted. Why is not asked. Requests with a key follow their key, so
they are no independent draws and are left out; so are stages in which the route leaves nothing to chance.
"""

import math
from typing import Any, Final

import msgspec

from lastgood.analysis import sentences
from lastgood.domain.plan import Plan, StepKind
from lastgood.domain.route import FULL_WEIGHT
from lastgood.domain.traffic import Stratum
from lastgood.stats import shares
from lastgood.stats.shares import Shares

ALPHA: Final = 1e-6
"""The chance that a release whose requests are split as its plan says is ever told that they are not."""

Splits = dict[int, Shares]
"""By stage, counts of candidate and stable without keys: at most one for each weight step."""


class Fault(msgspec.Struct, frozen=True):
    """A split that is not what the route says, as it was when that was known: it stays so for the release."""

    stage: int
    state: Shares

    def told(self) -> str:
        """Return it as a clause for people."""
        (candidate, _), requests, meant = self.state.counts, sum(self.state.counts), self.state.shares[0]
        return (
            f"the split is not what the route says: the candidate had {sentences.percent(candidate / requests)} "
            f"of {sentences.count(requests)} requests without a key, and {100.0 * meant:g} % were meant"
        )

    def numbers(self) -> dict[str, Any]:
        """Return the same for a machine: counts without keys, the share that was meant, evidence and bound."""
        log_e = shares.log_e(self.state)
        return {
            "stage": self.stage,
            "candidate": self.state.counts[0],
            "stable": self.state.counts[1],
            "meant": self.state.shares[0],
            "log_e": log_e,
            "bound": 1.0 / self.state.alpha,
        }


def with_stratum(plan: Plan, splits: Splits, stratum: Stratum) -> Splits:
    """Return the counts after one more stratum, which changes those of its own stage alone.

    A stratum of labels or drift, of the watch, of a stage without a split or with keyed requests only changes nothing. Each
    stage has its part of :data:`ALPHA`.
    """
    if (
        stratum.labels
        or stratum.drift
        or stratum.custom
        or stratum.agreement
        or not is_split(plan, stratum.stage)
    ):
        return splits
    own, other = stratum.candidate, stratum.stable
    counts = (own.requests - own.keyed, other.requests - other.keyed)
    if not any(counts):
        return splits
    before = splits.get(stratum.stage)
    if before is None:
        before = _begun(plan, stratum.stage)
    return {**splits, stratum.stage: _updated(before, counts)}


def fault(splits: Splits) -> Fault | None:
    """Return the fault of the first stage that has one, None while every split may be what the route says."""
    for stage, state in splits.items():
        if state.stopped:
            return Fault(stage, state)
    return None


def _begun(plan: Plan, stage: int) -> Shares:
    stages = sum(is_split(plan, other) for other in range(len(plan.steps)))
    meant = plan.steps[stage].weight / FULL_WEIGHT
    return shares.initial(ALPHA / stages, (meant, math.fsum((1.0, -meant))))


def _updated(state: Shares, counts: tuple[int, int]) -> Shares:
    """Return what :func:`shares.update` does, and sooner where the counts are nowhere near a fault."""
    candidate, stable = state.counts[0] + counts[0], state.counts[1] + counts[1]
    if state.stopped or min(counts) < 0:
        return shares.update(state, counts)
    # The evidence mixes likelihood ratios, none of which is over the best one, and the logarithm of that is at most
    # chi squared: under half the bound nothing can be reached, and no gamma function need be asked.
    requests, meant = candidate + stable, state.shares[0]
    off = candidate - requests * meant
    if off * off < -0.5 * math.log(state.alpha) * requests * meant * state.shares[1]:
        return Shares(alpha=state.alpha, shares=state.shares, counts=(candidate, stable))
    return shares.update(state, counts)


def is_split(plan: Plan, stage: int) -> bool:
    """Whether the route sends some requests of a stage to either arm, by chance."""
    if not 0 <= stage < len(plan.steps):
        return False
    step = plan.steps[stage]
    return step.kind is StepKind.WEIGHT and 0 < step.weight < FULL_WEIGHT
