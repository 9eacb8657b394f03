"""The ``drill`` of a plan file: how often the way back of what the plan has made stable is rehearsed."""

from typing import Annotated, Final

import msgspec

from lastgood.domain.placed_yaml import Placed
from lastgood.domain.plan import DrillPlan
from lastgood.domain.plan_meaning import means
from lastgood.domain.plan_quantity import Duration

EVERY_LEAST: Final = 60.0
"""Seconds. A rehearsal stages the data once more: more often it would do little else."""


class DrillDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rehearses the whole rollback again and again, against copies, while the version that the plan released serves.

    The first rehearsal comes once the release is over. None runs while a release is under way, and never two at a time.
    """

    every: Annotated[
        Duration,
        means(
            "How long after one rehearsal the next one begins; at least 1m. One that failed is repeated after an hour, "
            "or after this time where that is shorter.",
            None,
            "24h",
        ),
    ]


def read_drill(placed: Placed, document: DrillDocument | None) -> DrillPlan | None:
    """Return what the plan says of rehearsals, None where it says nothing.

    :raises LastgoodError: ``invalid`` with the place of the key at fault.
    """
    if document is None:
        return None
    every = float(document.every)
    if every < EVERY_LEAST:
        message = f"Rehearsals every {every:g} s would do little else than stage data."
        raise placed.refusal("$.drill.every", message, "Give at least 1m; 24h is usual.")
    return DrillPlan(every=every)
