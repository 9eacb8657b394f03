"""``python -m lastgood.host RUN/hosts/KEY.spec.json``: serve one version."""

import os
import sys
from pathlib import Path

# Numerical libraries read these once, when they are first imported: one host, one core.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

from lastgood.host.serve import serve

if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1])))
