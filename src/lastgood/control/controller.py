"""The loop: renew the lease, look at every release under way, decide, execute; again.

Level-triggered: each turn starts from the store and from what is observed, so a restart is one more turn.
The lease is renewed only by a turn that worked: a controller that hangs, or has lost its store, lets the
lease end, and every gateway falls back to stable by itself.
"""

import logging
import math
import threading
import time

from lastgood.control.caretaker import Caretaker
from lastgood.control.decide import decide
from lastgood.control.execute import Executor
from lastgood.control.history import Recorder
from lastgood.control.moves import Move
from lastgood.control.observe import Observer
from lastgood.control.sweep import Sweeper
from lastgood.domain.deployment import Deployment
from lastgood.domain.release import Release
from lastgood.errors import Code, LastgoodError
from lastgood.ports import ReleaseStore, Reports, Router

logger = logging.getLogger(__name__)
_MOVES_A_TURN = 8
_SWEEP_SECONDS = 10.0
_GRACE_SECONDS = 120.0


class Controller:
    """Drives every release of this machine. Only one process at a time may run it.

    ``last_turn`` is when a turn last worked (CLOCK_MONOTONIC, 0.0 before the first); ``trouble`` maps a deployment
    that could not be driven in it to the reason.
    """

    def __init__(
        self,
        *,
        releases: ReleaseStore,
        executor: Executor,
        observer: Observer,
        router: Router,
        reports: Reports,
        lease_seconds: float,
        tick_seconds: float,
        recorder: Recorder,
        caretaker: Caretaker,
    ) -> None:
        self._releases = releases
        self._executor = executor
        self._observer = observer
        self._router = router
        self._recorder = recorder
        self._caretaker = caretaker
        self._sweeper = Sweeper(
            router=router, reports=reports, measuring=observer.measuring, now=executor.now
        )
        self._swept = -math.inf
        self._lease_seconds = lease_seconds
        self._tick_seconds = tick_seconds
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._known: dict[str, tuple[int, Release]] = {}
        self._troubled: dict[str, tuple[str, float]] = {}
        self._withdrawn: set[str] = set()
        self.trouble: dict[str, str] = {}
        self.last_turn = 0.0

    def start(self) -> None:
        """Make everything follow the store, then loop in a thread of its own."""
        self._executor.resume()
        self.sweep(grace=0.0)
        self._recorder.start()
        self._caretaker.start()
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the loop and the lease: candidate traffic ends with the controller."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._caretaker.stop()
        self._recorder.stop()
        self._router.renew_lease(0)

    def wake(self) -> None:
        """Take the next turn now."""
        self._wake.set()

    def turn(self) -> None:
        """Take one turn over every deployment.

        One that cannot be driven (an unreadable row, say) stops none of the others. The lease ends while such a
        one has a candidate; when that lasts, its candidate is taken out of its route, and the lease goes on. Copies
        harm nobody, so they end no lease; they end when it lasts.
        """
        self._executor.reconcile()
        deployments = [one for one in self._releases.deployments() if one.release is not None]
        self._observer.begin_turn(deployments)
        troubled = {}
        for deployment in deployments:
            try:
                self._drive(deployment)
            except Exception as error:  # noqa: BLE001 - of one deployment, and told
                troubled[deployment.name] = self._note(deployment.name, error)
        self.trouble = {name: text for name, (text, _) in troubled.items()}
        self._troubled = troubled
        now = time.monotonic()
        unsafe = [name for name in troubled if self._executor.splits(name)]
        for name in troubled:
            if now - troubled[name][1] > self._lease_seconds:
                self._executor.withdraw(name)
                self._withdrawn.add(name)
        for name in self._withdrawn - troubled.keys():
            self._withdrawn.discard(name)
            self._executor.follow_again(name)
        if not unsafe:
            self._router.renew_lease(self._lease_seconds)
        self.last_turn = now
        if now - self._swept >= _SWEEP_SECONDS and not troubled:
            self._swept = now
            self.sweep()

    def _note(self, name: str, error: Exception) -> tuple[str, float]:
        known = self._troubled.get(name)
        if known is None or known[0] != str(error):
            logger.error("%s cannot be driven: %s", name, error, exc_info=error)
        return str(error), time.monotonic() if known is None else known[1]

    def sweep(self, *, grace: float = _GRACE_SECONDS) -> None:
        """Forget worker lives that have ended, unless a release may still need their counts."""
        found = []
        for deployment in self._releases.deployments():
            if deployment.release is not None:
                release = self._release(deployment)
                if release is None:
                    return
                found.append(release)
        self._sweeper.sweep(found, grace=grace)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.turn()
            except Exception:
                # Whatever it is, serving goes on and the next turn starts from the store again. The lease
                # is not renewed, so a fault that stays ends all candidate traffic.
                logger.exception("a turn of the controller failed")
            self._wake.wait(self._tick_seconds)
            self._wake.clear()

    def _release(self, deployment: Deployment) -> Release | None:
        """Return the release under way. A revision is that of the deployment and its release, so each is read once."""
        if deployment.release is None:
            return None
        revision, release = self._known.get(deployment.name, (None, None))
        if release is None or revision != deployment.revision:
            release = self._releases.release(deployment.release)
            if release is not None:
                self._known[deployment.name] = (deployment.revision, release)
        return release

    def _next_move(self, deployment: Deployment, release: Release) -> Move | None:
        """Return what to do, with what is found put in words only when there is something to do."""
        seen = self._observer.situation(deployment, release)
        if decide(release, deployment, seen) is None:
            return None
        return decide(release, deployment, self._observer.told(release, seen))

    def _drive(self, deployment: Deployment) -> None:
        """Move one release as far as it goes now."""
        current: Deployment | None = deployment
        for _ in range(_MOVES_A_TURN):
            if current is None or current.release is None:
                return
            release = self._release(current)
            if release is None:
                raise LastgoodError(Code.CORRUPT, f"Release {current.release} is gone.", "Restore the store.")
            try:
                move = self._next_move(current, release)
                if move is None:
                    return
                current, release = self._executor.apply(current, release, move)
                self._observer.look_again()
            except LastgoodError as error:
                if error.code is not Code.CONFLICT:
                    raise
                self._observer.forget(release)  # somebody else acted; start from the store again
                self._known.pop(deployment.name, None)
                current = self._releases.deployment(deployment.name)
                continue
            if release.terminal:
                self._observer.forget(release)
                self._recorder.wake()
                self._caretaker.wake()
