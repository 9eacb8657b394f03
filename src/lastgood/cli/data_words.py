"""What is said of a release's live data: while it is under way, when it went back, and afterwards."""

from collections.abc import Mapping
from typing import Any, Final

from lastgood.cli.wording import duration, short_digest, size

_STAGES: Final = {
    "capturing": "is being captured",
    "captured": "is captured",
    "staged": "is captured, and its way back lies beside it",
    "migrating": "is being migrated",
    "migrated": "is migrated",
    "holding": "goes back; requests wait",
    "swapped": "is back",
    "counted": "is back",
}


def data_now(data: Mapping[str, Any], *, known: str = "") -> str:
    """Say in one line how far a release is with its data, and what stands in the way where it is not ``known`` already."""
    captured = "" if data["snapshot"] is None else f" ({_captured(data['snapshot'])})"
    trouble = f"; {data['error']}" if data["error"] and data["error"] not in known else ""
    return f"{data['source']} {_STAGES[data['stage']]}{captured}{trouble}"


def data_ended(data: Mapping[str, Any] | None) -> list[str]:
    """Say what a rollback that is over did with the data: nothing to say where it had none."""
    if data is None:
        return []
    if not data["back"]:
        return [f"{data['source']} {_stays(data)}."]
    waited = "" if data["held_ms"] is None else f"; requests waited {data['held_ms']:.1f} ms"
    return [
        f"{data['source']} is back as {data['snapshot']['token']} has it{waited}.",
        f"What it replaced: lastgood quarantine show {data['replaced']}",
    ]


def data_rows(view: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of a release's data for a table of facts: what was captured, and what became of it."""
    data = view["data"]
    if data is None:
        return []
    rows = [("data", data_now({**data, "snapshot": None}))]
    if view["phase"] in ("rolled_back", "aborted"):
        rows = [("" if index else "data", line) for index, line in enumerate(data_ended(data))]
    snapshot = data["snapshot"]
    if snapshot is not None:
        tables = ", ".join(f"{name} {rows}" for name, rows in sorted(snapshot["rows"].items()))
        digests = f"digest {short_digest(snapshot['digest'])}, schema {short_digest(snapshot['schema'])}"
        rows += [
            ("snapshot", f"{_captured(snapshot)}, captured in {duration(snapshot['seconds'])}"),
            ("", f"rows: {tables or 'none'}"),
            ("", f"read back: {digests}"),
        ]
    return rows


def _captured(snapshot: Mapping[str, Any]) -> str:
    rows = sum(snapshot["rows"].values())
    return f"{snapshot['token']}: {rows} {'row' if rows == 1 else 'rows'}, {size(snapshot['size_bytes'])}"


def _stays(data: Mapping[str, Any]) -> str:
    if data["snapshot"] is None:
        return "was not captured, and nothing changed it"
    if not data["touched"]:
        return "stays as it is: nothing had changed it"
    return f"stays as it is (on_rollback: {data['on_rollback']})"
