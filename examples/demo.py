"""The main job, from nothing to a verified rollback, through the public command line and HTTP only.

    make demo            (or: python examples/demo.py [FOLDER])

A real model of real data serves; a client keeps asking. A version with a preprocessing bug is released by
canary, found out and rolled back; a second try is refused; the repaired version is promoted; then it is
rolled back by hand, timed. Exits 1 if any of that did not happen, or if the client saw one failure.
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

import demo_models

HERE = Path(__file__).resolve().parent
LASTGOOD = [sys.executable, "-m", "lastgood"]
PLAN = """\
strategy: canary
steps:
  - weight: 10%
    for: 2s
    samples: 100
  - weight: 50%
    for: 2s
    samples: 300
guardrails:
  - metric: health
  - metric: errors
  - metric: invalid_output
  - metric: latency
    quantile: p99
    max: 500ms
false_rollback_rate: 1%
watch: 2s
"""


class Demo:
    """One run in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.began = time.monotonic()
        self.timeline: list[str] = []
        self.wrong: list[str] = []
        self.environment = {**os.environ, "LASTGOOD_ACTOR": "demo", "NO_COLOR": "1", "COLUMNS": "100"}
        gateway, api = free_port(), free_port()
        self.environment |= {"LASTGOOD_PORT": str(gateway), "LASTGOOD_API_PORT": str(api)}
        self.url = f"http://127.0.0.1:{gateway}"
        self.server: subprocess.Popen[bytes] | None = None
        self.client: subprocess.Popen[bytes] | None = None

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

    def ask(self) -> None:
        """Start the client: a process of its own that knows nothing of releases."""
        command = [sys.executable, str(HERE / "demo_client.py"), f"{self.url}/v2/models/churn/infer"]
        self.client = subprocess.Popen(
            [*command, str(self.folder / "rows.json"), str(self.folder / "summary.json")]
        )
        print(f"\n$ python demo_client.py {self.url}/v2/models/churn/infer &      (real rows, 4 connections)")

    def stop_client(self) -> dict:
        """End the client and read what it saw."""
        if self.client is None:
            return {}
        self.client.send_signal(signal.SIGTERM)
        self.client.wait(30)
        return json.loads((self.folder / "summary.json").read_text())

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
        print("  lastgood history churn      lastgood show release 2      lastgood audit verify")
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
    for label in ("v1.0", "v1.1", "v1.2"):
        arguments = ["register", "churn", f"{label}.onnx", "--label", label, "--data", "train.csv"]
        demo.run(*arguments, "--metric", f"auc={curves[label]}")
    demo.start()

    demo.run("release", "churn", "--version", "v1.0", "--wait")
    demo.note("v1.0 validated and stable")
    demo.ask()
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
    demo.run("audit", "verify")
    time.sleep(0.3)
    seen = demo.stop_client()
    demo.expect(seen["failures"] == 0, f"the client saw failures: {seen['problems']}")
    demo.expect(seen["requests"] > 1000, "the client sent hardly anything")
    demo.expect(set(seen["versions"]) == {"v1.0", "v1.1", "v1.2"}, "not every version answered the client")
    return demo.finish(seen)


def main() -> int:
    """Run in the folder given, or in a new temporary one."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="lastgood-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    demo = Demo(folder.resolve())
    try:
        return play(demo)
    finally:
        for process in (demo.client, demo.server):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(30)


if __name__ == "__main__":
    raise SystemExit(main())
