"""Replay: what the sealed record says that the tables hold, and where they differ.

Only events are chained, but rollbacks read tables. So the store writes the effects of each change into the
change's last event, under :data:`EFFECTS`, before it is sealed. Folding those effects again gives every row
that a decision rests on; a row that was changed, removed or put in behind the store's back then shows.
Rows from before effects were written (their events come before ``Tables.bound_from``) are taken as they are.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from lastgood.domain.deployment import StableEntry
from lastgood.domain.event import AuditEvent, seal_holds

EFFECTS: Final = "effects"
"""The key in an event's data that belongs to the store: ``version``, ``release``, ``stable``, ``failed``, ``lifted``."""
Key = tuple[Any, ...]
"""A row's place: what it belongs to, then its number there."""
Rows = dict[Key, dict[str, Any]]
_WORDS: Final[Mapping[str, str]] = {
    "models": "model {0!r}",
    "versions": "version {1} of {0!r}",
    "deployments": "deployment {0!r}",
    "releases": "release {0}",
    "history": "entry {1} of {0!r}",
    "failures": "failure {0}",
}
_NUMBERED: Final = ("versions", "releases", "history", "failures")


class Tables(msgspec.Struct, frozen=True, kw_only=True):
    """What the tables hold at one moment, and the end of the record at that same moment.

    ``events`` are those after the sequence asked for; ``head`` is sequence and hash of the last event;
    ``bound_from`` is the first sequence whose effects are written. A ``document`` is the hash of a row's document.
    """

    events: tuple[AuditEvent, ...]
    head: tuple[int, str]
    bound_from: int
    rows: dict[str, Rows]


class Difference(msgspec.Struct, frozen=True):
    """The first row that does not agree with the record: where, and in which way, as a half sentence."""

    table: str
    row: str
    how: str


class Replay:
    """The effects of the events taken so far. Take each event once, in order."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {table: {} for table in _NUMBERED}
        self._standing: dict[str, list[Key]] = {}
        self._lifted: dict[str, int] = {}
        self._first: int | None = None

    def take(self, event: AuditEvent) -> None:
        """Fold one event; one without effects changes nothing."""
        effects = event.data.get(EFFECTS)
        if not isinstance(effects, dict):
            return
        if self._first is None:
            self._first = event.sequence
        if "version" in effects:
            row = dict(effects["version"])
            self._rows["versions"][event.model, row.pop("number")] = row
        if "release" in effects:
            row = dict(effects["release"])
            self._rows["releases"][row.pop("id"),] = row
        if "lifted" in effects:  # lift, mark, append: in the order in which the store does them
            self._lift(effects["lifted"]["digest"], effects["lifted"]["release"])
        if "failed" in effects:
            row = {**effects["failed"], "lifted_by": None}
            key = (row.pop("id"),)
            self._rows["failures"][key] = row
            self._standing.setdefault(row["digest"], []).append(key)
        if "stable" in effects:
            row = {**effects["stable"], "event": event.sequence}
            self._rows["history"][row.pop("deployment"), row.pop("sequence")] = row

    def difference(self, tables: Tables) -> Difference | None:
        """Return the first row of ``tables`` that is not what the record says, None when all are."""
        if self._first is not None and self._first < tables.bound_from:
            how = f"says that effects are written from event {tables.bound_from} on, but event {self._first} has some"
            return Difference("ledger", "mark 'bound_from'", how)
        return next(self._differences(tables), None)

    def _differences(self, tables: Tables) -> Iterator[Difference]:
        wanted = self._wanted(tables)
        for table, word in _WORDS.items():
            found = tables.rows[table]
            for key in sorted(found.keys() | wanted[table].keys()):
                how = _compared(found.get(key), wanted[table].get(key))
                if how is not None:
                    yield Difference(table, word.format(*key), how)

    def _wanted(self, tables: Tables) -> dict[str, Rows]:
        wanted = {
            table: {**_older(self._rows[table], tables.rows[table], tables.bound_from), **self._rows[table]}
            for table in _NUMBERED
        }
        failures = {key: self._with_lift(key, row) for key, row in wanted["failures"].items()}
        standing = {row["digest"] for row in failures.values() if row["lifted_by"] is None}
        history, last = _with_derived(wanted["history"], standing)
        deployments = {
            key: {"model": row["model"], "stable": None} for key, row in tables.rows["deployments"].items()
        }
        deployments |= {
            (name,): {"model": row["model"], "stable": row["version"]} for name, row in last.items()
        }
        models: Rows = {}
        for model, number in sorted(wanted["versions"]):
            models[model,] = {"newest": number}
        return {
            **wanted,
            "failures": failures,
            "history": history,
            "deployments": deployments,
            "models": models,
        }

    def _lift(self, digest: str, release: int) -> None:
        self._lifted.setdefault(digest, release)
        for key in self._standing.pop(digest, []):
            self._rows["failures"][key]["lifted_by"] = release

    def _with_lift(self, key: Key, row: dict[str, Any]) -> dict[str, Any]:
        """Return the failure; one from before effects were written may have been lifted since."""
        if key in self._rows["failures"] or row["lifted_by"] is not None:
            return row
        return {**row, "lifted_by": self._lifted.get(row["digest"])}


def entry_holds(entry: StableEntry, event: AuditEvent | None, next_hash: str) -> bool:
    """Whether a history entry says what its sealed event says; ``next_hash`` is what follows the event."""
    if event is None or event.hash != next_hash or not seal_holds(event, event.sequence, event.previous):
        return False
    said = event.data.get(EFFECTS, {}).get("stable")
    fields = ("deployment", "sequence", "version", "since", "release")
    return said is not None and all(said[name] == getattr(entry, name) for name in fields)


def _older(recorded: Rows, found: Rows, bound_from: int) -> Rows:
    """Return the rows that may be older than effects: each comes before the first one recorded in its group."""
    if bound_from <= 1:
        return {}
    first: dict[Key, int] = {}
    for *group, number in recorded:
        first[tuple(group)] = min(number, first.get(tuple(group), number))
    return {
        key: row
        for key, row in found.items()
        if key not in recorded and key[-1] < first.get(key[:-1], key[-1] + 1)
    }


def _with_derived(entries: Rows, standing: set[str]) -> tuple[Rows, dict[str, dict[str, Any]]]:
    """Work out what follows from the entries together; return them and the last one of each deployment."""
    whole: Rows = {}
    last: dict[str, dict[str, Any]] = {}
    latest: dict[tuple[str, int], dict[str, Any]] = {}
    for name, sequence in sorted(entries):
        row = {**entries[name, sequence], "until": None, "latest": True}
        row["good"] = row["digest"] not in standing
        if name in last:
            last[name]["until"] = row["since"]
        if (name, row["version"]) in latest:
            latest[name, row["version"]]["latest"] = False
        whole[name, sequence] = last[name] = latest[name, row["version"]] = row
    return whole, last


def _compared(found: dict[str, Any] | None, wanted: dict[str, Any] | None) -> str | None:
    if wanted is None:
        return "is not in the record"
    if found is None:
        return "is missing"
    for name, value in wanted.items():
        if found[name] != value:
            shown = "" if name == "document" else f" is {found[name]!r}, and the record says {value!r}"
            return f"was changed: its {name}{shown}" if shown else "was changed: its document"
    return None
