"""Waiting until a way back is a fact, helping it on: where no controller runs, whoever waits drives it."""

import math
import time
from typing import Any

from lastgood.control.data_moves import leave_restore, may_leave
from lastgood.control.decide import decide
from lastgood.control.execute import Executor
from lastgood.control.lookup import deployment_named
from lastgood.control.moves import Move
from lastgood.control.observe import Observer
from lastgood.domain.deployment import Deployment
from lastgood.domain.release import Kind, Phase, Release
from lastgood.errors import Code, LastgoodError
from lastgood.ports import ReleaseStore

_POLL_SECONDS = 0.0005
_POLL_SECONDS_MAX = 0.02


class Settling:
    """Drives one release that returns, or restores a quarantine, to its end."""

    def __init__(self, *, releases: ReleaseStore, executor: Executor, observer: Observer) -> None:
        self._releases = releases
        self._executor = executor
        self._observer = observer

    def settle(self, release: Release, *, seconds: float = math.inf) -> Release:
        """Wait until it is over, at most ``seconds``, and return it as it is then.

        :raises LastgoodError: ``stuck`` past its deadline.
        """
        return self._drive(release, seconds, "")

    def end_restore(self, deployment: Deployment, actor: str) -> bool:
        """End the restore of a quarantine that is under way, because a rollback comes first; return whether one was.

        It is left at once, unless its swap is being made: that takes as long as requests wait for it, and is waited for.

        :raises LastgoodError: ``stuck`` when gateways do not acknowledge that they wait.
        """
        release = None if deployment.release is None else self._releases.release(deployment.release)
        if release is None or release.kind is not Kind.RESTORE:
            return False
        self._drive(release, math.inf, f"a rollback by {actor} came first")
        return True

    def _drive(self, release: Release, seconds: float, leaving: str) -> Release:
        pause, deadline = _POLL_SECONDS, time.monotonic() + seconds
        while True:
            current = self._releases.release(release.id)
            deployment = deployment_named(self._releases, release.deployment)
            if current is None or current.terminal:
                return current or release
            move: Move | None
            if leaving and may_leave(current):
                move = leave_restore(leaving)
            elif current.phase is Phase.STUCK:
                raise self._stuck(current)
            else:
                seen = self._observer.situation(deployment, current, measure=False)
                move = decide(current, deployment, seen)
            if move is None:
                if time.monotonic() > deadline:
                    return current
                time.sleep(pause)
                pause = min(pause * 1.2, _POLL_SECONDS_MAX)
                continue
            try:
                self._executor.apply(deployment, current, move)
            except LastgoodError as error:
                if error.code is not Code.CONFLICT:
                    raise

    def _stuck(self, release: Release) -> LastgoodError:
        behind = [] if release.generation is None else self._executor.behind(release.generation)
        details: dict[str, Any] = {"release": release.id, "generation": release.generation, "behind": behind}
        workers = f" Gateway workers that have not acknowledged it: {behind}." if behind else ""
        return LastgoodError(
            Code.STUCK,
            f"Release {release.id} of {release.deployment} is stuck: {release.cause.rstrip('.')}.{workers}",
            f"See 'lastgood status {release.deployment}' and docs/when-a-rollback-is-stuck.md; it settles by itself "
            "once the gateways acknowledge.",
            details=details,
        )
