"""Proof: that the record is whole, and that the tables hold what it says. Reading only."""

from collections.abc import Iterable

from lastgood.domain.deployment import Deployment, StableEntry
from lastgood.domain.event import GENESIS, AuditEvent, seal_holds
from lastgood.domain.replay import Replay, entry_holds
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Journal, ReleaseStore


def prove_record(journal: Journal, *, head: str | None = None) -> tuple[int, str]:
    """Walk the whole record, compare it with the tables, and return its length and the hash of its last event.

    ``head`` is a hash noted earlier, which must be found in it: that shows a record that was cut off.

    :raises LastgoodError: ``corrupt``, naming the first event that does not fit, or else the first row that is
        not as recorded.
    """
    replay = Replay()
    count, previous, found = _walk(journal.chain(), replay, (0, GENESIS), head)
    tables = journal.tables(count)  # at one moment with what was appended since
    count, previous, late = _walk(tables.events, replay, (count, previous), head)
    if (count, previous) != tables.head:
        raise _cut_off(count, f"{tables.head[0]} events were written and only {count} are there")
    if not (head is None or found or late):
        raise _cut_off(count, f"the event with the hash {head} is not in it")
    difference = replay.difference(tables)
    if difference is not None:
        where = {"table": difference.table, "row": difference.row}
        what = f"in the table {difference.table}, {difference.row} {difference.how}"
        raise _not_as_recorded(what, intact=count, **where)
    return count, previous


def stable_at(
    releases: ReleaseStore, journal: Journal, deployment: Deployment, moment: float
) -> StableEntry | None:
    """Return the entry that was stable at ``moment``, None before the first; a few look-ups by key.

    It is compared with the sealed event that made it, and so is the entry that ended it.

    :raises LastgoodError: ``corrupt`` when they do not agree.
    """
    name = deployment.name
    entry = next(iter(releases.history(name, at=moment)), None)
    number = 0 if entry is None else entry.sequence
    following = releases.entry(name, number + 1)
    for one in (entry, following):
        if one is not None:
            _check_entry(journal, one)
    if entry is None:
        if (following is None and deployment.stable is not None) or (
            following is not None and following.since <= moment
        ):
            raise _not_as_recorded(f"the history of {name!r} has lost its first entry")
        return None
    last = following is None
    end = None if following is None else following.since
    if entry.until != end or (last and entry.version != deployment.stable):
        raise _not_as_recorded(f"entry {number} of the history of {name!r} does not end as it says")
    return entry


def _walk(
    events: Iterable[AuditEvent], replay: Replay, start: tuple[int, str], head: str | None
) -> tuple[int, str, bool]:
    """Check and fold ``events`` after ``start``; return the end, and whether ``head`` was among them."""
    count, previous = start
    found = False
    for event in events:
        count += 1
        if not seal_holds(event, count, previous):
            raise LastgoodError(
                Code.CORRUPT,
                f"The audit record is not intact: event {count} ({event.type}) was changed, removed or put in.",
                "Compare with a backup or with the CloudEvents that were sent; nothing before it is affected.",
                details={"sequence": count, "intact": count - 1},
            )
        replay.take(event)
        previous = event.hash
        found = found or previous == head
    return count, previous, found


def _check_entry(journal: Journal, entry: StableEntry) -> None:
    """Compare an entry with its event, and that event's hash with what comes after it."""
    place = f"entry {entry.sequence} of the history of {entry.deployment!r}"
    if entry.event is None:
        if journal.bound_from() <= 1:  # every entry was written with its event
            raise _not_as_recorded(f"{place} names no event")
        return
    event, after = None, ""
    found = journal.events(after=entry.event - 1, limit=2)
    if found and found[0].sequence == entry.event:
        event = found[0]
        after = found[1].previous if len(found) > 1 else journal.head()[1]
    if not entry_holds(entry, event, after):
        raise _not_as_recorded(f"{place} is not what event {entry.event} says")


def _cut_off(count: int, why: str) -> LastgoodError:
    return LastgoodError(
        Code.CORRUPT,
        f"The end of the audit record is missing: {why}.",
        "Compare with a backup or with the CloudEvents that were sent.",
        details={"intact": count},
    )


def _not_as_recorded(what: str, **details: object) -> LastgoodError:
    return LastgoodError(
        Code.CORRUPT,
        f"The database is not as the audit record says: {what}.",
        "Somebody wrote to the database by another way. Restore it from a backup; see 'lastgood audit'.",
        details=details,
    )
