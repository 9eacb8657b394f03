"""What recording costs: the same gateway with the prediction log on and off, as ratios measured in one run.

``python bench/predictions.py [--rounds 9] [--seconds 1]``. All that serves, the recorder too, is pinned to core 0 and the load
client to core 1; rounds are interleaved, and of ratios the median of those of each round is printed. One row a request,
16 connections. The CPU of a request is that of all processes that serve, until the last answer is in the log: unlike the
clock, it is the same on a busy machine.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from throughput import NO_RELEASE, Gateway, cpu_seconds, load, make_model, verdict, wait_until_served

from lastgood.predictions.log import PredictionLog
from lastgood.wire.predictions import waiting_bytes
from lastgood.wire.reports import read_reports

LEAST = 0.9
PATH = "/v2/models/model/infer"
CASES = {
    "off": {"record_predictions": False},
    "on": {},
    "on, all inputs": {"keep_inputs": "all"},
}


def settle(home):
    """Wait until nothing waits to be added: what the log costs belongs to the round that filled it."""
    end = time.monotonic() + 120
    time.sleep(1.2)  # a worker ends its segment a second after its last answer
    while waiting_bytes(home / "predictions" / "incoming") and time.monotonic() < end:
        time.sleep(0.1)


def measure(rounds, seconds):
    """Return what each round measured, by case, and what became of the answers."""
    folder = Path(tempfile.mkdtemp(prefix="lastgood-bench-"))
    model = make_model(folder)
    body = folder / "body-1.json"
    gateways, found = {}, {name: [] for name in CASES}
    try:
        for place, (name, settings) in enumerate(CASES.items()):
            gateways[name] = Gateway(folder / str(place), model, **settings)
            gateways[name].publish(NO_RELEASE)
            wait_until_served(gateways[name].port, PATH, body, {"1"})
        for _ in range(rounds):
            for name, gateway in gateways.items():
                settle(gateway.run.parent)
                before, alone = cpu_seconds(gateway.processes), cpu_seconds([gateway.worker])
                run = load(gateway.port, PATH, 16, seconds, body)
                settle(gateway.run.parent)
                served = max(run["served"], 1)
                run["cpu_us"] = (cpu_seconds(gateway.processes) - before) * 1e6 / served
                run["worker_us"] = (cpu_seconds([gateway.worker]) - alone) * 1e6 / served
                found[name].append(run)
        fates = {name: fate(gateway.run.parent) for name, gateway in gateways.items()}
    finally:
        for gateway in gateways.values():
            gateway.close()
        shutil.rmtree(folder)
    return found, fates


def fate(home):
    """Return how many answers are in the log, how many were dropped, and the bytes of the log for each."""
    if not (home / "predictions" / "log.db").exists():
        return 0, 0, 0
    log = PredictionLog(home / "predictions" / "log.db")
    counts = log.counts()
    log.close()
    dropped = sum(report.unrecorded for report in read_reports(home / "run" / "reports"))
    return counts.predictions, dropped, counts.bytes // max(counts.predictions, 1)


def main():
    """Print medians, ratios, and whether the goal was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    found, fates = measure(given.rounds, given.seconds)
    for name, runs in found.items():
        rps, p50, p99, cpu, worker = (
            statistics.median(run[key] for run in runs)
            for key in ("rps", "p50", "p99", "cpu_us", "worker_us")
        )
        numbers = f"{rps:8.0f} rps   p50 {p50:5.2f} ms   p99 {p99:5.2f} ms   CPU {cpu:4.0f} us (worker {worker:4.0f})"
        kept, dropped, size = fates[name]
        print(f"{name:20} {numbers}   in the log {kept} ({size} bytes each), dropped {dropped}")
    missed = False
    for name in list(CASES)[1:]:
        pairs = list(zip(found[name], found["off"], strict=True))
        ratio = statistics.median(on["rps"] / off["rps"] for on, off in pairs)
        more = statistics.median(on["cpu_us"] - off["cpu_us"] for on, off in pairs)
        said = verdict(ratio, LEAST, None) if name == "on" else ""
        missed = missed or "NOT" in said
        print(f"{'rps, ' + name + ' over off':40} {ratio:5.2f}x   {more:+5.1f} us of CPU a request   {said}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
