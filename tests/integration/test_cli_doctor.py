"""What the doctor finds in a running server. The supervisor's and the gateways' parts are played by their files."""

import os
import shutil
from types import SimpleNamespace

import pytest
from api_rig import control_plane, say_all_hosts_are_ready

from lastgood.cli import doctor_serving
from lastgood.supervise.supervisor import RunLock
from lastgood.wire.fleet import Observed, write_observed
from lastgood.wire.page import RoutePage


@pytest.fixture
def rig(tmp_path, monkeypatch):
    """A deployment that serves, under a supervisor's lock, with one gateway worker that has followed."""
    monkeypatch.setattr(doctor_serving, "_ACKNOWLEDGE_SECONDS", 0.0)
    with control_plane(tmp_path) as opened:
        opened.stable("v1.0")
        run = opened.services.settings.run
        lock, page = RunLock.take(run), RoutePage.open(run / "route.page")
        page.claim(0, os.getpid())
        page.acknowledge(0, opened.services.router.generation(), 0)
        opened.page = page
        yield opened
        page.close()
        del lock


def test_a_healthy_server_has_no_findings(rig):
    """Workers on the generation in force, ready hosts and a log that lacks nothing are in order."""
    found = [check(rig.services) for check in doctor_serving.SERVING_CHECKS]

    assert [(one.name, one.state) for one in found] == [
        ("routes", "ok"),
        ("hosts", "ok"),
        ("predictions", "ok"),
    ]


def test_a_worker_that_has_not_followed_is_a_problem(rig):
    """The slot that is behind is named."""
    rig.page.claim(1, os.getpid())
    rig.page.acknowledge(1, rig.services.router.generation() - 1, 0)

    found = doctor_serving.routes(rig.services)

    assert (found.state, "1 of 2" in found.what, "behind: 1" in found.what) == ("problem", True, True)


def test_a_page_that_lags_the_store_is_a_problem(rig):
    """With an older page in place, as after a restored run folder, both generations are told."""
    run = rig.services.settings.run
    wanted = rig.services.router.generation()
    (run / "route.page").unlink()
    fresh = RoutePage.open(run / "route.page")
    fresh.claim(0, os.getpid())
    services = SimpleNamespace(
        settings=rig.services.settings,
        views=rig.services.views,
        router=SimpleNamespace(generation=lambda: fresh.generation, workers=fresh.workers),
    )

    found = doctor_serving.routes(services)
    fresh.close()

    assert (found.state, found.what) == (
        "problem",
        f"Generation 0 is in force, and the store says {wanted}.",
    )


def test_a_page_that_cannot_be_read_is_a_problem(rig):
    """Broken bytes in the table are found before a gateway has to restart on them."""
    page = rig.services.settings.run / "route.page"
    with page.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 64)
        file.seek(8192 + 4 * 1024 * 1024)
        file.write(b"\xff" * 64)

    assert doctor_serving.routes(rig.services).state == "problem"


def test_a_wanted_host_that_is_not_ready_is_a_problem(rig):
    """The version whose host is missing is named."""
    run = rig.services.settings.run
    write_observed(run, Observed())
    missing = doctor_serving.hosts(rig.services)
    say_all_hosts_are_ready(run)

    assert (missing.state, "churn v1.0 is not running" in missing.what) == ("problem", True)
    assert doctor_serving.hosts(rig.services).state == "ok"


def test_a_disk_that_is_almost_full_is_a_problem(rig, monkeypatch):
    """Below 200 MB a problem with what to do, above it in order."""
    found = {}
    for free in (199 * 1000**2, 201 * 1000**2):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: SimpleNamespace(free=free))
        (found[free],) = doctor_serving.disk(rig.services.settings)

    assert [one.state for one in found.values()] == ["problem", "ok"]
    assert "199 MB" in found[199 * 1000**2].what


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((True, "The controller works.", []), "ok"),
        ((True, "It cannot drive churn.", ["churn"]), "problem"),
        ((False, "The last turn was 9 s ago.", []), "problem"),
    ],
)
def test_a_controller_without_turns_is_a_problem(rig, monkeypatch, answer, state):
    """Anything but a good health without trouble is a problem that points at the log."""
    monkeypatch.setattr(doctor_serving, "ask_health", lambda _settings: answer)

    (found,) = doctor_serving.controller(rig.services.settings)

    assert (found.state, found.what) == (state, answer[1])
    assert ("controller.log" in found.next) is (state == "problem")
