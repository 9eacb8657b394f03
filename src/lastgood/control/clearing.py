"""Clearing: what of the kept data may go, shown first, and let go of when a person says so."""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from lastgood.control.caretaker import Caretaker
from lastgood.control.live_data import LiveData
from lastgood.control.retention import Fate, Service, fates
from lastgood.data_ports import KeptStore
from lastgood.domain.release import Release
from lastgood.ports import ReleaseStore

WAIT_SECONDS: Final = 25.0


class KeptView(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is kept: whether ``gc`` lets it go, and why or why not. ``size_bytes`` is of the state it holds.

    ``freed_at`` is set once it is gone; ``trouble`` says why it could not be freed yet.
    """

    token: str
    kind: str
    source: str
    deployment: str
    release: int
    version: int
    at: float
    size_bytes: int
    goes: bool
    why: str
    freed_at: float | None = None
    trouble: str = ""


class Clearing:
    """The command ``gc``. Artifacts of versions are none of its business: any of them may serve again."""

    def __init__(
        self,
        *,
        kept: KeptStore,
        releases: ReleaseStore,
        live: LiveData,
        caretaker: Caretaker,
        keep_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._kept = kept
        self._releases = releases
        self._live = live
        self._caretaker = caretaker
        self._keep_seconds = keep_seconds
        self._now = now

    def look(self) -> list[KeptView]:
        """Return everything that is kept and what would become of it; nothing is changed."""
        return [_view(fate) for fate in self._fates()]

    def clear(self, tokens: tuple[str, ...], *, actor: str) -> list[KeptView]:
        """Let go of those of ``tokens`` that may go now, and return what became of each; the others stay.

        What cannot be freed within :data:`WAIT_SECONDS` is freed by the controller later on.
        """
        with self._live.turn:  # nobody begins to use one of them between the look and the note
            chosen = [fate for fate in self._fates() if fate.row.token in tokens]
            going = [fate for fate in chosen if fate.goes]
            for fate in going:
                self._caretaker.let_go(fate.row, by=actor, why=fate.why)
        after = self._caretaker.looked_after([one.row for one in going], WAIT_SECONDS)
        freed = {row.token: row for row in after}
        found = []
        for fate in chosen:
            row = freed.get(fate.row.token, fate.row)
            view = _view(fate)
            found.append(msgspec.structs.replace(view, freed_at=row.freed_at, trouble=row.trouble))
        return found

    def _fates(self) -> list[Fate]:
        rows = self._kept.all_kept()
        releases: dict[int, Release] = {}
        services = {}
        wanted = {row.release for row in rows}
        for deployment in self._releases.deployments():
            entry = self._releases.last_good(deployment.name, besides=deployment.stable)
            last_good = None if entry is None else entry.version
            services[deployment.name] = Service(stable=deployment.stable, last_good=last_good)
            if deployment.release is not None:
                wanted.add(deployment.release)
        for identifier in wanted:
            release = self._releases.release(identifier)
            if release is not None:
                releases[identifier] = release
        return fates(rows, releases, services, now=self._now(), keep_seconds=self._keep_seconds)


def _view(fate: Fate) -> KeptView:
    row = fate.row
    state = row.snapshot if row.quarantine is None else row.quarantine.kept
    return KeptView(
        token=row.token,
        kind=row.kind.value,
        source=row.source,
        deployment=row.deployment,
        release=row.release,
        version=row.version,
        at=row.at,
        size_bytes=state.size_bytes,
        goes=fate.goes,
        why=fate.why,
        trouble=row.trouble,
    )
