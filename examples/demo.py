"""The main job, from nothing to a verified rollback, through the public command line and HTTP only.

    make demo            (or: python examples/demo.py [FOLDER])

First act: a real model of real data serves; a client keeps asking. A version with a preprocessing bug is released by
canary, found out and rolled back; a second try is refused; the repaired version is promoted; then it is
rolled back by hand, timed. Second act: a version ships with a migration of the feature table that the version before
cannot read, fails on live traffic, and model and data come back together while an application goes on writing.
Exits 1 if any of that did not happen, or if a client saw one failure.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import demo_data
import demo_models

HERE = Path(__file__).resolve().parent
LASTGOOD = [sys.executable, "-m", "lastgood"]
PLAN = """\
strategy: canary
steps:
  - weight: 10%
    for: 1s
    samples: 200
  - weight: 50%
    for: 1s
    samples: 600
guardrails:
  - metric: health
  - metric: errors
  - metric: invalid_output
  - metric: latency
    quantile: p99
    max: 500ms
false_rollback_rate: 1%
watch: 1s
"""


class Demo:
    """One run in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.began = time.monotonic()
        self.timeline: list[str] = []
        self.wrong: list[str] = []
        self.environment = {**os.environ, "LASTGOOD_ACTOR": "demo", "NO_COLOR": "1", "COLUMNS": "100"}
        gateway = os.environ.get("LASTGOOD_PORT") or str(free_port())
        api = os.environ.get("LASTGOOD_API_PORT") or str(free_port())
        self.environment |= {"LASTGOOD_PORT": gateway, "LASTGOOD_API_PORT": api}
        self.url = f"http://127.0.0.1:{gateway}"
        self.server: subprocess.Popen[bytes] | None = None
        self.others: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str, expect: int = 0, quiet: bool = False) -> str:
        """Type one command, show it and what it prints, and check its exit code."""
        done = subprocess.run(
            [*LASTGOOD, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if not quiet or done.returncode != expect:
            shown = " ".join(f'"{word}"' if " " in word else word for word in arguments)
            print(f"\n$ lastgood {shown}")
            print("\n".join(f"  {line}" for line in (done.stdout + done.stderr).rstrip().splitlines()))
        self.expect(done.returncode == expect, f"'{arguments[0]}' exited {done.returncode}, not {expect}")
        return done.stdout

    def data(self, *arguments: str) -> dict:
        """Ask for JSON."""
        return json.loads(self.run(*arguments, "--json", quiet=True))

    def expect(self, holds: bool, otherwise: str) -> None:
        """Remember what went wrong; the demo goes on and says so at its end."""
        if not holds:
            self.wrong.append(otherwise)
            print(f"  !! {otherwise}")

    def note(self, text: str) -> None:
        """Put a line on the timeline."""
        self.timeline.append(f"{time.monotonic() - self.began:5.1f} s  {text}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = (self.folder / "serve.log").open("wb")
        self.server = subprocess.Popen(
            [*LASTGOOD, "serve"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
        )
        print("\n$ lastgood serve &")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.server.poll() is None:
            if "Listening" in (self.folder / "serve.log").read_text():
                print("\n".join(f"  {line}" for line in (self.folder / "serve.log").read_text().splitlines()))
                return
            time.sleep(0.05)
        self.expect(False, "the server did not start: " + (self.folder / "serve.log").read_text())
        raise SystemExit(self.finish({}))

    def beside(self, script: str, *arguments: str, told: str) -> subprocess.Popen[bytes]:
        """Start a client or a writer: a process of its own that knows nothing of releases."""
        process = subprocess.Popen([sys.executable, str(HERE / script), *arguments], cwd=self.folder)
        self.others.append(process)
        print(f"\n$ python {script} {arguments[0]} &      ({told})")
        return process

    def ended(self, process: subprocess.Popen[bytes], summary: str) -> dict:
        """End a client or a writer and read what it saw."""
        process.send_signal(signal.SIGTERM)
        self.expect(process.wait(30) == 0, f"what should have written {summary} failed")
        return json.loads((self.folder / summary).read_text())

    def finish(self, seen: dict) -> int:
        """Stop the server, print the timeline, return the exit code."""
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGINT)
            self.expect(self.server.wait(30) == 0, "the server did not end cleanly")
        print("\nTimeline")
        print("\n".join(f"  {line}" for line in self.timeline))
        if seen:
            print(f"\n  requests served: {seen['requests']}, by version: {seen['versions']}")
            print(f"  answered by stable instead of the candidate: {seen['fallbacks'] or 'none'}")
            print(f"  failures seen by clients: {seen['failures']}")
        if self.wrong:
            print("\nThis did not happen as it should:\n" + "\n".join(f"  - {line}" for line in self.wrong))
            return 1
        print(f"\nEverything happened as it should. Look around: cd {self.folder} and try")
        print("  lastgood history risk      lastgood show release 2      lastgood quarantine list")
        print("Next: README.md for your own model, docs/ for how it decides.")
        return 0


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def play(demo: Demo) -> int:
    """Act out the main job."""
    curves = demo_models.build(demo.folder)
    (demo.folder / "plan.yaml").write_text(PLAN)
    demo.note("three models trained on the breast cancer data and exported to ONNX")
    demo.run("init")
    demo_data.build(demo.folder)
    for label in ("v1.0", "v1.1", "v1.2"):
        arguments = ["register", "churn", f"{label}.onnx", "--label", label, "--data", "train.csv"]
        demo.run(*arguments, "--metric", f"auc={curves[label]}")
    demo.start()

    demo.run("release", "churn", "--version", "v1.0", "--wait")
    demo.note("v1.0 validated and stable")
    url = f"{demo.url}/v2/models/churn/infer"
    client = demo.beside("demo_client.py", url, "rows.json", "summary.json", told="real rows, 4 connections")
    time.sleep(1.0)

    demo.run("release", "churn", "--version", "v1.1", "--plan", "plan.yaml", "--wait", expect=4)
    failed = demo.data("show", "release", "2")
    evidence = failed["evidence"]
    demo.expect(evidence.get("guardrail") == "invalid_output", "v1.1 was not caught by its invalid output")
    demo.note(
        f"v1.1 rolled back by itself after {evidence.get('candidate_requests')} candidate requests, "
        f"verified in {failed['timings'].get('verified', 0):.1f} ms"
    )

    demo.run("release", "churn", "--version", "v1.1", "--plan", "plan.yaml", expect=3)
    demo.note("a second try of v1.1 was refused: those bytes are tagged failed")

    demo.run("release", "churn", "--version", "v1.2", "--plan", "plan.yaml", "--wait")
    demo.note("v1.2 went 10 %, 50 %, 100 % and is stable")

    out = demo.run("rollback", "churn", "--reason", "the fraud team asked for it", "--keep")
    demo.expect("Deployed model version: v1.0" in out, "the rollback by hand did not deploy v1.0")
    last = demo.data("status", "churn")
    demo.expect(last["stable"]["label"] == "v1.0", "status does not say that v1.0 is stable")
    release = last["last_release"]
    demo.note(f"rolled back by hand to v1.0, verified in {release['timings'].get('verified', 0):.1f} ms")

    demo.run("versions", "churn")
    time.sleep(0.3)
    seen = demo.ended(client, "summary.json")
    demo.expect(seen["failures"] == 0, f"the client saw failures: {seen['problems']}")
    demo.expect(seen["requests"] > 1000, "the client sent hardly anything")
    demo.expect(set(seen["versions"]) == {"v1.0", "v1.1", "v1.2"}, "not every version answered the client")
    model_and_data(demo)
    return demo.finish(seen)


def model_and_data(demo: Demo) -> None:
    """The second act: a migration that the version before cannot read, and the way back for both."""
    print("\n--- Second act: model and data go back together")
    for label in ("v1.2", "v1.3"):
        name = f"risk_{label.replace('.', '_')}"
        factory = ["--factory", f"{name}:load", "--signature", "risk-signature.json"]
        demo.run("register", "risk", f"risk-{label}/{name}.py", "--label", label, *factory)
    demo.run("release", "risk", "--version", "v1.2", "--wait")
    writer = demo.beside("demo_writer.py", "features.db", "orders.json", told="an order every 5 ms")
    url = f"{demo.url}/v2/models/risk/infer"
    client = demo.beside("demo_client.py", url, "customers.json", "risk.json", told="4 connections")
    time.sleep(0.5)

    demo.run("release", "risk", "--version", "v1.3", "--plan", "data-plan.yaml", "--wait", expect=4)
    time.sleep(0.5)  # v1.2 answers from its own table again, and the orders go on
    seen, written = demo.ended(client, "risk.json"), demo.ended(writer, "orders.json")
    demo.expect(seen["failures"] == 0, f"the client of risk saw failures: {seen['problems']}")
    demo.expect(set(seen["versions"]) == {"v1.2", "v1.3"}, "not both versions of risk answered")
    demo.expect(demo_data.columns(demo.folder) == ["id", "age", "spent"], "the columns are not back")

    release = demo.data("status", "risk")["last_release"]
    held = next(
        one["data"]["data"]["held_ms"]
        for one in demo.data("audit", "--limit", "100")["events"]
        if one["release"] == release["id"] and one["type"] == "lastgood.data.restored"
    )
    demo.run("quarantine", "export", replaced(demo, release["id"]), "--to", "replaced")
    demo.run("quarantine", "list")
    live, kept, lost = demo_data.accounts(demo.folder, demo.folder / "replaced", written["committed"])
    demo.expect(not lost, f"{len(lost)} committed orders are neither live nor kept")
    demo.expect(bool(kept), "no order was written between the snapshot and the way back")
    demo.note(
        f"risk v1.3 migrated the features, failed on live traffic and went back with them: {seen['requests']} requests, "
        f"{seen['failures']} of them failed; they waited {held:.0f} ms for the flip"
    )
    demo.note(
        f"{written['committed']} orders committed meanwhile: {len(live)} live, {len(kept)} in quarantine, {len(lost)} lost"
    )
    demo.run("audit", "verify")


def replaced(demo: Demo, release: int) -> str:
    """Return the token of what the way back of a release replaced, once its rows are counted."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for one in demo.data("quarantine", "list")["quarantines"]:
            if one["release"] == release and one["counted"]:
                return one["token"]
        time.sleep(0.1)
    demo.expect(False, "what was replaced has not been counted")
    raise SystemExit(demo.finish({}))


def main() -> int:
    """Run in the folder given, or in a new temporary one."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="lastgood-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    demo = Demo(folder.resolve())
    try:
        return play(demo)
    finally:
        for process in (*demo.others, demo.server):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(30)


if __name__ == "__main__":
    raise SystemExit(main())
