"""Every bench, one after another; each prints ratios measured in one run, with its goals.

    make bench                      (or: python bench/run.py [lookup rollback data_hold footprint controller ...])

Run it on a quiet machine with at least two cores: servers are pinned to one, load to the other. What follows the names and
begins with ``--`` is passed on: ``python bench/run.py evidence --streams 1000``.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHES = {
    "lookup": "looking the way back up with 10 to 100 000 versions and 1 000 000 events",
    "rollback": "a rollback under load, as the client sees it",
    "data_hold": "a rollback of model and data under load: how long requests wait for the flip",
    "footprint": "memory, and start to first answer",
    "throughput": "requests a second and latency, against the same work written by hand",
    "predictions": "requests a second with the prediction log on, against the same gateway with it off",
    "join": "labels joined in a large prediction log: memory, and labels a second",
    "mlflow_serve": "requests a second, against mlflow models serve",
    "data": "capturing and putting back data, against each source's own tool; what clients notice",
    "controller": "a turn of the controller with hundreds of releases of ten guardrails each, all with news",
    "evidence": "how soon a worse candidate is found, against other tools' rules; and what judging costs",
    "robustness": "the evidence engine beyond the rows of its page: other rates, splits, margins, latencies, bursts",
}


def main() -> int:
    """Run those named, or all; return 1 if one failed."""
    given = sys.argv[1:]
    options = next((place for place, word in enumerate(given) if word.startswith("--")), len(given))
    wanted, passed_on = given[:options] or list(BENCHES), given[options:]
    unknown = [name for name in wanted if name not in BENCHES]
    if unknown:
        print(f"There is no bench {unknown[0]!r}; there are: {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    missed = []
    for name in wanted:
        print(f"\n== {name}: {BENCHES[name]}", flush=True)
        script = HERE / name if (HERE / name).is_dir() else HERE / f"{name}.py"
        if subprocess.run([sys.executable, script, *passed_on], cwd=HERE, check=False).returncode:
            missed.append(name)
    if missed:
        print(f"\nA goal was missed in: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
