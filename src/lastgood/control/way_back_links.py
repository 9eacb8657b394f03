"""Proving the links of a way back, each as often as it deserves: what is dear is remembered for a while."""

import os
import time
from pathlib import Path
from typing import Final

import msgspec

from lastgood.control.execute import Executor
from lastgood.control.live_data import LiveData
from lastgood.control.residents import Residents, answered
from lastgood.control.way_back import WayBack
from lastgood.data_ports import DataSource
from lastgood.domain.plan import DataPlan, OnRollback
from lastgood.domain.readiness import Link, LinkName, LinkState
from lastgood.domain.snapshot import DataTask, Snapshot
from lastgood.domain.version import Version
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Blobs
from lastgood.wire.fleet import HostState, HostStatus

ARTIFACT_SECONDS: Final = 1_800.0
"""After which an artifact is read in full again although its files look as before."""

ANSWERS_SECONDS: Final = 30.0
"""After which the golden requests are asked again of a host that is the same as before."""

SNAPSHOT_SECONDS: Final = 600.0
"""After which a snapshot is read again."""

_MISSES_MOST: Final = 2  # health checks in a row that a busy host may miss
_POLL_SECONDS: Final = 0.02
_MORE_ROOM: Final = "Free some room: lastgood gc says what can go."


class _Read(msgspec.Struct, frozen=True):
    """What reading a snapshot, or asking a host, has found: an error (empty: none), and the room in its source.

    ``at`` is when a reading of a snapshot began, for what happens to its bytes afterwards it may have passed over.
    """

    at: float
    key: object = None
    error: str = ""
    room: int | None = None


