"""A whole control plane on a fake clock, with fake gateways and hosts and the real store in memory.

Real: the store, the executor, the observer, the decision, the commands. Fake: the clock, the page (workers
acknowledge when told to), the fleet (hosts are ready when told to) and the reports (counts are fed). A
named fault point raises :class:`Crash`; :meth:`World.restart` then builds the control plane anew over the same
store and the same outside world, as a new process would.
"""

import functools
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from listed_metrics import ListedMetrics
from listed_outcomes import ListedOutcomes
from listed_sketches import ListedSketches

from lastgood.control.caretaker import Caretaker
from lastgood.control.clearing import Clearing
from lastgood.control.controller import Controller
from lastgood.control.custom import CustomMetrics
from lastgood.control.desk import Desk
from lastgood.control.drift import Drift
from lastgood.control.drill import Drills
from lastgood.control.drill_schedule import DrillSchedule
from lastgood.control.execute import Executor
from lastgood.control.golden import Ask, GoldenChecks
from lastgood.control.hindsight import Hindsight
from lastgood.control.history import Recorder
from lastgood.control.labels import Labels
from lastgood.control.live_data import LiveData
from lastgood.control.observe import Observer
from lastgood.control.quarantines import Quarantines
from lastgood.control.readiness import ReadinessWatch
from lastgood.control.readiness_news import ReadinessNews
from lastgood.control.registry import Registry
from lastgood.control.rehearse import Rehearser
from lastgood.control.releases import Releases
from lastgood.control.residents import Residents
from lastgood.control.rollback import Rollback
from lastgood.control.routes import host_key
from lastgood.control.serving_plan import ServingPlans
from lastgood.control.starting import Order, Starting
from lastgood.control.views import Views
from lastgood.control.way_back import WaysBack
from lastgood.control.way_back_links import Prover
from lastgood.data_ports import DataSource
from lastgood.domain.deployment import Deployment
from lastgood.domain.event import EventDraft
from lastgood.domain.golden import Golden
from lastgood.domain.plan import Guardrail, Metric, Plan, Step, StepKind
from lastgood.domain.release import Release
from lastgood.domain.route import RouteTable
from lastgood.domain.sketch import Reference
from lastgood.domain.snapshot import Schema
from lastgood.domain.traffic import ArmCounts, StageCounts
from lastgood.domain.version import Format, Version
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.table_file import open_table
from lastgood.settings import Settings
from lastgood.store.evidence import SqlEvidence
from lastgood.store.journal import SqlJournal
from lastgood.store.kept import SqlKept
from lastgood.store.migrate import open_store
from lastgood.store.releases import SqlReleases
from lastgood.store.traffic import SqlTraffic
from lastgood.store.versions import SqlVersions
from lastgood.wire.fleet import Desired, HostState, HostStatus, Observed
from lastgood.wire.frames import Status
from lastgood.wire.page import WorkerAck
from lastgood.wire.reports import Look, Reflex, Unreadable, VersionTotals, WorkerReport

PLAN = Plan(
    steps=(
        Step(kind=StepKind.WEIGHT, weight=1000, duration=10.0, samples=50),
        Step(kind=StepKind.WEIGHT, weight=5000, duration=10.0, samples=100),
    ),
    guardrails=(
        Guardrail(name="health", metric=Metric.HEALTH),
        Guardrail(name="errors", metric=Metric.ERRORS, share=1.0),
    ),
    false_rollback_rate=0.01,
    watch=5.0,
)


class Crash(BaseException):
    """The process dies here. Not an Exception, so that nothing can catch it by accident."""


