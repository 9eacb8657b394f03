"""What a turn of the controller costs: releases with ten guardrails each, all with news, on one core.

    python bench/run.py controller                       (about a minute)
    python bench/run.py controller --releases 1000

The real loop over the real store on disk: it reads the reports of two gateway workers, closes a stratum of 100 requests in
every release, folds, judges, decides, and saves all. Only the hosts are not there: a fleet says that they answer. What is
counted is the processor time of the controller's thread; beside it the time on the clock, waits for the disk included.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "evidence"), str(HERE.parent / "tests" / "simulation")]

import cost  # noqa: E402 - found on the path just set
from sources import streams  # noqa: E402 - likewise
from world import World  # noqa: E402 - likewise

from lastgood.analysis.counts import added  # noqa: E402
from lastgood.control.reports import FolderReports  # noqa: E402
from lastgood.control.router import PageRouter  # noqa: E402
from lastgood.domain.change import Change  # noqa: E402
from lastgood.domain.deployment import Deployment  # noqa: E402
from lastgood.domain.plan import Plan  # noqa: E402
from lastgood.domain.release import Phase, Release  # noqa: E402
from lastgood.domain.traffic import ArmCounts, Baseline, StageCounts  # noqa: E402
from lastgood.wire.fleet import Desired, HostState, HostStatus, Observed  # noqa: E402
from lastgood.wire.page import RoutePage  # noqa: E402
from lastgood.wire.reports import WorkerReport, write_report  # noqa: E402

WORKERS = 2
WARM = 12  # turns with news before the first that counts: every release has that many strata
TURNS = 7
EACH = 50  # requests that a worker counts of a release between two turns
RATE = 1e-6  # so small that no release is decided before the end
GOAL = 0.6  # seconds for a thousand releases


class Fleet:
    """Every wanted host is ready and answers, as a supervisor's last view says."""

    def __init__(self) -> None:
        self._wish, self._view = Desired(), Observed()

    def want(self, desired: Desired) -> None:
        if desired != self._wish:
            hosts = {
                one.key: HostStatus(key=one.key, state=HostState.READY, starts=1) for one in desired.hosts
            }
            self._wish, self._view = desired, Observed(hosts=hosts)

    def observe(self) -> Observed:
        return self._view

    def misses(self, socket: str) -> int:
        return 0 if socket else 1


class Gateways:
    """Two workers that obey every route at once, and count what :meth:`count` lets them."""

    def __init__(self, run: Path, releases: list[int]) -> None:
        self._page = RoutePage.open(run / "route.page")
        self._chance, self._law = np.random.default_rng(5), streams.law(streams.base)
        self._folder = run / "reports"
        self._folder.mkdir()
        self._reports = []
        for slot in range(WORKERS):
            self._page.claim(slot, os.getpid())
            stages = [
                StageCounts(release=release, stage=0, candidate=ArmCounts(), stable=ArmCounts())
                for release in releases
            ]
            self._reports.append(
                WorkerReport(slot=slot, pid=os.getpid(), epoch=1, sequence=1, written_at=0.0, stages=stages)
            )

    def obey(self) -> None:
        for slot in range(WORKERS):
            self._page.acknowledge(slot, self._page.generation, 0)

    def count(self) -> None:
        """Let every worker answer some requests of every release, one in ten the candidate's, and report."""
        for report in self._reports:
            for own in report.stages:
                n1 = max(1, int(self._chance.binomial(EACH, 0.1)))
                own.candidate = added((own.candidate, cost.arm(self._chance, n1, self._law)))
                own.stable = added((own.stable, cost.arm(self._chance, EACH - n1, self._law)))
            write_report(self._folder, report)

    def close(self) -> None:
        self._page.close()


