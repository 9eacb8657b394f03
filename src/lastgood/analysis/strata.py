"""From the cumulative counts of gateway workers to strata, the units of evidence.

A stage's open difference is what all worker lives together have counted in it and no stratum holds yet. When it
closes is fixed by its number of requests alone, never by what went wrong among them: a rule that looked at
outcomes would bend the false-alarm rate. Each stage has its own, so counts that come late, after the next stage
has begun, form strata of the stage they belong to.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from lastgood.analysis import record
from lastgood.analysis.counts import NOTHING, Used, added, contradiction, gained_since, used, without_firsts
from lastgood.domain.change import Evidence
from lastgood.domain.traffic import ArmCounts, StageCounts, Stratum
from lastgood.errors import Code, LastgoodError

MIN_REQUESTS: Final = 20
"""A stratum closes with at least this many requests of both arms, and at least one of the candidate."""

Lives = Mapping[str, Sequence[StageCounts]]
"""Cumulative counts of each worker life, named ``slot:epoch``."""


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What strata hold of one life in one stage."""

    candidate: Used
    stable: Used


class _Lives(dict[str, dict[int, Seen]]):
    """``Evidence.seen``: what strata hold of each life, by stage. Never changed once it is in the evidence."""


class _Counted(msgspec.Struct, frozen=True, gc=False):
    """What one life has counted in one stage, of both arms, and what of it no stratum holds."""

    so_far: tuple[ArmCounts, ArmCounts]
    candidate: ArmCounts
    stable: ArmCounts

    def seen(self) -> Seen:
        """Return what strata hold of it once what is open is in one."""
        candidate, stable = self.so_far
        return Seen(used(candidate), used(stable))


def opened(evidence: Evidence) -> Evidence:
    """Return evidence as the store gives it back, made ready to be used turn after turn.

    Raises ``corrupt`` when it cannot be what was stored.
    """
    try:
        states: Any = record.read(evidence.states) if evidence.states else {}
        return msgspec.structs.replace(evidence, seen=_read(evidence.seen), states=states)
    except msgspec.ValidationError as error:
        raise LastgoodError(
            Code.CORRUPT,
            f"The evidence of release {evidence.release} cannot be read: {error}.",
            "Restore the store from a backup.",
        ) from error


def collect(
    evidence: Evidence, lives: Lives, *, release: int, now: float, keys: bool = False, flush: bool = False
) -> tuple[Evidence, tuple[Stratum, ...], tuple[LastgoodError, ...]]:
    """Return the evidence with its ``seen`` advanced, the strata that close now, by stage, and what is wrong.

    The strata carry the sequence numbers after the evidence's own, which stays as it is until they are folded in.
    ``keys`` keeps the hashes of keys; without it neither strata nor evidence hold any. ``flush`` closes every open
    difference with at least one candidate request, however small: a stage ends. A life or stage that is not among
    ``lives`` has no news. Counts of other releases are left out. A clock that goes back does not: no stratum closes
    before the one before it.

    A life whose counts shrink, contradict each other or cannot be true is left out whole, for as long as they
    do; there is one error (``corrupt``, ``life`` among its details) for each such life.
    """
    if evidence.release != release:
        raise LastgoodError(
            Code.INTERNAL,
            f"The evidence of release {evidence.release} was given the counts of release {release}.",
            "This is a fault in Lastgood; please report it.",
        )
    seen = _read(evidence.seen)
    current, faults = _by_stage(lives, seen, release, keys=keys)
    closed_at = max(now, record.read(evidence.states).closed_at)
    used_now: list[tuple[str, int, Seen]] = []
    strata: list[Stratum] = []
    for stage in sorted(current):
        counts = current[stage].values()
        requests = [sum([getattr(one, arm).requests for one in counts]) for arm in ("candidate", "stable")]
        if requests[0] < 1 or (not flush and sum(requests) < MIN_REQUESTS):
            continue
        used_now += [(life, stage, counted.seen()) for life, counted in current[stage].items()]
        strata.append(
            Stratum(
                release=release,
                sequence=evidence.sequence + len(strata) + 1,
                stage=stage,
                closed_at=closed_at,
                candidate=added(one.candidate for one in counts),
                stable=added(one.stable for one in counts),
            )
        )
    if strata:
        evidence = msgspec.structs.replace(evidence, seen=_after(seen, used_now))
    return evidence, tuple(strata), faults


