"""What table formats with a history of their own have in common: a snapshot is a state that the table already keeps.

Nothing is copied. A capture notes which files a state is made of and reads every one of them, a restore is one more
commit that makes that state the newest, and what was replaced stays in the history. So everything hangs on others not
cleaning it away: verifying reads the files again, and a missing one is a way back that is closed.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from lastgood.domain.snapshot import Gained, Quarantine, Schema, Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources.arrow_rows import Difference, RowSum, difference
from lastgood.sources.digest import content_digest, schema_of, value_digest
from lastgood.sources.export import RowsFile, export_name
from lastgood.sources.lake_state import LakeTable, State, Swap
from lastgood.sources.notes import Notes
from lastgood.sources.tokens import checked


class _Manifest(msgspec.Struct, frozen=True):
    """What a snapshot is made of: the digest of each file, and the sum of its rows' hashes."""

    digests: dict[str, str]
    rows: int
    total: str

    def sum(self) -> RowSum:
        return RowSum(self.rows, int(self.total, 16))


class LakeSource:
    """The :class:`~lastgood.data_ports.DataSource` over one :class:`LakeTable`. Safe from any thread."""

    def __init__(
        self, name: str, table: LakeTable, kept: Path, *, reached: Callable[[str], None] = lambda _: None
    ) -> None:
        self._name = name
        self._table = table
        self._notes = Notes(kept)
        self._reached = reached

    def schema(self) -> Schema:
        """See the port."""
        return self._schema(self._table.live())

    def capture(self, token: str) -> Snapshot:
        """See the port. Nothing is copied; every file is read twice, for its bytes and for its rows."""
        noted = self._notes.read(token, "snapshot", Snapshot)
        if noted is not None:
            return noted
        taken_at = time.time()
        state = self._table.live()
        self._reached("capture.begin")
        self._table.pin(token, state)
        self._reached("capture.pinned")
        return self._described(token, state, taken_at)

    def verify(self, snapshot: Snapshot) -> None:
        """See the port. Reads all bytes of all files: the same bytes are the same rows."""
        self._verified(snapshot)

    def stage_restore(self, snapshot: Snapshot, token: str) -> None:
        """See the port. There is nothing to build: staging is verifying, and noting what the swap shall do."""
        checked(token)
        if self.swapped(token):
            return
        self._verified(snapshot)
        self._reached("stage.verified")
        self._notes.write(token, "staged", snapshot)
        self._reached("stage.noted")

    def swap(self, token: str) -> None:
        """See the port. One commit, checked afterwards against the files of the snapshot."""
        if self.swapped(token):
            return
        staged = self._notes.read(token, "staged", Snapshot)
        if staged is None:
            raise LastgoodError(
                Code.NOT_FOUND,
                f"Nothing is staged under {token!r} for data source {self._name!r}.",
                "Stage the restore first.",
            )
        self._reached("swap.begin")
        swap = self._table.put_back(self._table.at(staged.place), token, self._reached)
        self._reached("swap.committed")
        self._notes.note_swap(token, swap)
        self._reached("swap.noted")

    def swapped(self, token: str) -> bool:
        """See the port. The commit in the table's own history tells."""
        return self._swap_of(token) is not None

    def quarantine(self, snapshot: Snapshot, token: str, exports: Path) -> Quarantine:
        """See the port. Files that both states share are not compared: their rows are in both."""
        noted = self._notes.read(token, "quarantine", Quarantine)
        if noted is not None and noted.since == snapshot.token:
            return noted
        swap = self._swap_of(token)
        if swap is None:
            raise LastgoodError(
                Code.NOT_FOUND,
                f"Nothing was replaced under {token!r} in data source {self._name!r}.",
                "Only a restore that happened has a quarantine.",
            )
        old, new = self._table.at(snapshot.place), self._table.at(swap.before)
        taken_at = time.time()
        self._table.pin(
            token, new
        )  # what was replaced is kept until somebody deletes it, however the table is cleaned
        self._reached("quarantine.pinned")
        found, gained = self._gained(old, new, sum(snapshot.rows.values()), exports)
        self._reached("quarantine.exported")
        kept = self._notes.read(token, "snapshot", Snapshot)
        if kept is None:
            manifest = self._notes.read(snapshot.token, "manifest", _Manifest)
            alike = old.columns == new.columns and old.divisible and new.divisible
            if manifest is not None and alike:
                kept = self._described(token, new, taken_at, manifest.digests, found.after(manifest.sum()))
            else:
                kept = self._described(token, new, taken_at)
        self._reached("quarantine.described")
        quarantine = Quarantine(
            token=token, since=snapshot.token, kept=kept, tables={self._table.table: gained}
        )
        self._notes.write(token, "quarantine", quarantine)
        self._reached("quarantine.noted")
        return quarantine

    def release(self, token: str) -> int:
        """See the port. The bytes are those of our notes: files belong to the table, whose own cleaning frees them."""
        checked(token)
        self._swap_of(
            token
        )  # noted for ever, before the staged state that it is checked against is forgotten
        self._table.unpin(token)
        self._reached("release.unpinned")
        return self._notes.remove(token)

    def room(self) -> int | None:
        """See the port. A restore is one small commit and needs no room for data."""
        return None

    def size(self) -> int | None:
        """See the port. Nothing is ever copied."""
        return 0

    def _schema(self, state: State) -> Schema:
        return schema_of({self._table.table: state.columns})

    def _swap_of(self, token: str) -> Swap | None:
        noted = self._notes.swap_of(token, Swap)
        if noted is not None:
            return noted
        staged = self._notes.read(token, "staged", Snapshot)
        if staged is None:
            return None  # never begun here, and a look through the whole history would find nothing
        target = None
        with contextlib.suppress(LastgoodError):  # its files may be gone by now, and the commit says enough
            target = self._table.at(staged.place)
        swap = self._table.find_swap(token, target)
        if swap is not None:
            self._notes.note_swap(token, swap)
        return swap

    def _described(
        self,
        token: str,
        state: State,
        taken_at: float,
        known: Mapping[str, str] = MappingProxyType({}),
        rows: RowSum | None = None,
    ) -> Snapshot:
        """Read a state but for what is ``known`` of it, note its files, and return it as the snapshot ``token``."""
        began = time.monotonic()
        digests = {path: digest for path, digest in known.items() if path in state.files}
        digests |= self._file_digests(state, digests.keys())
        if rows is None:
            rows = RowSum()
            for batch in self._table.batches(state):
                rows.add(batch)
        self._reached("described.read")
        self._notes.write(token, "manifest", _Manifest(digests, rows.rows, f"{rows.total:x}"))
        self._reached("described.manifest")
        schema = self._schema(state)
        snapshot = Snapshot(
            token=token,
            source=self._name,
            provider=self._table.provider,
            taken_at=taken_at,
            seconds=time.monotonic() - began,
            size_bytes=sum(state.files.values()),
            rows={self._table.table: rows.rows},
            schema=schema,
            digest=content_digest(schema, {self._table.table: rows.value()}),
            place={**state.place, "files": value_digest(digests)},
        )
        self._notes.write(token, "snapshot", snapshot)
        self._reached("described.noted")
        return snapshot

    def _file_digests(self, state: State, besides: Collection[str] = ()) -> Iterator[tuple[str, str]]:
        for path, digest in self._table.file_digests(state, besides):
            if digest is None:
                raise LastgoodError(
                    Code.NOT_FOUND,
                    f"The file {path!r} of data source {self._name!r} is gone; something outside removed it.",
                    "Keep the versions that snapshots need when cleaning the table, and capture again.",
                )
            yield path, digest

    def _verified(self, snapshot: Snapshot) -> None:
        manifest = self._notes.read(snapshot.token, "manifest", _Manifest)
        if manifest is None:
            raise LastgoodError(
                Code.NOT_FOUND,
                f"The snapshot {snapshot.token!r} of data source {self._name!r} is not kept any more.",
                "Capture again.",
            )
        state = self._table.at(snapshot.place)
        same = value_digest(manifest.digests) == snapshot.place.get("files")
        if (
            not same
            or state.files.keys() != manifest.digests.keys()
            or self._schema(state) != snapshot.schema
        ):
            raise LastgoodError(
                Code.CORRUPT,
                f"The snapshot {snapshot.token!r} of data source {self._name!r} is not what was captured.",
                "Capture again.",
            )
        for path, digest in self._file_digests(state):
            if digest != manifest.digests[path]:
                raise LastgoodError(
                    Code.CORRUPT,
                    f"The file {path!r} of data source {self._name!r} has changed since it was captured.",
                    "Bring the file back from a backup, or capture again.",
                )

    def _gained(self, old: State, new: State, rows: int, exports: Path) -> tuple[Difference, Gained]:
        only_old: frozenset[str] | None = None
        only_new: frozenset[str] | None = None
        if old.divisible and new.divisible:
            only_old = frozenset(old.files.keys() - new.files.keys())
            only_new = frozenset(new.files.keys() - old.files.keys())
        name = export_name(self._table.table)
        columns = [column.name for column in new.columns]
        try:
            with RowsFile(exports / name, columns) as file:
                found = difference(
                    lambda: self._table.batches(old, only_old),
                    lambda: self._table.batches(new, only_new),
                    rows,
                    lambda added: file.add([row[column] for column in columns] for row in added),
                )
        except OSError as error:
            raise LastgoodError(
                Code.STORAGE, f"The export {name!r} cannot be written: {error.strerror}.", "Make room."
            ) from None
        added, removed = found.added.rows, found.removed.rows
        return found, Gained(added=added, removed=removed, export=name if added else None)
