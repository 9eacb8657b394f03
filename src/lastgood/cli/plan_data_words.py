"""What a plan does with live data, in words, one line a fact."""

import shlex
from typing import TYPE_CHECKING

from lastgood.cli.wording import duration

if TYPE_CHECKING:
    from lastgood.domain.plan import DataPlan


def data_in_words(data: "DataPlan") -> list[str]:
    """Say what is captured, what runs, whether requests wait, and what a rollback does."""
    restores = data.on_rollback.value == "restore"
    captured = f"{data.source} is captured and read back before anything changes; without that, no release."
    lines = [f"Data: {data.source}.", f"  {captured}"]
    if restores:
        lines.append("  The way back is staged beside the live data before the candidate has traffic.")
    lines += [f"  {line}" for line in _migration(data)]
    lines.append(f"  {_rollback(data)}")
    return lines


def _migration(data: "DataPlan") -> list[str]:
    if not data.migrate:
        return ["Nothing migrates it."]
    runs = f"Then this runs, for at most {duration(data.migrate_timeout)}: {shlex.join(data.migrate)}"
    frozen = data.on_rollback.value == "freeze"
    then = "the release stops and tells a person" if frozen else "the release is rolled back"
    failed = f"If it fails, {then}, before any traffic moves."
    if data.hold:
        waits = (
            "Requests wait from before it runs until all traffic is on the candidate; one that waits longer than "
            "request_timeout is answered 504."
        )
        return [runs, failed, waits]
    both = "Requests do not wait: stable answers while it runs and after it, so both versions must be able to read it."
    return [runs, failed, both]


def _rollback(data: "DataPlan") -> str:
    match data.on_rollback.value:
        case "restore":
            return (
                "A rollback puts it back together with the model; requests wait for the moment of the swap, and what "
                "was written since the capture is counted and kept in quarantine."
            )
        case "freeze" if data.migrate:
            return "Once that has begun, nothing goes back by itself: the release stops and tells a person."
        case _:
            return (
                "A rollback takes the model back and leaves the data as it is; where the version before does not fit "
                "that, it stops and tells a person."
            )
