"""Drills: the whole rollback rehearsed against copies, part by part, each timed. Nothing that serves notices."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from lastgood.control.execute import AUTOMATIC, Executor
from lastgood.control.lookup import deployment_named
from lastgood.control.rehearse import Rehearser
from lastgood.control.serving_plan import ServingPlans
from lastgood.control.way_back import WayBack
from lastgood.domain.deployment import Deployment
from lastgood.domain.event import EventDraft
from lastgood.domain.readiness import Drill, DrillPart
from lastgood.domain.version import Version
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Journal, ReleaseStore

logger = logging.getLogger(__name__)
FINISHED: Final = "lastgood.drill.finished"


class Drills:
    """Rehearses rollbacks, one of each deployment at a time, in threads of their own. Safe from any thread."""

    def __init__(
        self,
        *,
        releases: ReleaseStore,
        journal: Journal,
        executor: Executor,
        rehearser: Rehearser,
        plans: ServingPlans,
    ) -> None:
        self._releases = releases
        self._journal = journal
        self._executor = executor
        self._rehearser = rehearser
        self._plans = plans
        self._known: dict[str, Drill] = {}
        self._recorded: dict[str, Drill | None] = {}
        self._lock = threading.Lock()

    def last(self, name: str) -> Drill | None:
        """Return the newest drill of a deployment that has come to its end, from the record; None before the first."""
        with self._lock:
            if name not in self._recorded:
                event = self._journal.last(FINISHED, name)
                found = None if event is None else _from_data(name, event.version, event.data)
                self._recorded[name] = found
            return self._recorded[name]

    def latest(self, name: str) -> Drill:
        """Return the drill under way, or else the last one.

        :raises LastgoodError: ``not_found`` when there was none.
        """
        deployment_named(self._releases, name)
        with self._lock:
            known = self._known.get(name)
        found = known or self.last(name)
        if found is None:
            raise LastgoodError(
                Code.NOT_FOUND, f"The way back of {name} was never rehearsed.", f"Run: lastgood drill {name}"
            )
        return found

    def busy(self) -> bool:
        """Whether a drill of any deployment is under way."""
        with self._lock:
            return any(not drill.done for drill in self._known.values())

    def start(self, name: str, *, actor: str = AUTOMATIC) -> Drill:
        """Begin a drill, or join the one under way; :meth:`latest` says how far it is.

        :raises LastgoodError: ``not_found``, naming the known deployments; ``conflict`` while a rollback is under way.
        """
        deployment = deployment_named(self._releases, name)
        release = None if deployment.release is None else self._releases.release(deployment.release)
        if release is not None and release.returning:
            raise LastgoodError(
                Code.CONFLICT,
                f"Release {release.id} of {name} is rolling back: this is no drill.",
                f"See 'lastgood status {name}'.",
            )
        with self._lock:
            known = self._known.get(name)
            if known is not None and not known.done:
                return known
            begun = self._known[name] = Drill(deployment=name, version=None, at=self._executor.now())
        arguments = (deployment, begun, actor)
        threading.Thread(target=self._run, args=arguments, name=f"drill {name}", daemon=True).start()
        return begun

    def _run(self, deployment: Deployment, begun: Drill, actor: str) -> None:
        rehearsal = _Rehearsal(self._rehearser, self.note, deployment, begun)
        try:
            rehearsal.run()
        finally:
            drill = msgspec.structs.replace(rehearsal.drill, done=True)
            try:
                self._record(deployment, drill, actor)
            except LastgoodError:
                logger.exception("the drill of %s could not be recorded", deployment.name)
            self.note(drill)

    def _record(self, deployment: Deployment, drill: Drill, actor: str) -> None:
        """Append the drill to the record. A failure is told, until one succeeds: the same one again is no news."""
        before = self.last(deployment.name)
        failed = "" if before is None else before.failed
        news = drill.failed != failed
        channels = self._executor.channels_of(self._plans.of(deployment)) if news else ()
        self._journal.append(_event(deployment, drill, actor, self._executor.now(), failed), channels)
        if channels:
            self._executor.on_commit()

    def note(self, drill: Drill) -> None:
        """Show how far a drill is."""
        with self._lock:
            self._known[drill.deployment] = drill
            if drill.done:
                self._recorded[drill.deployment] = drill


class _Rehearsal:
    """One drill on its way."""

    def __init__(
        self, rehearser: Rehearser, note: Callable[[Drill], None], deployment: Deployment, begun: Drill
    ) -> None:
        self._rehearser = rehearser
        self._note = note
        self._deployment = deployment
        self.drill = begun

    def run(self) -> None:
        """Go through the parts until one fails."""
        found: list[tuple[WayBack, Version]] = []

        def look() -> str:
            way, version = self._rehearser.find(self._deployment)
            found.append((way, version))
            self.drill = msgspec.structs.replace(self.drill, version=version.number, label=version.label)
            return f"back to {version.display}" + (" with its data" if way.snapshot is not None else "")

        if not self._part("way back", look):
            return
        way, version = found[0]
        name, snapshot = self._deployment.name, way.snapshot
        parts: list[tuple[str, Callable[[], str]]] = [
            ("artifact", lambda: self._rehearser.verify(version)),
            ("host", lambda: self._rehearser.ask(name, version)),
        ]
        if snapshot is not None:
            parts.append(("data", lambda: self._rehearser.rehearse(name, snapshot)))
        parts.append(("route", lambda: self._rehearser.build(self._deployment, version.number)))
        for part, act in parts:
            if not self._part(part, act):
                return

    def _part(self, name: str, act: Callable[[], str]) -> bool:
        begun = time.perf_counter()
        try:
            ok, sentence = True, act()
        except LastgoodError as error:
            ok, sentence = False, error.message
        except Exception as error:
            logger.exception("the drill of %s failed at %s", self._deployment.name, name)
            ok, sentence = False, f"{type(error).__name__}: {error}"
        seconds = round(time.perf_counter() - begun, 6)
        part = DrillPart(name=name, ok=ok, seconds=seconds, sentence=sentence)
        total = round(self.drill.seconds + seconds, 6)
        self.drill = msgspec.structs.replace(self.drill, seconds=total, parts=(*self.drill.parts, part))
        self._note(self.drill)
        return ok


def _event(deployment: Deployment, drill: Drill, actor: str, now: float, before: str) -> EventDraft:
    """Return the event of a drill; ``before`` is how the one before it had failed."""
    name = deployment.name
    cause, then = f"the rollback of {name} was rehearsed in {drill.lasted}", "The way back is open."
    if drill.failed:
        cause = f"the rehearsal of the rollback of {name} failed at {drill.failed.rstrip('.')}"
        then = (
            f"Mend that, then rehearse again: lastgood drill {name}. A rollback would be tried all the same."
        )
    elif before:
        cause = f"{cause}; the one before had failed at {before.rstrip('.')}"
    return EventDraft(
        type=FINISHED,
        at=now,
        actor=actor,
        model=deployment.model,
        deployment=deployment.name,
        version=drill.version,
        data={
            "cause": cause,
            "next": then,
            "ok": drill.ok,
            "label": drill.label,
            "seconds": drill.seconds,
            "begun": drill.at,
            "failed": drill.failed,
            "parts": msgspec.to_builtins(drill.parts),
        },
    )


def _from_data(name: str, version: int | None, data: dict[str, Any]) -> Drill:
    return Drill(
        deployment=name,
        version=version,
        label=data["label"],
        at=data["begun"],
        seconds=data["seconds"],
        done=True,
        parts=msgspec.convert(data["parts"], tuple[DrillPart, ...]),
    )