class FakeRouter:
    """The page: workers obey at once unless they are deaf."""

    def __init__(self) -> None:
        self.page = RouteTable(generation=0)
        self.acknowledged = [0, 0]
        self.deaf = False
        self.lease = 0.0
        self.publications: list[RouteTable] = []

    def publish(self, table: RouteTable) -> bool:
        if table.generation <= self.page.generation:
            return False
        self.page = table
        self.publications.append(table)
        self.hear()
        return True

    def hear(self) -> None:
        if not self.deaf:
            self.acknowledged = [self.page.generation for _ in self.acknowledged]

    def renew_lease(self, seconds: float) -> None:
        self.lease = seconds

    def generation(self) -> int:
        return self.page.generation

    def table(self) -> RouteTable | None:
        return self.page

    def workers(self) -> list[WorkerAck]:
        return [WorkerAck(slot, 1000 + slot, 1, seen, 0.0, 0) for slot, seen in enumerate(self.acknowledged)]


class FakeFleet:
    """Hosts become ready as soon as they are wanted, unless they are in ``sick`` or ``slow``."""

    def __init__(self) -> None:
        self.desired = Desired()
        self.sick: dict[str, tuple[str, str]] = {}
        self.slow: set[str] = set()
        self.missed: dict[str, int] = {}
        self.starts: dict[str, int] = {}

    def want(self, desired: Desired) -> None:
        self.desired = desired

    def observe(self) -> Observed:
        hosts = {}
        for spec in self.desired.hosts:
            state, error, code = HostState.READY, "", ""
            if spec.key in self.sick:
                state, (code, error) = HostState.FAILED, self.sick[spec.key]
            elif spec.key in self.slow:
                state = HostState.STARTING
            starts = self.starts.get(spec.key, 1)
            hosts[spec.key] = HostStatus(key=spec.key, state=state, starts=starts, error=error, code=code)
        return Observed(hosts=hosts)

    def misses(self, socket: str) -> int:
        return self.missed.get(Path(socket).stem, 0)


class FakeReports:
    """Worker lives whose counts a test adds to. The one in slot 0 with epoch 1 is there from the beginning."""

    def __init__(self) -> None:
        self.lives: dict[tuple[int, int], WorkerReport] = {}
        self.unreadable: dict[tuple[int, int], float] = {}  # when such a report was written
        self.begin(0, 1)

    def begin(self, slot: int, epoch: int) -> None:
        """Start a worker life; one in the same slot has ended."""
        for life, report in self.lives.items():
            if life[0] == slot:
                report.pid = 1
        self.lives[slot, epoch] = WorkerReport(
            slot=slot, pid=1000 + slot, epoch=epoch, sequence=1, written_at=0.0
        )

    def read(self) -> list[WorkerReport]:
        return [
            msgspec.json.decode(msgspec.json.encode(report), type=WorkerReport)
            for _, report in sorted(self.lives.items())
        ]

    def look(self) -> Look:
        gone = self.unreadable
        found = [one for one in self.read() if (one.slot, one.epoch) not in gone]
        lost = [
            Unreadable(slot=slot, epoch=epoch, written_at=at, error="half a file")
            for (slot, epoch), at in sorted(gone.items())
        ]
        return Look(found, lost)

    def forget(self, slot: int, epoch: int) -> None:
        self.unreadable.pop((slot, epoch), None)
        del self.lives[slot, epoch]

    def feed(
        self,
        release: int,
        stage: int,
        candidate: tuple[int, int],
        stable: tuple[int, int],
        life: tuple[int, int] = (0, 1),
        *,
        keyed: bool = True,
    ) -> None:
        """Add (requests, errors) of both arms to what a life has counted in a stage.

        All come with a key, so that the split is the callers' own and a test may feed any, unless ``keyed`` is False.
        """
        report = self.lives[life]
        own = next((one for one in report.stages if (one.release, one.stage) == (release, stage)), None)
        if own is None:
            own = StageCounts(release=release, stage=stage, candidate=ArmCounts(), stable=ArmCounts())
            report.stages.append(own)
        for arm, more in ((own.candidate, candidate), (own.stable, stable)):
            arm.requests += more[0]
            arm.errors += more[1]
            arm.keyed += more[0] if keyed else 0

    def answer(self, version: int, requests: int, errors: int = 0, life: tuple[int, int] = (0, 1)) -> None:
        """Add to what a life has counted of a version as stable of churn."""
        report = self.lives[life]
        own = next((one for one in report.totals if one.version == version), None)
        if own is None:
            own = VersionTotals(
                deployment="churn", model="churn", version=version, role="stable", counts=ArmCounts()
            )
            report.totals.append(own)
        own.counts.requests += requests
        own.counts.errors += errors

    def take_out(self, release: int, tries: int = 0, life: tuple[int, int] = (0, 1)) -> None:
        """Let a life say that it has stopped sending the candidate traffic."""
        reflex = Reflex(release=release, tries=tries, failures=5, requests=5, log_likelihood=19.6)
        self.lives[life].reflexes.append(reflex)