class Prover:
    """Proves links. For one thread at a time."""

    def __init__(
        self,
        *,
        executor: Executor,
        blobs: Blobs,
        residents: Residents,
        live: LiveData,
    ) -> None:
        self._executor = executor
        self._blobs = blobs
        self._residents = residents
        self._live = live
        self._now = executor.now
        self._artifacts: dict[str, _Read] = {}
        self._answers: dict[tuple[str, int], _Read] = {}
        self._snapshots: dict[str, _Read] = {}
        self._begun: dict[str, float] = {}  # when readings of snapshots began that are not taken in yet

    def prove(self, way: WayBack, *, serving: bool, fresh: float = 0.0) -> tuple[Link, ...]:
        """Return how the links stand. ``serving`` is whether hosts should run at all.

        With ``fresh`` nothing is taken from memory, and a snapshot has that many seconds to be read.
        """
        if way.goal is None:
            return (_no_goal(way),)
        version = self._executor.version(way.deployment.model, way.goal)
        links = [_link(LinkName.LAST_GOOD, LinkState.OK, f"{version.display} served here before")]
        if way.deployment.stable == way.goal:
            links = [_link(LinkName.LAST_GOOD, LinkState.OK, f"{version.display} is stable")]
        links.append(self._artifact(version, fresh))
        links += self._host(way, version, serving, fresh)
        links.append(self._contract(way, version))
        return (*links, *self._data(way, fresh))

    def room_for(self, data: DataPlan) -> Link:
        """Say whether the disk has room for the snapshot that a release would take, and for the restore staged from it.

        By what the live data takes now. A source that cannot be asked says nothing here: its capture will.

        :raises LastgoodError: ``invalid`` when the settings of the source are wrong.
        """
        copies = 2 if data.on_rollback is OnRollback.RESTORE else 1
        try:
            source = self._live.desk.source(data.source, aside=True)
            size, room = source.size(), source.room()
        except LastgoodError as error:
            if error.code is Code.INVALID:
                raise
            return _link(LinkName.ROOM, LinkState.UNKNOWN, error.message, error.next_step)
        if size is None or room is None:
            what = f"{data.source} cannot tell what a copy takes, or how much room there is"
            return _link(LinkName.ROOM, LinkState.UNKNOWN, what)
        what = "a snapshot and its restore need" if copies > 1 else "a snapshot needs"
        needed = f"{what} {copies * size} bytes for {data.source}, {room} are free"
        if room < copies * size:
            return _link(LinkName.ROOM, LinkState.BROKEN, needed, _MORE_ROOM)
        return _link(LinkName.ROOM, LinkState.OK, needed)

    def look_again(self) -> None:
        """See what the live data looks like now, for versions that stand in for stable only while they fit it."""
        self._live.schemas.refresh()

    def _artifact(self, version: Version, fresh: float) -> Link:
        try:
            shape = _shape(self._blobs.path(version.digest))
            known = self._artifacts.get(version.digest)
            if fresh or known is None or known.key != shape or self._old(known, ARTIFACT_SECONDS):
                self._artifacts.pop(version.digest, None)
                self._blobs.verify(version.digest)
                self._artifacts[version.digest] = _Read(self._now(), shape)
        except LastgoodError as error:
            return _link(LinkName.ARTIFACT, LinkState.BROKEN, error.message, error.next_step)
        except OSError as error:
            again = "Check the disk and the rights of the blobs folder."
            return _link(LinkName.ARTIFACT, LinkState.BROKEN, f"it cannot be read ({error.strerror})", again)
        return _link(LinkName.ARTIFACT, LinkState.OK, f"present, digest {version.digest[:19]}")

    def _host(self, way: WayBack, version: Version, serving: bool, fresh: float) -> list[Link]:
        name = way.deployment.name
        if not serving:
            what, then = "no server runs here, so no host does", "Start it: lastgood serve"
            return [_link(one, LinkState.UNKNOWN, what, then) for one in (LinkName.HOST, LinkName.ANSWERS)]
        then = f"See 'lastgood status {name}' and the logs in the run folder."
        status = self._residents.status(version)
        called = "stable version" if way.deployment.stable == version.number else "last good version"
        called = f"the host of the {called} {version.number}"
        if status is None or status.state is not HostState.READY:
            state = "not running" if status is None else f"{status.state.value}: {status.error}".rstrip(": ")
            return [_link(LinkName.HOST, LinkState.BROKEN, f"{called} is {state}", then)]
        misses = self._residents.misses(version)
        if misses > _MISSES_MOST:
            why = f"{called} missed {misses} health checks in a row"
            return [_link(LinkName.HOST, LinkState.BROKEN, why, then)]
        ready = _link(LinkName.HOST, LinkState.OK, f"{called} is resident and ready")
        return [ready, self._answering(version, name, status, fresh)]

    def _answering(self, version: Version, deployment: str, status: HostStatus, fresh: float) -> Link:
        if not version.golden:
            what = "it has no golden requests; its health checks are answered"
            return _link(LinkName.ANSWERS, LinkState.OK, what, "Register the next one with --golden FILE.")
        key = (version.model, version.number)
        life = (status.pid, status.starts)
        known = self._answers.get(key)
        if fresh or known is None or known.key != life or known.error or self._old(known, ANSWERS_SECONDS):
            why = self._residents.wrong_answer(version, deployment) or ""
            known = self._answers[key] = _Read(self._now(), life, why)
        if known.error:
            return _link(LinkName.ANSWERS, LinkState.BROKEN, known.error, "Look at the host's log.")
        return _link(LinkName.ANSWERS, LinkState.OK, answered(version))

    def _contract(self, way: WayBack, version: Version) -> Link:
        if way.one_way:
            what, then = (
                f"{way.one_way}: nothing goes back by itself",
                "Go on, or bring the data back by hand.",
            )
            return _link(LinkName.CONTRACT, LinkState.BROKEN, what, then, accepted=True)
        found = self._live.misfits(version)
        lacking = "; ".join(found)
        apart = way.deployment.stable != version.number
        if way.snapshot is not None:
            what = f"its data is restored with it (snapshot {way.snapshot.token} of {way.snapshot.source})"
            if found and apart:
                what = f"{what}; until then it does not stand in when stable's host is away: {lacking}"
            return _link(LinkName.CONTRACT, LinkState.OK, what)
        if found:
            then = "Bring the data back to that shape, or see why its source does not answer."
            if apart:
                then = f"It does not stand in either when stable's host is away. {then}"
            return _link(LinkName.CONTRACT, LinkState.BROKEN, lacking, then, accepted=way.stays)
        what = "it fits the live data" if version.needs else "it says of no data that it needs it"
        return _link(LinkName.CONTRACT, LinkState.OK, what)

    def _data(self, way: WayBack, fresh: float) -> list[Link]:
        if way.gone:
            return [_link(LinkName.SNAPSHOT, LinkState.BROKEN, way.gone, "Release a version that fits.")]
        snapshot = way.snapshot
        if snapshot is None:
            return []
        found = self._read(snapshot, fresh)
        if found is None:
            what, then = f"snapshot {snapshot.token} is being read", "Ask again in a while."
            return [_link(LinkName.SNAPSHOT, LinkState.UNKNOWN, what, then)]
        if found.error:
            then = "Restore what is kept from a backup; there is no other copy of that state."
            return [_link(LinkName.SNAPSHOT, LinkState.BROKEN, found.error, then)]
        rows, ago = sum(snapshot.rows.values()), self._now() - found.at
        told = "1 row" if rows == 1 else f"{rows} rows"
        what = f"snapshot {snapshot.token} of {snapshot.source} is whole ({told}, read {ago:.0f} s ago)"
        return [_link(LinkName.SNAPSHOT, LinkState.OK, what), _room(way, snapshot, found.room)]

    def _read(self, snapshot: Snapshot, fresh: float) -> _Read | None:
        """Return what the newest finished reading of a snapshot found, beginning one when it is due.

        With ``fresh``, one that was begun before this call is only what is known when time is up.
        """
        known = self._snapshots.get(snapshot.token)
        if not fresh and known is not None and not known.error and not self._old(known, SNAPSHOT_SECONDS):
            return known

        def act(source: DataSource) -> int | None:
            source.verify(snapshot)
            return source.room()

        desk, work_of = self._live.desk, (snapshot.source, DataTask.VERIFY, snapshot.token)
        until, earlier = time.monotonic() + fresh, fresh > 0 and desk.knows(*work_of)
        while True:
            if not desk.knows(*work_of):
                self._begun[snapshot.token] = self._now()
            work = desk.ask(*work_of, act)
            if work.done:
                desk.forget(*work_of)
                error = "" if work.error is None else work.error.message
                room = work.result if isinstance(work.result, int) else None
                begun = self._begun.pop(snapshot.token, self._now())
                known = self._snapshots[snapshot.token] = _Read(begun, None, error, room)
                if not earlier:
                    return known
                earlier = False  # what may have changed since it was begun is read once more
            elif time.monotonic() >= until:
                return known
            else:
                time.sleep(_POLL_SECONDS)

    def _old(self, known: _Read, seconds: float) -> bool:
        return self._now() - known.at > seconds


