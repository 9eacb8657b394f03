"""``python -m lastgood.web --settings RUN/settings.json``: the controller's process."""

import argparse
import logging
import sys
from pathlib import Path

import msgspec

from lastgood.errors import EXIT_STATUS, LastgoodError
from lastgood.settings import Settings
from lastgood.wire.process import end_with_parent


def main() -> int:
    """Run until told to end; return the exit status."""
    end_with_parent()
    parser = argparse.ArgumentParser(prog="python -m lastgood.web")
    parser.add_argument("--settings", type=Path, required=True)
    path = parser.parse_args().settings
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = msgspec.json.decode(path.read_bytes(), type=Settings)
    from lastgood.web.serve import run  # noqa: PLC0415 - after the parent is known to live

    try:
        run(settings)
    except LastgoodError as error:
        logging.getLogger("lastgood.web").error("%s", error)  # noqa: TRY400 - a sentence, not a bug
        return EXIT_STATUS[error.code]
    return 0


if __name__ == "__main__":
    sys.exit(main())
