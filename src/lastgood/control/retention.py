"""What may go of what is kept, and why: rules without a store or a clock. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from lastgood.domain.release import Release
from lastgood.domain.snapshot import Kept, KeptKind

_DAY = 86_400.0


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions a deployment may need the data of: those that are stable and last good."""

    stable: int | None = None
    last_good: int | None = None


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one row: whether it ``goes``, and ``why``, as a half sentence that names what refers to it."""

    row: Kept
    goes: bool
    why: str


def fates(
    rows: Sequence[Kept],
    releases: Mapping[int, Release],
    services: Mapping[str, Service],
    *,
    now: float,
    keep_seconds: float,
) -> list[Fate]:
    """Return what becomes of each row that still takes room.

    ``releases`` are those that the rows belong to and all that are under way, ``services`` every deployment. A row
    whose release or deployment is not among them stays: what cannot be understood is not removed.
    """
    return [_fate(row, rows, releases, services, now, keep_seconds) for row in rows]


def _fate(
    row: Kept,
    rows: Sequence[Kept],
    releases: Mapping[int, Release],
    services: Mapping[str, Service],
    now: float,
    keep_seconds: float,
) -> Fate:
    if row.freed_by:
        return Fate(row=row, goes=True, why=f"{row.freed_by} let it go: {row.freed_why}")
    release, service = releases.get(row.release), services.get(row.deployment)
    if release is None or service is None:
        return Fate(row=row, goes=False, why=f"release {row.release} of {row.deployment} cannot be found")
    user = _user(row, releases.values())
    if user is not None:
        return Fate(row=row, goes=False, why=f"release {user.id} of {user.deployment} is under way with it")
    if row.kind is KeptKind.QUARANTINE:
        why = f"it is a quarantine; only a person removes it: lastgood quarantine delete {row.token}"
        return Fate(row=row, goes=False, why=why)
    if row.kind is KeptKind.STAGED:
        return Fate(row=row, goes=True, why=f"release {release.id} is over, and this way back was not needed")
    return _snapshot(row, rows, release, service, now - row.at, keep_seconds)


def _user(row: Kept, releases: Iterable[Release]) -> Release | None:
    """Return the release under way that the row belongs to, or that puts the row's state back."""
    for release in releases:
        snapshot = None if release.data is None else release.data.snapshot
        named = snapshot is not None and (snapshot.source, snapshot.token) == (row.source, row.token)
        if not release.terminal and (release.id == row.release or named):
            return release
    return None


def _snapshot(
    row: Kept, rows: Sequence[Kept], release: Release, service: Service, age: float, keep_seconds: float
) -> Fate:
    for other in rows:
        if other.kind is KeptKind.QUARANTINE and other.snapshot.token == row.token:
            return Fate(row=row, goes=False, why=f"the quarantine {other.token} is what it replaced")
    numbers = [number for number in (row.version, release.version) if number]
    for number in numbers:
        for role, serving in (("stable in", service.stable), ("the last good version of", service.last_good)):
            if serving == number:
                why = f"version {number} is {role} {row.deployment}"
                return Fate(row=row, goes=False, why=why)
    if age < keep_seconds:
        why = f"it is {age / _DAY:.1f} days old, and {keep_seconds / _DAY:g} days are kept (keep_snapshots)"
        return Fate(row=row, goes=False, why=why)
    words = " and ".join(f"version {number}" for number in dict.fromkeys(numbers))
    neither = "is neither" if len(set(numbers)) == 1 else "are neither"
    return Fate(
        row=row,
        goes=True,
        why=f"{words} {neither} stable nor last good in {row.deployment}, and it is {age / _DAY:.1f} days old",
    )
