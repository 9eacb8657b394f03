"""The same model and requests behind `mlflow models serve`, on the same core, in the same run.

MLflow is installed apart from the project, in `.venv-mlflow` (a few minutes and 750 MB the first time). Both sides answer
MLflow's own protocol, `/invocations` with `{"inputs": rows}`; the gateway splits 90/10 and records.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from throughput import SERVERS, Gateway, load, make_model, pinned

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-mlflow"
PACKAGES = ("mlflow==3.17.*", "onnxruntime", "onnx")
SAVE = "import mlflow.onnx, onnx, sys; mlflow.onnx.save_model(onnx.load(sys.argv[1]), sys.argv[2], pip_requirements=[])"
QUIET = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}


def install() -> None:
    """Make MLflow's own environment, once."""
    if (VENV / "bin" / "mlflow").exists():
        return
    print(f"installing MLflow into {VENV.name} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    uv = Path(sys.executable).with_name("uv")
    pip = [uv, "pip", "install", "-q", "--python", VENV / "bin" / "python"]
    if not uv.exists():
        pip = [VENV / "bin" / "python", "-m", "pip", "install", "-q"]
    subprocess.run([*map(str, pip), *PACKAGES], check=True)


def serve(folder: Path, model: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start `mlflow models serve` with one worker on the servers' core."""
    saved = folder / "mlflow-model"
    environment = os.environ | QUIET
    subprocess.run(
        [VENV / "bin" / "python", "-c", SAVE, model, saved], check=True, env=environment, cwd=folder
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        "mlflow",
        "models",
        "serve",
        "-m",
        saved,
        "--env-manager",
        "local",
        "-h",
        "127.0.0.1",
        "-p",
        port,
    ]
    environment["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environment['PATH']}"
    process = subprocess.Popen(
        [str(VENV / "bin" / command[0]), *map(str, command[1:]), "--workers", "1"],
        env=environment,
        cwd=folder,
        preexec_fn=pinned(SERVERS),  # noqa: PLW1509 - no threads here
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return process, port


def wait_until(port: int, path: str, body: Path) -> float:
    """Return the seconds until the first good answer."""
    began = time.monotonic()
    while time.monotonic() - began < 120:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                seen = load(port, path, 1, 0.2, body)
                if seen["rps"] and not seen["bad"]:
                    return time.monotonic() - began
        time.sleep(0.2)
    raise SystemExit(f"nothing answered on port {port}")


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    install()
    folder = Path(tempfile.mkdtemp(prefix="lastgood-bench-"))
    model = make_model(folder)
    bodies = {}
    for count in (1, 32):
        flat = json.loads((folder / f"body-{count}.json").read_text())["inputs"][0]["data"]
        rows = [flat[at : at + 30] for at in range(0, len(flat), 30)]
        bodies[count] = folder / f"invocations-{count}.json"
        bodies[count].write_text(json.dumps({"inputs": rows}))
    gateway = Gateway(folder, model)
    peer, peer_port = serve(folder, model)
    found: dict[tuple[str, int], list[float]] = {}
    failed = 0
    try:
        gateway.publish(1000)
        started = wait_until(peer_port, "/invocations", bodies[1])
        wait_until(gateway.port, "/invocations", bodies[1])
        for _ in range(given.rounds):
            for count, body in bodies.items():
                for name, port in (("lastgood", gateway.port), ("mlflow", peer_port)):
                    run = load(port, "/invocations", 16, given.seconds, body)
                    failed += run["bad"]
                    found.setdefault((name, count), []).append(run["rps"])
    finally:
        os.killpg(peer.pid, signal.SIGKILL)
        peer.wait(15)
        gateway.close()
        gateway.listening.close()
        shutil.rmtree(folder)
    print(
        f"mlflow models serve: {started:.1f} s from start to first answer; answers that were not 200: {failed}"
    )
    for count, goal in ((1, 8), (32, 7)):
        ours, theirs = found["lastgood", count], found["mlflow", count]
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(
            f"  {count:2} row{'s' if count > 1 else ' '} a request, 16 connections: {statistics.median(ours):7.0f} against "
            f"{statistics.median(theirs):6.0f} requests a second, {ratio:.1f}x (goal {goal}x: "
            f"{'reached' if ratio >= goal else 'NOT REACHED'})"
        )


if __name__ == "__main__":
    main()
