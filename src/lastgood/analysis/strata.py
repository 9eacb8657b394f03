"""From the cumulative counts of gateway workers to strata, the units of evidence.

A stage's open difference is what all worker lives together have counted in it and no stratum holds yet. When it
closes is fixed by its number of requests alone, never by what went wrong among them: a rule that looked at
outcomes would bend the false-alarm rate. Each stage has its own, so counts that come late, after the next stage
has begun, form strata of the stage they belong to.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from lastgood.analysis.counts import added, contradicts, gained
from lastgood.domain.change import Evidence
from lastgood.domain.traffic import ArmCounts, StageCounts, Stratum
from lastgood.errors import Code, LastgoodError

MIN_REQUESTS: Final = 20
"""A stratum closes with at least this many requests of both arms, and at least one of the candidate."""

Lives = Mapping[str, Sequence[StageCounts]]
"""Cumulative counts of each worker life, named ``slot:epoch``."""


def collect(
    evidence: Evidence, lives: Lives, *, release: int, now: float, keys: bool = False, flush: bool = False
) -> tuple[Evidence, tuple[Stratum, ...], tuple[LastgoodError, ...]]:
    """Return the evidence with its ``seen`` advanced, and the strata that close now, by stage.

    The strata carry the sequence numbers after the evidence's own, which stays as it is until they are folded in.
    ``flush`` closes every open difference with at least one candidate request, however small: a stage ends. A
    life or stage that is not among ``lives`` has no news. Counts of other releases are left out. Raises
    ``corrupt`` for counts that shrink within a life or hold more failures than requests.
    """
    if evidence.release != release:
        raise LastgoodError(
            Code.INTERNAL,
            f"The evidence of release {evidence.release} was given the counts of release {release}.",
            "This is a fault in Lastgood; please report it.",
        )
    seen = _read(evidence.seen)
    strata: list[Stratum] = []
    current = _by_stage(lives, release)
    for stage in sorted(current):
        gains = [
            _gain(life, counts, seen.get(life, {}).get(stage)) for life, counts in current[stage].items()
        ]
        candidate = added(gain.candidate for gain in gains)
        stable = added(gain.stable for gain in gains)
        if candidate.requests < 1 or (not flush and candidate.requests + stable.requests < MIN_REQUESTS):
            continue
        for life, counts in current[stage].items():
            seen.setdefault(life, {})[stage] = counts
        sequence = evidence.sequence + len(strata) + 1
        strata.append(
            Stratum(
                release=release,
                sequence=sequence,
                stage=stage,
                closed_at=now,
                candidate=candidate,
                stable=stable,
            )
        )
    if not strata:
        return evidence, (), ()
    return msgspec.structs.replace(evidence, seen=_write(seen)), tuple(strata), ()


def used_up(evidence: Evidence, life: str, stages: Sequence[StageCounts]) -> bool:
    """Return whether strata hold all that this life has counted for the evidence's release."""
    seen = _read(evidence.seen).get(life, {})
    own = [counts for counts in stages if counts.release == evidence.release]
    gains = [_gain(life, counts, seen.get(counts.stage)) for counts in own]
    return all(gain.candidate == gain.stable == ArmCounts() for gain in gains)


def forget(evidence: Evidence, life: str) -> Evidence:
    """Return the evidence without what was seen of a life, so that ``seen`` stays small.

    Only for a life that has ended, is :func:`used_up`, and is never given to :func:`collect` again: its counts
    would be used twice.
    """
    return msgspec.structs.replace(
        evidence, seen={name: stages for name, stages in evidence.seen.items() if name != life}
    )


def _by_stage(lives: Lives, release: int) -> dict[int, dict[str, StageCounts]]:
    """Return the release's counts by stage, then by life in a fixed order."""
    stages: dict[int, dict[str, StageCounts]] = {}
    for life in sorted(lives):
        for counts in lives[life]:
            if counts.release == release:
                stages.setdefault(counts.stage, {})[life] = counts
    return stages


def _gain(life: str, after: StageCounts, before: StageCounts | None) -> StageCounts:
    """Return what a life has counted in a stage and no stratum holds."""
    empty = ArmCounts()
    try:
        gain = StageCounts(
            release=after.release,
            stage=after.stage,
            candidate=gained(after.candidate, before.candidate if before else empty),
            stable=gained(after.stable, before.stable if before else empty),
        )
    except ValueError as error:
        raise _corrupt(life, after, str(error)) from error
    if contradicts(gain.candidate) or contradicts(gain.stable):
        raise _corrupt(life, after, "more failures than requests")
    return gain


def _corrupt(life: str, counts: StageCounts, reason: str) -> LastgoodError:
    return LastgoodError(
        Code.CORRUPT,
        f"The counts of gateway worker {life} in stage {counts.stage} of release {counts.release} "
        f"contradict what it counted before: {reason}.",
        "They are not used as evidence; restart that gateway worker.",
        details={"life": life, "stage": counts.stage, "release": counts.release},
    )


def _read(seen: Mapping[str, Any]) -> dict[str, dict[int, StageCounts]]:
    return msgspec.convert(seen, dict[str, dict[int, StageCounts]], str_keys=True)


def _write(seen: Mapping[str, Mapping[int, StageCounts]]) -> dict[str, Any]:
    """Return ``seen`` as plain JSON values, in a fixed order."""
    ordered = {life: dict(sorted(seen[life].items())) for life in sorted(seen)}
    plain: dict[str, Any] = msgspec.to_builtins(ordered, str_keys=True)
    return plain
