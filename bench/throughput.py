"""Throughput and latency of the gateway against hand-written apps, as ratios measured in one run.

``tuned by hand`` is ``handwritten.py`` (raw ASGI, msgspec), ``plain by hand`` is ``handwritten_plain.py`` (Starlette,
the json module): each one process that calls onnxruntime for every request and knows no versions.

``python bench/throughput.py [--rounds 5] [--seconds 2] [--json]``. Everything that serves is pinned to
core 0 and the load client to core 1; rounds are interleaved, so that a busy moment hits all alike; printed are
medians, and of ratios the median of those of each round. The model is a real one: standard scaling and logistic regression on 30 features, as ONNX.
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

import msgspec
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lastgood.domain.route import Route, RouteTable, Target
from lastgood.domain.version import Format
from lastgood.settings import Settings
from lastgood.wire.digest import digest_of
from lastgood.wire.fleet import HostSpec
from lastgood.wire.page import RoutePage
from lastgood.wire.process import PARENT_PID
from lastgood.wire.reports import read_reports

HERE = Path(__file__).parent
SERVERS, LOAD = {0}, {1}
BY_HAND = {"tuned by hand": "handwritten.py", "plain by hand": "handwritten_plain.py"}
NO_RELEASE = -1


def pinned(cores):
    return lambda: os.sched_setaffinity(0, cores)


def make_model(folder):
    data = load_breast_cancer()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(data.data, data.target)
    rows = data.data.astype("float32")
    path = folder / "model.onnx"
    onnx = to_onnx(model, rows[:1], options={"zipmap": False})
    path.write_bytes(onnx.SerializeToString())
    for count in (1, 32):
        tensor = {"name": onnx.graph.input[0].name, "shape": [count, 30], "datatype": "FP32"}
        tensor["data"] = [round(float(value), 5) for value in rows[:count].ravel()]
        (folder / f"body-{count}.json").write_text(json.dumps({"inputs": [tensor]}))
    return path


def spawn(command, cores=SERVERS, **more):
    environ = os.environ | {PARENT_PID: str(os.getpid())}
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=environ,
        preexec_fn=pinned(cores),  # noqa: PLW1509 - no threads here
        **more,
    )


class Handwritten:
    """One of the apps to compare with."""

    def __init__(self, file, model):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        fd = self.listening.fileno()
        self.processes = [spawn([HERE / file, model, fd], pass_fds=[fd])]

    def close(self):
        self.processes[0].terminate()
        self.processes[0].wait(15)
        self.listening.close()


class Gateway:
    """One worker, two hosts of the same bytes, a page, and the recorder where answers are recorded."""

    def __init__(self, folder, model, **settings):
        self.run = folder / "run"
        (self.run / "hosts").mkdir(parents=True)
        self.page = RoutePage.open(self.run / "route.page")
        self.page.renew_lease(3600)
        self.generation = 0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        chosen = Settings(home=str(folder), **settings)
        settings = self.run / "settings.json"
        settings.write_bytes(msgspec.json.encode(chosen))
        self.digest = digest_of(model)[0]
        self.processes = [self.host(model, version) for version in (1, 2)]
        fd = self.listening.fileno()
        command = [
            "-m",
            "lastgood.gateway",
            "--run",
            self.run,
            "--slot",
            0,
            "--fd",
            fd,
            "--settings",
            settings,
        ]
        self.worker = spawn(command, pass_fds=[fd])
        self.processes.append(self.worker)
        if chosen.record_predictions:
            self.processes.append(spawn(["-m", "lastgood.predictions", "--settings", settings]))

    def host(self, model, version):
        spec = HostSpec(
            key=f"v{version}",
            model="model",
            version=version,
            label=None,
            digest=self.digest,
            format=Format.ONNX,
            artifact=str(model),
            socket=str(self.run / "hosts" / f"v{version}.sock"),
            memory_bytes=2 * 1024**3,
            max_rows=10_000,
        )
        path = self.run / "hosts" / f"v{version}.spec.json"
        path.write_bytes(msgspec.json.encode(spec))
        return spawn(["-m", "lastgood.host", path])

    def publish(self, weight):
        """Split by ``weight`` basis points, or NO_RELEASE."""

        def target(version):
            path = str(self.run / "hosts" / f"v{version}.sock")
            return Target(version=version, digest=self.digest, socket=path)

        self.generation += 1
        route = Route(
            deployment="model",
            model="model",
            generation=self.generation,
            stable=target(1),
            candidate=None if weight is NO_RELEASE else target(2),
            weight=max(weight, 0),
            release=None if weight is NO_RELEASE else 1,
            stage=max(weight, 0),
        )
        self.page.publish(RouteTable(generation=self.generation, routes=(route,)))

    def recorded(self):
        return sum(
            total.counts.requests for report in read_reports(self.run / "reports") for total in report.totals
        )

    def close(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(15)
        self.listening.close()


def cpu_seconds(processes):
    """User and system time of these processes: unlike the clock, it is the same on a busy machine."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def load(port, path, connections, seconds, body):
    command = [HERE / "load.py", port, path, connections, seconds, body]
    process = spawn(command, LOAD, stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate()
    return json.loads(output)


def wait_until_served(port, path, body, wanted):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        seen = load(port, path, 4, 0.1, body)
        if not seen["bad"] and seen["rps"] and wanted <= set(seen["versions"]):
            return
        time.sleep(0.2)
    raise SystemExit(f"the server on port {port} did not come up")


def measure(rounds, seconds):
    folder = Path(tempfile.mkdtemp(prefix="lastgood-bench-"))
    model = make_model(folder)
    path, one, many = "/v2/models/model/infer", folder / "body-1.json", folder / "body-32.json"
    servers = {"gateway": Gateway(folder, model)}
    servers |= {name: Handwritten(file, model) for name, file in BY_HAND.items()}
    gateway = servers["gateway"]
    cases = {}
    for connections, body, rows in ((16, one, "1 row"), (1, one, "1 row"), (16, many, "32 rows")):
        for name in BY_HAND:
            cases[f"{name}, {rows} c{connections}"] = (name, None, connections, body)
        cases[f"gateway 90/10, {rows} c{connections}"] = ("gateway", 1000, connections, body)
    for name, weight in (("no release", NO_RELEASE), ("0 %", 0), ("50 %", 5000)):
        cases[f"gateway {name}, 1 row c16"] = ("gateway", weight, 16, one)
    found = {name: [] for name in cases}
    try:
        gateway.publish(5000)
        wait_until_served(gateway.port, path, one, {"1", "2"})
        for name in BY_HAND:
            wait_until_served(servers[name].port, path, one, set())
        for _ in range(rounds):
            for name, (server, weight, connections, body) in cases.items():
                if weight is not None:
                    gateway.publish(weight)
                    time.sleep(0.1)
                processes = servers[server].processes
                before = cpu_seconds(processes)
                run = load(servers[server].port, path, connections, seconds, body)
                run["cpu_us"] = (cpu_seconds(processes) - before) * 1e6 / max(run["served"], 1)
                found[name].append(run)
        time.sleep(1.2)
        recorded = gateway.recorded()
    finally:
        for server in servers.values():
            server.close()
        shutil.rmtree(folder)
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in ("rps", "p50", "p99", "cpu_us")}
        | {"bad": sum(run["bad"] for run in runs)}
        for name, runs in found.items()
    }
    return {"cases": medians, "ratios": ratios(found), "recorded": recorded}