def fill(world: World, plan: Plan, releases: int) -> list[int]:
    """Put deployments into the store, each with a release in the middle of its only step; return their releases."""
    law = streams.law(streams.base)
    past = next(streams.sparse(np.random.default_rng(4).multinomial(5000, law)[None]))
    found = []
    for number in range(releases):
        model = f"model-{number:04d}"
        world.register("v1.0", "v1.1", model=model)
        begun = Release(
            id=0,
            deployment=model,
            model=model,
            version=1,
            previous=None,
            plan=Plan(),
            phase=Phase.SUCCEEDED,
            created_at=world.clock,
            created_by="ada",
        )
        first = Deployment(name=model, model=model, stable=1)
        deployment, before = world.store.commit(Change(deployment=first, release=begun, became_stable=True))
        assert before is not None
        _, release = world.store.commit(under_way(world, deployment, plan, Baseline(latency=past)))
        assert release is not None
        found.append(release.id)
    return found


def under_way(world: World, deployment: Deployment, plan: Plan, baseline: Baseline) -> Change:
    """Return the change that begins a release of version 2, which gets a tenth of the traffic from now on."""
    release = Release(
        id=0,
        deployment=deployment.name,
        model=deployment.model,
        version=2,
        previous=1,
        plan=plan,
        phase=Phase.PROGRESSING,
        step_since=world.clock,
        phase_since=world.clock,
        traffic_since=world.clock,
        created_at=world.clock,
        created_by="ada",
        host_starts=1,
        baseline=baseline,
        deadline=world.clock + plan.deadline,
    )
    changed = Deployment(
        name=deployment.name,
        model=deployment.model,
        revision=deployment.revision + 1,
        stable=deployment.stable,
        release=0,
    )
    return Change(deployment=changed, release=release, new_route=True)


def spent(work: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds of processor and of the clock that ``work`` took."""
    begun, clock = time.thread_time(), time.perf_counter()
    work()
    return time.thread_time() - begun, time.perf_counter() - clock


def measure(folder: Path, releases: int, turns: int) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of turns with news in every release, and of turns with none."""
    run = folder / "home" / "run"
    run.mkdir(parents=True)
    world = World(store=folder / "home" / "lastgood.db")
    found = fill(world, msgspec.structs.replace(cost.ten_guardrails(), false_rollback_rate=RATE), releases)
    gateways = Gateways(run, found)
    world.fleet, world.router, world.reports = Fleet(), PageRouter(run), FolderReports(run / "reports")
    world.restart()
    gateways.obey()
    taken: dict[str, list[tuple[float, float]]] = {"news": [], "quiet": []}
    for turn in range(WARM + turns):
        gateways.count()
        news = spent(lambda: world.turn(1.0))
        quiet = spent(lambda: world.turn(0.1))
        if turn >= WARM:
            taken["news"].append(news)
            taken["quiet"].append(quiet)
    assert not world.controller.trouble
    for release in found:
        assert world.evidence.evidence(release).sequence == WARM + turns
        assert world.release(release).phase is Phase.PROGRESSING
    gateways.close()
    world.router.close()
    world.database.close()
    return taken


def main() -> int:
    """Measure and print; return 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--releases", type=int, default=300, help="releases under way at once (default 300)")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"turns that count (default {TURNS})")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lastgood-bench-") as folder:
        taken = measure(Path(folder), given.releases, given.turns)
    guardrails = len(cost.ten_guardrails().guardrails)
    print(f"{given.releases} releases with {guardrails} guardrails each; medians of {given.turns} turns\n")
    print(
        f"{'':30}{'µs a release':>14}{'least':>8}{'a guardrail':>13}{'1 000 releases':>16}{'on the clock':>14}"
    )
    parts = {}
    for name, told in (("news", "a stratum in every release"), ("quiet", "no news in any")):
        processor, clock = (statistics.median(one) for one in zip(*taken[name], strict=True))
        each = processor / given.releases
        parts[name] = each * 1000
        least = min(taken[name])[0] / given.releases
        print(
            f"{told:30}{each * 1e6:14.0f}{least * 1e6:8.0f}{each * 1e6 / guardrails:13.1f}{each * 1000:14.2f} s"
            f"{clock / given.releases * 1000:12.2f} s"
        )
    reached = parts["news"] <= GOAL
    verdict = "reached" if reached else "NOT REACHED"
    print(f"\nOf a tick of 1 s, 1 000 such releases take {parts['news']:.0%} (goal {GOAL:.0%}): {verdict}")
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
