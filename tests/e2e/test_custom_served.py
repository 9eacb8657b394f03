"""Custom metrics of a real server: a shop's own database convicts a candidate, and a secret URL stays one."""

import http.server
import json
import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from project import GOOD, Project, eventually, serving

pytestmark = pytest.mark.slow
SECRET = "s3cr3t-p4ssw0rd"
STEPS = "strategy: canary\nsteps:\n  - weight: 50%\n    for: 1h\ndeadline: 2h\nwatch: 1h\n"
REFUNDS = """\
guardrails:
  - metric: errors
  - metric: custom
    name: refunds
    compare: counts
    every: 1s
    min_samples: 100
    source:
      url: sqlite:///shop.db
      sql: >
        SELECT version, sum(refunded) AS bad, count(*) AS total FROM orders
        WHERE at >= :since GROUP BY version
"""
RATE = """\
guardrails:
  - metric: custom
    name: complaints
    source: {http: "env:COMPLAINTS_URL", value: rate}
    every: 1s
    max: 5%
    failures: 3
"""


class Shop:
    """Orders of both versions, seeded, of which the candidate's are refunded more often."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "shop.db"
        self.chance = random.Random(5)
        self._run("CREATE TABLE orders (version TEXT, at REAL, refunded INTEGER)", [()])

    def sell(self, at: float, count: int = 40) -> None:
        """Sell to both arms alike."""
        rows = [
            (label, at, int(self.chance.random() < rate))
            for label, rate in (("v1.1", 0.3), ("v1.0", 0.02))
            for _ in range(count)
        ]
        self._run("INSERT INTO orders VALUES (?, ?, ?)", rows)

    def _run(self, statement: str, rows: list[Any]) -> None:
        with sqlite3.connect(self.file) as shop:
            shop.executemany(statement, rows)
        shop.close()


@pytest.fixture
def complaints() -> Iterator[Any]:
    """A server that answers whatever its ``rate`` is, and keeps the paths it was asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.paths.append(self.path)
            body = json.dumps({"rate": server.rate}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.rate, server.paths = 0.01, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def finding(project: Project, name: str) -> dict[str, Any]:
    release = project.data("status", "churn")["release"]
    found = [one for one in release["findings"] if one["guardrail"] == name] if release else []
    return found[0] if found else {"verdict": "", "numbers": {"measurements": 0}}


def test_refunds_in_the_shops_database_roll_back(tmp_path: Path) -> None:
    """No request fails; what the candidate sold comes back, and the evidence can be computed again."""
    with serving(tmp_path) as project:
        shop = Shop(project.folder)
        project.register("v1.1", GOOD)
        (project.folder / "plan.yaml").write_text(STEPS + REFUNDS)
        released = project.popen(
            "release", "churn", "--version", "v1.1", "--plan", "plan.yaml", "--wait", "--json"
        )
        eventually(lambda: finding(project, "refunds")["numbers"]["measurements"], "it is asked")
        eventually(lambda: project.infer()[0] == 200, "requests are answered")
        for _ in range(20):
            before = finding(project, "refunds")["numbers"]["measurements"]
            shop.sell(4_000_000_000.0)
            if released.poll() is not None:
                break
            eventually(
                lambda before=before: (
                    released.poll() is not None
                    or finding(project, "refunds")["numbers"]["measurements"] > before
                ),
                "it is asked again",
            )
        said, _ = released.communicate(timeout=120)
        assert released.returncode == 4, said
        release = project.data("show", "release", "2")
        assert release["evidence"]["guardrail"] == "refunds"
        assert release["evidence"]["e_value"] >= release["evidence"]["bound"]
        project.cli("verify", "release", "2", "--evidence")
        assert project.data("status", "churn")["stable"]["label"] == "v1.0"


def test_a_number_behind_a_secret_url_rolls_back(
    tmp_path: Path, complaints: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes, then breaks; the key in its URL is asked with and shown nowhere."""
    url = f"http://127.0.0.1:{complaints.server_port}/rate?key={SECRET}&version={{candidate.version}}"
    monkeypatch.setenv("COMPLAINTS_URL", url)
    with serving(tmp_path) as project:
        project.register("v1.1", GOOD)
        (project.folder / "plan.yaml").write_text(STEPS + RATE)
        shown = project.cli("plan", "measure", "plan.yaml", "--deployment", "churn")
        assert "0.01: within bounds" in shown.stdout
        released = project.popen(
            "release", "churn", "--version", "v1.1", "--plan", "plan.yaml", "--wait", "--json"
        )
        eventually(lambda: finding(project, "complaints")["verdict"] == "passed", "it passes")
        complaints.rate = 0.2
        said, _ = released.communicate(timeout=120)
        assert released.returncode == 4, said
        release = project.data("show", "release", "2")
        assert "0.2, over the maximum of 0.05 in 3 measurements in a row" in release["cause"]
        assert complaints.paths[-1] == f"/rate?key={SECRET}&version=2"
        record = json.dumps(project.data("audit")) + json.dumps(release)
        log = (project.folder / "serve.log").read_text()
        assert "COMPLAINTS_URL" in record
        assert SECRET not in record + log + said + shown.stdout
