"""Delta Lake tables: a snapshot is a version of the table, a restore is one more commit.

The commit is built on the version that was newest a moment before and fails when another one came first, so whatever
was committed until then is in the version that it replaces. Its token is in the commit's own record.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote

import msgspec
import pyarrow as pa
import pyarrow.dataset as pad
import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler

from lastgood.domain.snapshot import Column
from lastgood.errors import Code, LastgoodError
from lastgood.sources.delta_pins import DeltaPins
from lastgood.sources.digest import file_digest
from lastgood.sources.hidden_texts import HiddenTexts
from lastgood.sources.lake_state import State, Swap
from lastgood.sources.streams import stream_digest

_MARK: Final = "lastgood.token"
_WHOLE_ONLY: Final = frozenset({"deletionVectors", "columnMapping"})  # pyarrow cannot read these file by file
_SHOWN_CHARACTERS: Final = 200


class DeltaLakeTable:
    """The :class:`~lastgood.sources.lake_state.LakeTable` of one Delta table."""

    provider = "delta"

    def __init__(
        self, source: str, uri: str, table: str, storage: HiddenTexts, swap_seconds: float, pins: DeltaPins
    ) -> None:
        self.table = table
        self._source = source
        self._uri = uri
        self._storage = storage
        self._swap_seconds = swap_seconds
        self._pins = pins

    def live(self) -> State:
        """See the protocol."""
        return self._state(self._open())

    def at(self, place: dict[str, Any]) -> State:
        """See the protocol. The log may have been cleaned of the version."""
        return self._state(self._open(int(place["version"])))

    def batches(self, state: State, only: frozenset[str] | None = None) -> Iterator[pa.RecordBatch]:
        """See the protocol."""
        table = self._open(int(state.place["version"]))
        with self._spoken():
            self._pins.bring_back(state.files if only is None else only)
            if not state.divisible:
                yield from pa.RecordBatchReader.from_stream(table.scan())
                return
            whole = table.to_pyarrow_dataset()
            fragments = [each for each in whole.get_fragments() if only is None or each.path in only]
            part = pad.FileSystemDataset(fragments, whole.schema, whole.format, whole.filesystem)
            yield from part.to_batches(use_threads=False)

    def file_digests(self, state: State, besides: Collection[str] = ()) -> Iterator[tuple[str, str | None]]:
        """See the protocol."""
        with self._spoken():
            store = DeltaStorageHandler(self._uri, self._storage.read() or None, dict(state.files))
            files = pafs.PyFileSystem(store)
            for path in sorted(state.files.keys() - set(besides)):
                try:
                    with files.open_input_stream(path) as file:
                        yield path, stream_digest(file)
                except FileNotFoundError:
                    held = self._pins.held(path)
                    yield path, None if held is None else file_digest(held)

    def pin(self, token: str, state: State) -> None:
        """Hold the files of a table on this disk by hard links; elsewhere whoever cleans the table must keep the version."""
        self._pins.hold(token, state.files)

    def unpin(self, token: str) -> None:
        """Do nothing: the links go with what is noted of the token."""

    def put_back(self, state: State, token: str, reached: Callable[[str], None]) -> Swap:
        """See the protocol. Tried again when a writer was first, for ``swap_seconds``."""
        deadline = time.monotonic() + self._swap_seconds
        while True:
            table = self._open()
            before = {"version": table.version()}
            if self._state(table).is_like(state):
                return Swap(before, before)  # nothing to bring back: not even a commit
            with self._spoken():
                self._pins.bring_back(state.files)
            reached("swap.commit")
            if self._restore(table, int(state.place["version"]), {_MARK: token}):
                after = {"version": before["version"] + 1}
                self._prove(state, before, after)
                return Swap(before, after)
            if time.monotonic() >= deadline:
                raise LastgoodError(
                    Code.TIMEOUT,
                    f"Writers of data source {self._source!r} were first for {self._swap_seconds:g} s.",
                    "Try again when fewer write, or raise 'swap_seconds'.",
                )

    def find_swap(self, token: str, target: State | None) -> Swap | None:
        """See the protocol."""
        table = self._open()
        with self._spoken():
            since = 0 if target is None else int(target.place["version"])
            commits = table.history(table.version() - since + 1)
        for commit in commits:
            if commit.get(_MARK) == token:
                after = {"version": int(commit["version"])}
                if target is None or self.at(after).is_like(target):
                    return Swap({"version": after["version"] - 1}, after)
        return None

    def _restore(self, table: DeltaTable, version: int, metadata: dict[str, str]) -> bool:
        """Commit the restore on top of ``table``; False when another commit came first."""
        properties = CommitProperties(custom_metadata=metadata, max_commit_retries=0)
        with self._spoken():
            try:
                table.restore(version, commit_properties=properties)
            except CommitFailedError:
                return False
        return True

    def _prove(self, state: State, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Look at what the commit made; one that did not bring the state back is undone and is a failure."""
        if self.at(after).is_like(state):
            return
        undone = self._restore(self._open(after["version"]), before["version"], {})
        raise LastgoodError(
            Code.CORRUPT,
            f"The restore of data source {self._source!r} reported success but did not bring the snapshot back"
            f" (version {after['version']}{', undone' if undone else ''}).",
            "Look at the table's history; it may use a feature that its client does not restore.",
        )

    def _open(self, version: int | None = None) -> DeltaTable:
        with self._spoken():
            try:
                return DeltaTable(self._uri, version=version, storage_options=self._storage.read() or None)
            except TableNotFoundError:
                if version is not None and self._is_there():
                    raise LastgoodError(
                        Code.NOT_FOUND,
                        f"The log of data source {self._source!r} does not reach back to version {version} any more.",
                        "It was cleaned; capture again, and raise the table's delta.logRetentionDuration.",
                    ) from None
                raise LastgoodError(
                    Code.NOT_FOUND,
                    f"There is no Delta table for data source {self._source!r}.",
                    "Check 'uri' and 'storage_options'.",
                ) from None
            except DeltaError as error:
                if version is None:
                    raise
                raise LastgoodError(
                    Code.NOT_FOUND,
                    f"Version {version} of data source {self._source!r} cannot be read: {self._short(error)}",
                    "Its log was cleaned or damaged; capture again, and raise the table's log retention.",
                ) from None

    def _is_there(self) -> bool:
        return bool(DeltaTable.is_deltatable(self._uri, self._storage.read() or None))

    def _state(self, table: DeltaTable) -> State:
        with self._spoken():
            fields = msgspec.json.decode(table.schema().to_json())["fields"]
            files = pa.table(table.get_add_actions(flatten=True)).select(["path", "size_bytes"]).to_pylist()
            features = frozenset(table.protocol().reader_features or ())
            deleted = pa.table(table.deletion_vectors()).to_pylist() if features & _WHOLE_ONLY else []
            partitions = table.metadata().partition_columns
        gone = sorted(
            (row["filepath"], [n for n, keep in enumerate(row["selection_vector"]) if not keep])
            for row in deleted
        )
        return State(
            place={"version": table.version()},
            columns=tuple(Column(field["name"], _type(field["type"])) for field in fields),
            files={unquote(file["path"]): file["size_bytes"] for file in files},
            also=hashlib.sha256(msgspec.json.encode([partitions, gone])).hexdigest(),
            divisible=not features & _WHOLE_ONLY,
        )

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        """Turn the client's errors into ours, without secrets."""
        try:
            yield
        except (DeltaError, OSError, pa.ArrowInvalid) as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: Exception) -> LastgoodError:
        return LastgoodError(
            Code.UNAVAILABLE,
            f"The Delta table of data source {self._source!r} cannot be read: {self._short(error)}",
            "Check that the store answers and the table is whole.",
        )

    def _short(self, error: Exception) -> str:
        return self._storage.masked(" ".join(str(error).split()))[:_SHOWN_CHARACTERS]


def _type(given: Any) -> str:
    return given if isinstance(given, str) else msgspec.json.encode(given, order="sorted").decode()
