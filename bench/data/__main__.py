"""Data sources against their own tools: capture, staged restore, swap, and what clients notice meanwhile.

python bench/run.py data [--large]      (--large adds 1 GB; one source alone: python bench/data/sqlite.py)
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = ("sqlite", "folder", "postgres")


def main() -> int:
    """Run each; return 1 if one missed a goal."""
    missed = []
    for name in SOURCES:
        print(f"\n-- {name}", flush=True)
        if subprocess.run([sys.executable, HERE / f"{name}.py", *sys.argv[1:]], check=False).returncode:
            missed.append(name)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
