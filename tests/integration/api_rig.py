"""A control plane without processes: the real services, and a test that plays the supervisor's part by its files."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from lastgood.bootstrap import Services, close, open_services
from lastgood.control.registry import Draft
from lastgood.domain.version import Format
from lastgood.settings import Settings
from lastgood.web.app import build_app
from lastgood.wire.fleet import HostState, HostStatus, Observed, read_desired, write_observed

ACTOR = {"actor": "tester"}
STEPS = """\
strategy: canary
steps:
  - weight: 10%
    for: 1h
  - approve: Ask somebody
  - weight: 50%
    for: 1h
watch: 1h
"""


def settings_for(home: Path, **changes: Any) -> Settings:
    """Return settings whose health checks never run during a test."""
    return Settings(home=str(home), **{"health_interval": 3600.0, "api_port": 0, **changes})


def say_all_hosts_are_ready(run: Path) -> None:
    """Answer the controller's wish as a supervisor does when every host has loaded."""
    hosts = {
        spec.key: HostStatus(key=spec.key, state=HostState.READY, starts=1)
        for spec in read_desired(run).hosts
    }
    write_observed(run, Observed(written_at=time.time(), hosts=hosts))


def write_artifact(folder: Path, content: str) -> Path:
    """Write Python code that can be registered as a callable; it is never run here."""
    path = folder / f"model_{abs(hash(content))}.py"
    path.write_text(f"# {content}\ndef make():\n    return None\n")
    return path


def until(check: Callable[[], Any], *, seconds: float = 120.0) -> Any:
    """Return the first true answer of ``check``, or fail."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


class Rig:
    """Services, an API client, and the world around them."""

    def __init__(self, services: Services, client: TestClient, folder: Path) -> None:
        self.services = services
        self.client = client
        self.folder = folder

    def register(self, label: str) -> int:
        """Register a version of churn with bytes of its own; return its number."""
        draft = Draft(
            model="churn",
            artifact=write_artifact(self.folder, label),
            format=Format.CALLABLE,
            factory="model:make",
            label=label,
            actor="tester",
        )
        return self.services.registry.register(draft).version.number

    def drive(self) -> None:
        """Let every wish come true and every release go as far as it goes now."""
        for _ in range(10):
            say_all_hosts_are_ready(self.services.settings.run)
            self.services.controller.turn()

    def post(self, path: str, **body: Any) -> Any:
        """Give a command."""
        return self.client.post(f"/api/v1/{path}", json={**ACTOR, **body})

    def get(self, path: str, **query: Any) -> Any:
        """Ask."""
        return self.client.get(f"/api/v1/{path}", params=query)

    def stable(self, label: str) -> None:
        """Register and release a version until it is stable and its release is over."""
        number = self.register(label)
        answer = self.post(
            "releases", model="churn", version=number, plan="strategy: all_at_once\nwatch: 0s\n"
        )
        assert answer.status_code == 201, answer.text
        self.drive()
        assert self.get("deployments/churn").json()["stable"]["label"] == label


@contextlib.contextmanager
def control_plane(folder: Path, **changes: Any) -> Iterator[Rig]:
    """Open a rig below ``folder``."""
    services = open_services(settings_for(folder / "home", **changes))
    try:
        token = services.settings.token_file.read_text()
        app = build_app(services)
        headers = {"authorization": f"Bearer {token}"}
        with TestClient(app, base_url="http://127.0.0.1", headers=headers) as client:
            yield Rig(services, client, folder)
    finally:
        close(services)
