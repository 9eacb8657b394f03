"""Quarantines: what restores replaced, as a person looks at it, puts it back, or lets it go."""

from typing import Final

from lastgood.control.caretaker import Caretaker
from lastgood.control.execute import Executor
from lastgood.control.live_data import LiveData
from lastgood.control.lookup import deployment_named, under_way
from lastgood.control.moves import Move
from lastgood.control.quarantine_views import QuarantineView, RestoreResult, view_of
from lastgood.control.serving_plan import ServingPlans
from lastgood.control.settling import Settling
from lastgood.data_ports import KeptStore
from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import DataPlan, Plan
from lastgood.domain.release import Event, Kind, Release
from lastgood.domain.snapshot import (
    DataProgress,
    DataStage,
    Kept,
    KeptKind,
    Quarantine,
    Schema,
    misfits,
    restore_token,
)
from lastgood.errors import Code, LastgoodError
from lastgood.ports import ReleaseStore

WAIT_SECONDS: Final = 25.0
"""So long an answer waits for what was begun; a caller that wants to know more asks again."""


class Quarantines:
    """The questions and commands on quarantines."""

    def __init__(
        self,
        *,
        kept: KeptStore,
        releases: ReleaseStore,
        executor: Executor,
        live: LiveData,
        settling: Settling,
        caretaker: Caretaker,
    ) -> None:
        self._kept = kept
        self._releases = releases
        self._executor = executor
        self._live = live
        self._settling = settling
        self._caretaker = caretaker
        self._plans = ServingPlans(releases)

    def all(self) -> list[QuarantineView]:
        """Return every quarantine that still takes room, by source and release."""
        return [self._view(row) for row in self._kept.all_kept() if row.kind is KeptKind.QUARANTINE]

    def one(self, token: str) -> QuarantineView:
        """Return one quarantine, also one that was deleted.

        :raises LastgoodError: ``not_found``.
        """
        return self._view(self._row(token))

    def restore(self, token: str, *, reason: str, actor: str) -> RestoreResult:
        """Begin a restore, and wait for its end at most :data:`WAIT_SECONDS`.

        :raises LastgoodError: as :meth:`begin` and :meth:`followed`.
        """
        self._finish_counting([self._row(token)])
        return self.followed(token, self.begin(token, reason=reason, actor=actor).id)

    def begin(self, token: str, *, reason: str, actor: str) -> Release:
        """Begin to make the quarantined state live again; what it replaces becomes a quarantine itself.

        It is staged beside the live data, then requests wait for the swap as in a rollback. The controller drives it.

        :raises LastgoodError: ``not_found``; ``conflict`` when a release is under way, or its rows are not counted yet;
            ``refused`` when a stable version could not read it.
        """
        with self._live.turn:
            row = self._row(token)
            kept = self._restorable(row).kept
            deployment = deployment_named(self._releases, row.deployment)
            self._check_free(row, deployment)
            self._check_fits(row, kept.schema)
            cause = f"quarantine {token} restored by {actor}" + (f": {reason}" if reason else "")
            now = self._executor.now()
            stable, serving = deployment.stable or 0, self._plans.of(deployment)
            release = Release(
                id=0,
                deployment=deployment.name,
                model=deployment.model,
                kind=Kind.RESTORE,
                version=stable,
                previous=stable,
                plan=Plan(data=DataPlan(source=row.source), notify=() if serving is None else serving.notify),
                data=DataProgress(source=row.source, stage=DataStage.CAPTURED, snapshot=kept, touched=True),
                created_at=now,
                created_by=actor,
                phase_since=now,
            )
            changes = {"reason": cause, "returning": True, "blame": False, "target": stable}
            move = Move(event=Event.ROLL_BACK, cause=cause, changes=changes, told={"quarantine": token})
            return self._executor.apply(deployment, release, move, actor=actor)[1]

    def followed(self, token: str, identifier: int, *, seconds: float = WAIT_SECONDS) -> RestoreResult:
        """Wait for the end of a restore, helping it on, and say how it stands.

        :raises LastgoodError: ``not_found``; ``stuck`` when gateways do not acknowledge that requests wait.
        """
        release = self._releases.release(identifier)
        if release is None or release.kind is not Kind.RESTORE:
            raise LastgoodError(
                Code.NOT_FOUND, f"Release {identifier} restores no quarantine.", "See 'lastgood history'."
            )
        release = self._settling.settle(release, seconds=seconds)
        data = release.data
        swapped = data is not None and data.stage is DataStage.SWAPPED
        replaced = self._kept.kept(restore_token(release.id))
        if release.terminal and replaced is not None:
            self._finish_counting([replaced])
        return RestoreResult(
            token=token,
            deployment=release.deployment,
            release=release.id,
            restored=swapped if release.terminal else None,
            cause=release.cause,
            replaced=restore_token(release.id) if swapped else "",
            held_ms=None if data is None else data.held_ms,
        )

    def delete(self, token: str, *, reason: str, actor: str) -> QuarantineView:
        """Let a quarantine go for good: the rows that only it has are lost. Its row stays, with who and why.

        :raises LastgoodError: ``not_found``; ``conflict`` when it is deleted already, or used by a release under way or by
            another quarantine that is still being counted.
        """
        self._finish_counting([one for one in self._kept.all_kept() if one.snapshot.token == token])
        with self._live.turn:
            row = self._row(token)
            if row.freed_at is not None:
                raise _deleted(row)
            self._check_unused(row)
            why = reason or "no reason was given"
            self._caretaker.let_go(row, by=actor, why=why)
        freed = self._caretaker.looked_after([row], WAIT_SECONDS)[0]
        return self._view(freed)

    def _finish_counting(self, rows: list[Kept]) -> None:
        """Let the caretaker do what is due for these, which is all that it takes where no controller runs."""
        self._caretaker.looked_after(rows, WAIT_SECONDS)

    def _row(self, token: str) -> Kept:
        row = self._kept.kept(token)
        if row is None or row.kind is not KeptKind.QUARANTINE:
            known = ", ".join(one.token for one in self.all()) or "none"
            raise LastgoodError(
                Code.NOT_FOUND,
                f"There is no quarantine {token!r}; there are: {known}.",
                "See 'lastgood quarantine list'.",
            )
        return row

    def _restorable(self, row: Kept) -> Quarantine:
        if row.freed_by:
            raise _deleted(row)
        if row.quarantine is None:
            why = f" ({row.trouble})" if row.trouble else ""
            raise LastgoodError(
                Code.CONFLICT,
                f"The rows of {row.token} have not been counted yet{why}, and only then it can be restored.",
                "Wait a moment; 'lastgood serve' counts them.",
            )
        return row.quarantine

    def _check_free(self, row: Kept, deployment: Deployment) -> None:
        for release in under_way(self._releases):
            data = release.plan.data
            if release.deployment == deployment.name or (data is not None and data.source == row.source):
                raise LastgoodError(
                    Code.CONFLICT,
                    f"Release {release.id} of {release.deployment} is under way on the same deployment or data.",
                    f"Let it end, or end it: lastgood abort {release.deployment}",
                )
        if deployment.stable is None:
            raise LastgoodError(
                Code.REFUSED, f"{deployment.name} serves nothing.", "Release a first version."
            )

    def _check_fits(self, row: Kept, schema: Schema) -> None:
        """Refuse what the stable version of a deployment that reads this source could not read."""
        for deployment in self._releases.deployments():
            if deployment.stable is None:
                continue
            version = self._executor.version(deployment.model, deployment.stable)
            needed = version.needs.get(row.source)
            found = () if needed is None else misfits(needed, schema)
            if found:
                raise LastgoodError(
                    Code.REFUSED,
                    f"{version.display}, which is stable in {deployment.name}, could not read {row.token}: "
                    f"{'; '.join(found)}. Nothing was changed.",
                    "Release a version that fits it first, or take the rows you need out of the exports: "
                    f"lastgood quarantine export {row.token} --to FOLDER",
                )

    def _check_unused(self, row: Kept) -> None:
        for release in under_way(self._releases):
            snapshot = None if release.data is None else release.data.snapshot
            if snapshot is not None and (snapshot.source, snapshot.token) == (row.source, row.token):
                raise LastgoodError(
                    Code.CONFLICT,
                    f"Release {release.id} of {release.deployment} is putting {row.token} back.",
                    "Wait until it is over.",
                )
        for other in self._kept.all_kept():
            counting = other.kind is KeptKind.QUARANTINE and other.quarantine is None
            if counting and other.snapshot.token == row.token and not other.freed_by:
                raise LastgoodError(
                    Code.CONFLICT,
                    f"The rows of {other.token} are still being compared with {row.token}.",
                    "Wait a moment; 'lastgood serve' counts them.",
                )

    def _view(self, row: Kept) -> QuarantineView:
        label = self._executor.version(row.model, row.version).label
        return view_of(row, label, self._caretaker.exports(row))


def _deleted(row: Kept) -> LastgoodError:
    return LastgoodError(
        Code.CONFLICT,
        f"{row.token} was deleted by {row.freed_by}: {row.freed_why}.",
        "See 'lastgood quarantine list' for those that are left.",
    )
