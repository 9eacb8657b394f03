"""What a person reads of a release's live data."""

from typing import Any

import pytest

from lastgood.cli.data_words import data_ended, data_now, data_rows
from lastgood.cli.rollback import sentences

SNAPSHOT: dict[str, Any] = {
    "token": "r2_snapshot",
    "taken_at": 0.0,
    "seconds": 0.007,
    "rows": {"visits": 3, "customers": 100},
    "size_bytes": 16384,
    "schema": "sha256:05ccb9660c194f5e",
    "digest": "sha256:324f515d216875ce",
}
DATA: dict[str, Any] = {
    "source": "features",
    "on_rollback": "restore",
    "stage": "counted",
    "touched": True,
    "back": True,
    "snapshot": SNAPSHOT,
    "replaced": "r2_restore",
    "held_ms": 14.975,
    "error": "",
}
ROLLBACK: dict[str, Any] = {
    "deployment": "churn",
    "changed": True,
    "version": 1,
    "label": "v1.2",
    "left": 2,
    "left_label": "v1.3",
    "failed": True,
    "gateways": 2,
    "published_ms": 4.2,
    "verified_ms": 30.0,
    "data": DATA,
}


def test_a_rollback_says_that_the_data_is_back_and_where_the_rest_is() -> None:
    """The source, the snapshot, how long requests waited, and what to type for what was replaced."""
    said = sentences(ROLLBACK, keep=False)

    assert "features is back as r2_snapshot has it; requests waited 15.0 ms." in said
    assert "What it replaced: lastgood quarantine show r2_restore" in said
    assert said[-1] == "Deployed model version: v1.2"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"touched": False}, "features stays as it is: nothing had changed it."),
        ({"on_rollback": "keep"}, "features stays as it is (on_rollback: keep)."),
        ({"snapshot": None, "touched": False}, "features was not captured, and nothing changed it."),
    ],
)
def test_data_that_did_not_go_back_is_said_to_stay(changes: dict[str, Any], said: str) -> None:
    """Untouched, or left by the plan: never a word that could be taken for a restore."""
    assert data_ended({**DATA, "back": False, "replaced": None, **changes}) == [said]


def test_a_release_without_data_says_nothing_of_any() -> None:
    """No line at all."""
    assert data_ended(None) == []
    assert data_rows({"data": None, "phase": "succeeded"}) == []


def test_status_says_how_far_the_data_is_and_what_stands_in_the_way() -> None:
    """In one line."""
    held_up = {**DATA, "stage": "staged", "error": "somebody's lock did not let go"}

    assert data_now(held_up) == (
        "features is captured, and its way back lies beside it (r2_snapshot: 103 rows, 16.0 KiB)"
        "; somebody's lock did not let go"
    )
    assert "lock" not in data_now(
        held_up, known="features could not go back yet: somebody's lock did not let go"
    )


def test_a_release_shows_what_was_captured() -> None:
    """Size, rows by table, digest, schema and how long it took."""
    told = dict(data_rows({"data": DATA, "phase": "rolled_back"})[2:4])

    assert told["snapshot"] == "r2_snapshot: 103 rows, 16.0 KiB, captured in 7ms"
    assert told[""] == "rows: customers 100, visits 3"