def _no_goal(way: WayBack) -> Link:
    if way.deployment.stable is None:
        return _link(
            LinkName.LAST_GOOD, LinkState.BROKEN, "nothing serves here yet", "Release a first version."
        )
    what = "no other version that is still good was ever stable here"
    return _link(
        LinkName.LAST_GOOD, LinkState.BROKEN, what, "Release another version; this one stays its way back."
    )


def _room(way: WayBack, snapshot: Snapshot, room: int | None) -> Link:
    if way.staged:
        return _link(LinkName.ROOM, LinkState.OK, "the restore lies beside the live data already")
    if room is None:
        return _link(LinkName.ROOM, LinkState.UNKNOWN, "the source cannot tell how much room a restore has")
    needed = f"a restore needs {snapshot.size_bytes} bytes, {room} are free"
    if room < snapshot.size_bytes:
        return _link(LinkName.ROOM, LinkState.BROKEN, needed, _MORE_ROOM)
    return _link(LinkName.ROOM, LinkState.OK, needed)


def _shape(path: Path) -> tuple[tuple[str, int, int, int], ...] | None:
    """Return names, times, sizes and inodes of an artifact's files; None where there is nothing."""
    if not path.exists():
        return None
    files = [path]
    if path.is_dir():
        files = sorted(Path(parent, name) for parent, _, names in os.walk(path) for name in names)
    found = [(one, one.lstat()) for one in files]
    return tuple((str(one), status.st_mtime_ns, status.st_size, status.st_ino) for one, status in found)


def _link(name: LinkName, state: LinkState, sentence: str, then: str = "", *, accepted: bool = False) -> Link:
    return Link(name=name, state=state, sentence=sentence.rstrip("."), next=then, accepted=accepted)