class FakeBlobs:
    """Artifacts that are always there and intact, but for those in ``damaged``."""

    def __init__(self) -> None:
        self.damaged: set[str] = set()

    def put(self, source: Path) -> tuple[str, int]:
        return f"sha256:{source.name}", 1

    def path(self, digest: str) -> Path:
        return Path("artifact") / digest

    def verify(self, digest: str) -> None:
        assert digest
        if digest in self.damaged:
            raise LastgoodError(Code.CORRUPT, f"The bytes of the artifact {digest} have changed on disk.")


class FakePrograms:
    """Migrations: each name is a function that a test gave."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.known: dict[str, Callable[[], None]] = {}
        self.ended: list[str] = []

    def run(self, name: str, argv: tuple[str, ...], *, seconds: float) -> None:
        assert seconds > 0
        assert name.startswith("release-")
        self._world.reach("before migration")
        self.known[argv[0]]()
        self._world.reach("after migration")

    def end(self, name: str) -> None:
        self.ended.append(name)


class World:
    """One machine. ``store`` is the database's file, None for one in memory."""

    def __init__(
        self,
        sources: Mapping[str, Callable[[], DataSource]] | None = None,
        kept_data: Path = Path("home/data"),
        store: Path | None = None,
    ) -> None:
        self.clock = 1_000.0
        self.sources = dict(sources or {})
        self.kept_data = kept_data
        self.programs = FakePrograms(self)
        self.router, self.fleet, self.reports, self.blobs = (
            FakeRouter(),
            FakeFleet(),
            FakeReports(),
            FakeBlobs(),
        )
        self.outcomes = ListedOutcomes()
        self.metrics = ListedMetrics()
        self.sketches = ListedSketches()
        self.database = open_store(store)
        self.versions = SqlVersions(self.database)
        self.store = SqlReleases(self.database)
        self.journal = SqlJournal(self.database)
        self.evidence = SqlEvidence(self.database)
        self.kept = SqlKept(self.database)
        self.answer: Ask = lambda *_: (Status.OK, b'{"outputs": []}')
        self.fault: tuple[str, int] | None = None
        self.died: Crash | None = None
        self.passed: list[str] = []
        self.restart()

    def restart(self) -> None:
        """Start a new control plane over the same store and outside world."""
        settings = Settings(home="home", trust_plan_commands=bool(self.sources))
        self.executor = Executor(
            versions=self.versions,
            releases=_Faulty(self, self.store, "store", ("commit",)),
            blobs=self.blobs,
            router=_Faulty(self, self.router, "page", ("publish",)),
            fleet=_Faulty(self, self.fleet, "fleet", ("want",)),
            settings=settings,
            now=lambda: self.clock,
        )
        opened = {name: functools.partial(self._source, opener) for name, opener in self.sources.items()}
        self.live = LiveData(Desk(opened), self.programs)
        self.executor.standbys.fits = self.live.schemas.fits
        self.golden = GoldenChecks(self._answer)
        self._wire_readiness(settings)
        self.observer = Observer(
            executor=self.executor,
            releases=self.store,
            evidence=_Faulty(self, self.evidence, "evidence", ("save_evidence",)),
            fleet=self.fleet,
            reports=self.reports,
            settings=settings,
            live=self.live,
            golden=self.golden,
            standing=self.readiness.standing,
            labels=Labels(self.outcomes),
            custom=CustomMetrics(self.metrics, self.executor.version, begin=lambda work: work()),
            drift=Drift(self.sketches, self.executor.version),
            now=lambda: self.clock,
        )
        self.traffic = SqlTraffic(self.database)
        self.recorder = Recorder(
            traffic=self.traffic, reports=self.reports, keep_seconds=86_400.0, now=lambda: self.clock
        )
        self.caretaker = Caretaker(
            kept=_Faulty(self, self.kept, "kept", ("note",)),
            releases=self.store,
            desk=self.live.desk,
            kept_data=self.kept_data,
            now=lambda: self.clock,
        )
        self.controller = Controller(
            releases=self.store,
            executor=self.executor,
            observer=self.observer,
            router=self.router,
            reports=self.reports,
            lease_seconds=5.0,
            tick_seconds=0.1,
            recorder=self.recorder,
            caretaker=self.caretaker,
        )
        self.registry = Registry(
            versions=self.versions,
            blobs=self.blobs,
            inspect=lambda *_: None,
            git_state=lambda _: None,
            schema=self.live.schemas.of,
            open_table=open_table,
            now=lambda: self.clock,
        )
        self.rollback = Rollback(
            releases=self.store,
            registry=self.registry,
            executor=self.executor,
            observer=self.observer,
            live=self.live,
            kept=self.kept,
        )
        self.quarantines = Quarantines(
            kept=self.kept,
            releases=self.store,
            executor=self.executor,
            live=self.live,
            settling=self.rollback.settling,
            caretaker=self.caretaker,
        )
        self.clearing = Clearing(
            kept=self.kept,
            releases=self.store,
            live=self.live,
            caretaker=self.caretaker,
            keep_seconds=2_592_000.0,
            now=lambda: self.clock,
        )
        self.commands = Releases(
            releases=self.store,
            starting=Starting(
                releases=self.store,
                traffic=self.traffic,
                registry=self.registry,
                blobs=self.blobs,
                executor=self.executor,
                settings=settings,
                live=self.live,
                readiness=self.readiness,
            ),
            executor=self.executor,
            observer=self.observer,
            rollback=self.rollback,
            readiness=self.readiness,
            wake=lambda: None,
        )
        self.views = Views(
            versions=self.versions,
            releases=self.store,
            journal=self.journal,
            fleet=self.fleet,
            router=self.router,
            executor=self.executor,
            observer=self.observer,
            readiness=self.readiness.current,
            now=lambda: self.clock,
        )
        self.hindsight = Hindsight(
            releases=self.store,
            journal=self.journal,
            observer=self.observer,
            views=self.views,
            now=lambda: self.clock,
        )
        self.executor.resume()

    def _wire_readiness(self, settings: Settings) -> None:
        ways, plans = WaysBack(self.store, self.kept), ServingPlans(self.store)
        proving: dict[str, Any] = {
            "executor": self.executor,
            "blobs": self.blobs,
            "residents": Residents(self.fleet, settings.run, self.golden.ask),
            "live": self.live,
        }
        self.drills = Drills(
            releases=self.store,
            journal=self.journal,
            executor=self.executor,
            rehearser=Rehearser(ways=ways, run=settings.run, **proving),
            plans=plans,
        )
        self.readiness = ReadinessWatch(
            releases=self.store,
            executor=self.executor,
            prover=Prover(**proving),
            ways=ways,
            drills=self.drills,
            schedule=DrillSchedule(
                releases=self.store, drills=self.drills, plans=plans, ways=ways, now=lambda: self.clock
            ),
            news=ReadinessNews(
                releases=self.store, journal=self.journal, executor=self.executor, plans=plans
            ),
        )
        self.readiness.serving = True

    def _source(self, opener: Callable[[], DataSource]) -> Any:
        return _Faulty(self, opener(), "data", ("capture", "stage_restore", "swap", "quarantine", "release"))

    def _answer(self, socket: str, deployment: str, body: bytes) -> tuple[Status, bytes]:
        return self.answer(socket, deployment, body)

    def settle_data(self) -> None:
        """Wait until no work on data is under way, and let what died there die here."""
        while not (self.live.desk.idle() and self.golden.idle()):
            time.sleep(0.001)
        if self.died is not None:
            died, self.died = self.died, None
            raise died

    def register(
        self,
        *labels: str,
        model: str = "churn",
        needs: dict[str, Schema] | None = None,
        golden: tuple[Golden, ...] = (),
        reference: Reference | None = None,
    ) -> None:
        for label in labels:
            version = Version(
                model=model,
                number=0,
                label=label,
                digest=f"sha256:{model}-{label}",
                size_bytes=1,
                format=Format.ONNX,
                created_at=self.clock,
                created_by="ada",
                needs=needs or {},
                golden=golden,
                reference=reference,
            )
            event = EventDraft(type="lastgood.version.registered", at=self.clock, actor="ada", model=model)
            self.versions.add_version(version, event)

    def start(self, label: str, **order: Any) -> Release:
        order.setdefault("plan", PLAN)
        return self.commands.start(Order(model="churn", version=label, actor="ada", **order))

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, then take one turn of the loop."""
        self.clock += seconds
        self.controller.turn()

    def serve(self, label: str, **order: Any) -> Release:
        """Release a version and take it all the way to stable."""
        release = self.start(label, **order)
        for _ in range(20):
            self.turn(11.0)
            now = self.release(release.id)
            if now.terminal:
                return now
            stage = max(now.plan.stage_at(now.step), 0)
            self.reports.feed(release.id, stage, (200, 0), (1800, 0))
        raise AssertionError(f"{label} did not become stable: {self.release(release.id)}")

    def fail(self, label: str) -> Release:
        """Release a version and let it fail half its requests until it is rolled back."""
        release = self.start(label)
        for _ in range(20):
            self.turn(1.0)
            now = self.release(release.id)
            if now.terminal:
                return now
            self.reports.feed(release.id, 0, (100, 50), (900, 0))
        raise AssertionError(f"{label} was not rolled back: {self.release(release.id)}")

    def release(self, identifier: int) -> Release:
        found = self.store.release(identifier)
        assert found is not None
        return found

    def deployment(self) -> Deployment:
        found = self.store.deployment("churn")
        assert found is not None
        return found

    def stable(self) -> str | None:
        """Return the label that the deployment says is stable."""
        deployment = self.store.deployment("churn")
        if deployment is None or deployment.stable is None:
            return None
        return self.executor.version("churn", deployment.stable).label

    def routed(self) -> str | None:
        """Return the label that gateways send to by default."""
        routes = {route.deployment: route for route in self.router.page.routes}
        stable = routes["churn"].stable if "churn" in routes else None
        return None if stable is None else stable.label

    def key(self, label: str) -> str:
        """Return the key of a version's host."""
        return host_key("churn", self.registry.resolve("churn", label).number)

    def reach(self, point: str) -> None:
        """Pass a named fault point, or die there."""
        self.passed.append(point)
        if self.fault is not None and self.fault[0] == point:
            left = self.fault[1] - 1
            self.fault = None if left < 0 else (point, left)
            if left < 0:
                self._die(Crash(point))

    def _die(self, crash: Crash) -> None:
        """Die: a worker thread's death is the whole process's, which :meth:`settle_data` then says."""
        if threading.current_thread() is not threading.main_thread():
            self.died = crash
            raise LastgoodError(Code.INTERNAL, str(crash))
        raise crash


class _Faulty:
    """Passes calls on, with a fault point before and after those named."""

    def __init__(self, world: World, inner: Any, name: str, calls: tuple[str, ...]) -> None:
        self._world, self._inner, self._name, self._calls = world, inner, name, calls

    def __getattr__(self, attribute: str) -> Any:
        target = getattr(self._inner, attribute)
        if attribute not in self._calls:
            return target

        def call(*args: Any, **kwargs: Any) -> Any:
            self._world.reach(f"before {self._name}.{attribute}")
            result = target(*args, **kwargs)
            self._world.reach(f"after {self._name}.{attribute}")
            return result

        return call