def ratios(found):
    """Return name -> (ratio, least, most): the last two are the goal, None where there is none."""

    def paired(left, right, key):
        pairs = zip(found[left], found[right], strict=True)
        return statistics.median(first[key] / second[key] for first, second in pairs)

    split, none = "gateway 90/10, 1 row c16", "gateway no release, 1 row c16"
    made = {}
    for name in BY_HAND:
        one = f"{name}, 1 row c16"
        made[f"rps, 90/10 over {name}, 1 row c16"] = (paired(split, one, "rps"), 1.5, None)
        made[f"CPU a request, {name} over 90/10, 1 row c16"] = (paired(one, split, "cpu_us"), None, None)
        many = paired("gateway 90/10, 32 rows c16", f"{name}, 32 rows c16", "rps")
        made[f"rps, 90/10 over {name}, 32 rows c16"] = (many, None, None)
        single = paired("gateway 90/10, 1 row c1", f"{name}, 1 row c1", "p50")
        made[f"p50, 90/10 over {name}, 1 row c1"] = (single, None, 2.0)
    tail = statistics.median(run["p99"] / run["p50"] for run in found[split])
    made["p99 over p50, 90/10, 1 row c16"] = (tail, None, 3.0)
    for name in ("0 %", "90/10", "50 %"):
        other = f"gateway {name}, 1 row c16"
        label = "recording (a release at 0 %)" if name == "0 %" else f"split {name}"
        made[f"rps, {label} over no release"] = (paired(other, none, "rps"), 0.85, None)
        made[f"CPU a request, no release over {label}"] = (paired(none, other, "cpu_us"), None, None)
    return made


def verdict(ratio, least, most):
    """Return the goal and whether it was reached, in words."""
    if least is None and most is None:
        return ""
    good = (least is None or ratio >= least) and (most is None or ratio <= most)
    goal = f"at least {least}x" if least is not None else f"at most {most}x"
    return f"(goal {goal}: {'reached' if good else 'NOT REACHED'})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = measure(given.rounds, given.seconds)
    if given.json:
        print(json.dumps(result, indent=1))
        return 0
    for name, case in result["cases"].items():
        numbers = f"{case['rps']:8.0f} rps   p50 {case['p50']:6.2f} ms   p99 {case['p99']:6.2f} ms   CPU {case['cpu_us']:4.0f} us"
        print(f"{name:30} {numbers}   not 200: {case['bad']}")
    verdicts = []
    for name, goal in result["ratios"].items():
        verdicts.append(verdict(*goal))
        print(f"{name:52} {goal[0]:5.2f}x  {verdicts[-1]}")
    return 1 if any("NOT" in one for one in verdicts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
