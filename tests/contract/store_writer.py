"""A process that writes to a store until it is told to stop or is killed.

Usage: ``store_writer.py DATABASE COMMITS``. It reads the deployment, says ``ready``, and waits for a line before its
first commit: writers started together all try the same revision first. Each commit makes the next of four versions stable with its release,
route, event and notification, and prints the revision it won, or ``conflict``.
"""

import sys
from pathlib import Path

import msgspec
from store_samples import Stores, draft, next_of, open_stores, release_of

from lastgood.domain.change import Change
from lastgood.domain.channel import Channel
from lastgood.domain.deployment import Deployment
from lastgood.domain.release import Phase
from lastgood.errors import Code, LastgoodError


def write_one(stores: Stores, present: Deployment | None) -> str:
    assert present is not None
    number = present.revision % 4 + 1
    change = Change(
        deployment=next_of(present, stable=number),
        release=msgspec.structs.replace(release_of(number), phase=Phase.SUCCEEDED),
        new_route=True,
        became_stable=True,
        events=(draft(float(present.revision), deployment="churn", version=number),),
        notify=(Channel(command=("true",)),),
    )
    try:
        return str(stores.releases.commit(change)[0].revision)
    except LastgoodError as error:
        if error.code is not Code.CONFLICT:
            raise
        return "conflict"


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def main() -> None:
    stores = open_stores(Path(sys.argv[1]))
    present = stores.releases.deployment("churn")
    say("ready")
    sys.stdin.readline()
    for _ in range(int(sys.argv[2])):
        say(write_one(stores, present))
        present = stores.releases.deployment("churn")
    stores.database.close()


if __name__ == "__main__":
    main()