def used_up(evidence: Evidence, life: str, stages: Sequence[StageCounts]) -> bool:
    """Return whether strata hold all that this life has counted for the evidence's release.

    Counts that cannot be true will never be used: a life with such counts is used up.
    """
    seen = _read(evidence.seen).get(life, {})
    keys = bool(record.read(evidence.states).keys)
    try:
        counted = _counted(life, stages, seen, evidence.release, keys=keys)
    except LastgoodError:
        return True
    return all(one.candidate == one.stable == ArmCounts() for one in counted.values())


def forget(evidence: Evidence, life: str) -> Evidence:
    """Return the evidence without what was seen of a life, so that ``seen`` stays small.

    Only for a life that has ended, is :func:`used_up`, and is never given to :func:`collect` again: its counts
    would be used twice.
    """
    left = {name: stages for name, stages in _read(evidence.seen).items() if name != life}
    return msgspec.structs.replace(evidence, seen=_Lives(left))


def _by_stage(
    lives: Lives, seen: Mapping[str, Mapping[int, Seen]], release: int, *, keys: bool
) -> tuple[dict[int, dict[str, _Counted]], tuple[LastgoodError, ...]]:
    """Return what is counted, by stage, then by life in a fixed order, and one error for each corrupt life."""
    stages: dict[int, dict[str, _Counted]] = {}
    faults = []
    for life in sorted(lives):
        try:
            own = _counted(life, lives[life], seen.get(life, {}), release, keys=keys)
        except LastgoodError as fault:
            faults.append(fault)
            continue
        for stage, counted in own.items():
            stages.setdefault(stage, {})[life] = counted
    return stages, tuple(faults)


def _counted(
    life: str, stages: Sequence[StageCounts], seen: Mapping[int, Seen], release: int, *, keys: bool
) -> dict[int, _Counted]:
    """Return what a life has counted, by stage. Raises ``corrupt`` for counts that cannot be true."""
    found: dict[int, _Counted] = {}
    for counts in stages:
        if counts.release != release:
            continue
        if counts.stage in found:
            raise _corrupt(life, counts, "it is reported twice")
        before = seen.get(counts.stage, Seen(NOTHING, NOTHING))
        candidate, stable = counts.candidate, counts.stable
        if not keys:
            candidate, stable = without_firsts(candidate), without_firsts(stable)
        try:
            gains = _gain(candidate, before.candidate), _gain(stable, before.stable)
        except ValueError as error:
            raise _corrupt(life, counts, str(error)) from error
        found[counts.stage] = _Counted((candidate, stable), *gains)
    return found


def _gain(after: ArmCounts, before: Used) -> ArmCounts:
    """Return what an arm has gained. Raises ValueError with the reason when it cannot be true."""
    gain = gained_since(after, before)
    reason = contradiction(gain)
    if reason is not None:
        raise ValueError(reason)
    return gain


def _corrupt(life: str, counts: StageCounts, reason: str) -> LastgoodError:
    return LastgoodError(
        Code.CORRUPT,
        f"The counts of gateway worker {life} in stage {counts.stage} of release {counts.release} "
        f"contradict each other or what it counted before: {reason}.",
        "They are not used as evidence; restart that gateway worker.",
        details={"life": life, "stage": counts.stage, "release": counts.release},
    )


def _read(seen: Any) -> _Lives:
    """Return ``seen`` as it is, or out of the JSON that the store gives back."""
    if isinstance(seen, _Lives):
        return seen
    return _Lives(msgspec.convert(seen, dict[str, dict[int, Seen]], str_keys=True))


def _after(seen: _Lives, used_now: Sequence[tuple[str, int, Seen]]) -> _Lives:
    """Return ``seen`` with what is used now in place of what was used before, in a fixed order."""
    lives = {life: dict(stages) for life, stages in seen.items()}
    for life, stage, now in used_now:
        lives.setdefault(life, {})[stage] = now
    return _Lives({life: dict(sorted(lives[life].items())) for life in sorted(lives)})
