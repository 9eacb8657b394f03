"""Memory of each process, and the time from `lastgood serve` to the first answer, with a small ONNX model.

Memory is PSS (shared pages divided among those who share them), in MiB, a second after the first answer.
"""

import shutil
import tempfile
import time
from pathlib import Path

from rig import demo_models, project

ROUNDS = 3


def pss(pid: int) -> float:
    """Return a process's proportional set size in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(pid)


def first_answer(server: project.Project) -> float:
    """Start the server, ask until it answers; return the seconds that took."""
    began = time.perf_counter()
    server.start()
    row = [0.1] * 30
    body = {"inputs": [{"name": "rows", "shape": [1, 30], "datatype": "FP32", "data": row}]}
    project.eventually(lambda: project.ask(server.port, body) == 200, "it answers")
    return time.perf_counter() - began


def main() -> int:
    """Print medians."""
    folder = Path(tempfile.mkdtemp(prefix="lastgood-bench-"))
    demo_models.build(folder)
    server = project.Project(folder)
    server.cli("register", "churn", "v1.0.onnx", "--label", "v1.0")
    try:
        server.start()
        server.cli("release", "churn", "--version", "1", "--wait")
        server.stop()
        times = []
        for _ in range(ROUNDS):
            times.append(first_answer(server))
            time.sleep(1)
            sizes = {
                "gateway worker": [pss(pid) for pid in server.gateway_pids().values()],
                "model host (ONNX)": [pss(host["pid"]) for host in server.hosts().values()],
                "controller and API": [pss(server.controller_pid())],
                "recorder": [pss(server.recorder_pid())],
                "supervisor": [pss(server.server.pid)],
            }
            server.stop()
    finally:
        server.stop()
        shutil.rmtree(folder)
    print(f"start to first answer (2 workers, stable restored): median {sorted(times)[ROUNDS // 2]:.2f} s")
    for name, found in sizes.items():
        print(
            f"  {name:20} {sum(found) / len(found):6.1f} MiB"
            + (f" (x{len(found)})" if len(found) > 1 else "")
        )
    print(f"  {'all together':20} {sum(sum(found) for found in sizes.values()):6.1f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
