"""A project of its own for each test: a folder, free ports, the real command line, a real server, real load."""

import collections
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from free_ports import free_port
from models import is_alive

QUICK_PLAN = """\
strategy: canary
steps:
  - weight: 20%
    for: 1s
    samples: 50
  - weight: 50%
    for: 1s
    samples: 50
guardrails:
  - metric: health
  - metric: errors
  - metric: invalid_output
false_rollback_rate: 1%
watch: 1s
"""
DEADLINE_SECONDS = 120.0
"""A safety net for a slow machine under load: no test's outcome depends on it."""


def eventually(check: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """Return the first true answer of ``check``; fail loudly after a deadline that is only a safety net."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = check()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


class Project:
    """One folder with one server."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.port, self.api_port = free_port(), free_port()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("LASTGOOD_")},
            "LASTGOOD_ACTOR": "ada",
            "LASTGOOD_PORT": str(self.port),
            "LASTGOOD_API_PORT": str(self.api_port),
            "NO_COLOR": "1",
            "COLUMNS": "100",
            **{f"LASTGOOD_{key.upper()}": str(value) for key, value in settings.items()},
        }
        self.server: subprocess.Popen[bytes] | None = None
        self.cli("init")
        (folder / "plan.yaml").write_text(QUICK_PLAN)

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / ".lastgood" / "run"

    def cli(
        self, *arguments: str, expect: int | None = 0, timeout: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """Type one command; fail when its exit code is not the one expected."""
        done = subprocess.run(
            [sys.executable, "-m", "lastgood", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if expect is not None:
            assert done.returncode == expect, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def data(self, *arguments: str, expect: int | None = 0) -> Any:
        """Type one command with --json."""
        return json.loads(self.cli(*arguments, "--json", expect=expect).stdout)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and do not wait for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "lastgood", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self) -> Self:
        """Start the server and wait until it says that it listens."""
        log = self.folder / "serve.log"
        with log.open("ab") as output:
            before = log.read_text().count("Listening")
            self.server = subprocess.Popen(
                [sys.executable, "-m", "lastgood", "serve"],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=output,
            )

        def listening() -> bool:
            assert self.server is not None
            assert self.server.poll() is None, log.read_text()
            return log.read_text().count("Listening") > before

        eventually(listening, "the server listens")
        return self

    def stop(self) -> int:
        """Stop the server as Ctrl-C does; return its exit code."""
        if self.server is None:
            return 0
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGINT)
        try:
            return self.server.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill_tree()
            raise
        finally:
            self.server = None

    def kill_tree(self) -> None:
        """Kill -9 the supervisor and everything it started, at once; return when all of it has ended."""
        assert self.server is not None
        pids = [self.server.pid, self.controller_pid(), *self.gateway_pids().values()]
        pids += [host["pid"] for host in self.hosts().values() if host["pid"]]
        pids += [pid for pid in (self.recorder_pid(),) if pid]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.server.wait(DEADLINE_SECONDS)
        self.server = None
        eventually(lambda: not any(map(is_alive, pids)), "all that was killed has ended")

    def observed(self) -> dict[str, Any]:
        """Return what the supervisor sees."""
        return dict(json.loads((self.run / "observed.json").read_bytes()))

    def controller_pid(self) -> int:
        """Return the pid of the process with the control API, 0 while none says that it has it."""
        try:
            return int(json.loads((self.run / "api.json").read_bytes())["pid"])
        except FileNotFoundError:
            return 0

    def recorder_pid(self) -> int:
        """Return the pid of the process that fills the prediction log, 0 while none runs."""
        assert self.server is not None
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if b"lastgood.predictions" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        return 0

    def gateway_pids(self) -> dict[str, int]:
        """Return the gateway workers' pids by slot: of those that run now."""
        return dict(self.observed()["gateways"])

    def hosts(self) -> dict[str, Any]:
        """Return the hosts by version number; the pid of one that does not run now is 0."""
        return {key.split("-")[0][1:]: host for key, host in self.observed()["hosts"].items()}

    def callable(self, name: str, body: str) -> Path:
        """Write a model of Python source: ``load()`` returns ``predict(inputs)`` with the body given.

        The body sees ``x``, a float array [rows, 1], and ``state``, a dict that lives as long as the host.
        """
        path = self.folder / f"{name}.py"
        indented = "\n".join(f"        {line}" for line in body.strip().splitlines())
        path.write_text(
            "import numpy as np\n\ndef load():\n    state = {}\n\n    def predict(inputs):\n        x = inputs['x']\n"
            f"{indented}\n\n    return predict\n"
        )
        return path

    def register(self, label: str, body: str, *, model: str = "churn") -> None:
        """Register a callable model under a label."""
        name = label.replace(".", "_").replace("-", "_")
        path = self.callable(f"{model}_{name}", body)
        (self.folder / "signature.json").write_text(json.dumps(SIGNATURE))
        self.cli(
            "register",
            model,
            str(path),
            "--label",
            label,
            "--factory",
            f"{path.stem}:load",
            "--signature",
            "signature.json",
        )

    def release(
        self, label: str, *extra: str, expect: int | None = 0, model: str = "churn"
    ) -> subprocess.CompletedProcess[str]:
        """Release a version with the quick plan and wait for its end."""
        return self.cli(
            "release", model, "--version", label, "--plan", "plan.yaml", "--wait", *extra, expect=expect
        )

    def infer(
        self,
        value: float = 1.0,
        *,
        path: str = "/v2/models/churn/infer",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any, dict[str, str]]:
        """Send one request; return status, body and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        try:
            connection.request(
                "POST", path, body_of(value), {"content-type": "application/json", **(headers or {})}
            )
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), {k.lower(): v for k, v in answer.headers.items()}
        finally:
            connection.close()


SIGNATURE = {
    "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 1]}],
    "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1, 1]}],
}
GOOD = "return {'y': x * 2.0}"


def body_of(value: float) -> str:
    """Return a V2 request of one row."""
    return json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [value]}]})


def ask(port: int, body: dict[str, Any]) -> int:
    """Send one request to the model 'churn'; return the status, 0 when nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        connection.request("POST", "/v2/models/churn/infer", json.dumps(body))
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


class Load:
    """Closed-loop clients that count every answer.

    A connection that breaks is opened anew and the request sent once more, as HTTP clients do for a
    server that closed an idle connection; a worker killed with ``kill -9`` breaks the connections it held, and no
    server can prevent that. Everything else that is not a right answer is a failure.
    """

    def __init__(self, project: Project, *, clients: int = 4, pause: float = 0.002) -> None:
        self.project, self.pause = project, pause
        self.failures: collections.Counter[str] = collections.Counter()
        self.versions: collections.Counter[str] = collections.Counter()
        self.fallbacks: collections.Counter[str] = collections.Counter()
        self.requests = 0
        self.reconnected = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(index,), daemon=True) for index in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        try:
            eventually(lambda: self.requests > 20, "load runs")
        except BaseException:
            self._stop.set()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads), "every client has ended"

    def _run(self, index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.project.port, timeout=DEADLINE_SECONDS)
        number = index
        while not self._stop.is_set():
            number += 1
            value = float(number % 100)
            for last in (False, True):
                try:
                    connection.request("POST", "/v2/models/churn/infer", body_of(value))
                    answer = connection.getresponse()
                    raw = answer.read()
                    break
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    if last:
                        self._count(f"{type(error).__name__}: {error}", None, None)
                    else:
                        self.reconnected += 1
            else:
                continue
            good = answer.status == 200 and json.loads(raw)["outputs"][0]["data"] == [value * 2.0]
            problem = "" if good else f"{answer.status}: {raw[:200]!r}"
            self._count(
                problem, answer.headers.get("lastgood-version"), answer.headers.get("lastgood-fallback")
            )
            time.sleep(self.pause)
        connection.close()

    def _count(self, problem: str, version: str | None, fallback: str | None) -> None:
        with self._lock:
            self.requests += 1
            if problem:
                self.failures[problem] += 1
            if version:
                self.versions[version] += 1
            if fallback:
                self.fallbacks[fallback] += 1


@contextlib.contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[Project]:
    """Give a project whose server runs, with v1.0 of the model 'churn' stable."""
    project = Project(folder, **settings)
    project.register("v1.0", GOOD)
    try:
        project.start()
        project.cli("release", "churn", "--version", "v1.0", "--wait")
        yield project
    finally:
        project.stop()
