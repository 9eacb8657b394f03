"""Goes the way back for a SQLite file and kills itself, as ``kill -9`` does, at the point whose number it is given."""

import os
import signal
import sys
from pathlib import Path

from lastgood.sources.sqlite import SqliteSource


def main(live: str, kept: str, exports: str, left: int) -> None:
    """Restore the snapshot ``kept`` under the token ``back``; end by itself when there are fewer points than ``left``."""

    def reached(_: str) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    source = SqliteSource("features", Path(live), Path(kept), reached=reached)
    snapshot = source.capture("kept")
    source.stage_restore(snapshot, "back")
    source.swap("back")
    source.quarantine(snapshot, "back", Path(exports))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
