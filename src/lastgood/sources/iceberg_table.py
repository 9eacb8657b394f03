"""Apache Iceberg tables: a snapshot is a snapshot of the table with the schema it was read by, a restore is one commit.

A tag keeps what is needed from being expired. The commit sets the branch, the schema, the partitioning and the order
back together (a rollback alone leaves the new schema over the old files), tags what it replaces, and notes its token in the
table's properties; it holds only if branch and schema are still what was looked at, so nothing committed in between is lost.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, cast

import msgspec
import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, RESTError
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask, Table
from sqlalchemy.exc import SQLAlchemyError

from lastgood.domain.snapshot import Column
from lastgood.errors import Code, LastgoodError
from lastgood.sources import iceberg_commit
from lastgood.sources.hidden_texts import HiddenTexts
from lastgood.sources.iceberg_commit import Place
from lastgood.sources.lake_state import State, Swap
from lastgood.sources.streams import stream_digest

_SHOWN_CHARACTERS: Final = 200
_TABLE: Final = "table"  # its own id, as others may come to have its name


class IcebergTable:
    """The :class:`~lastgood.sources.lake_state.LakeTable` of one Iceberg table."""

    provider = "iceberg"

    def __init__(
        self, source: str, table: str, catalog: HiddenTexts, swap_seconds: float, called: str | None
    ) -> None:
        self.table = table
        self._source = source
        self._catalog = catalog
        self._called = called
        self._swap_seconds = swap_seconds

    def live(self) -> State:
        """See the protocol."""
        with self._opened() as table:
            return self._state(table, iceberg_commit.live_place(table))

    def at(self, place: dict[str, Any]) -> State:
        """See the protocol. The snapshot may have expired, if its tag was removed."""
        with self._opened() as table:
            if place.get(_TABLE, str(table.metadata.table_uuid)) != str(table.metadata.table_uuid):
                raise LastgoodError(
                    Code.NOT_FOUND,
                    f"The table of data source {self._source!r} is another one than then: it was dropped and made anew.",
                    "Its snapshots went with it; capture again.",
                )
            return self._state(table, msgspec.convert(place, Place))

    def batches(self, state: State, only: frozenset[str] | None = None) -> Iterator[pa.RecordBatch]:
        """See the protocol."""
        place = msgspec.convert(state.place, Place)
        with self._opened() as table:
            tasks = [task for task in _tasks(table, place) if only is None or task.file.file_path in only]
            scan = ArrowScan(table.metadata, table.io, self._schema(table, place), AlwaysTrue())
            yield from scan.to_record_batches(tasks)

    def file_digests(self, state: State, besides: Collection[str] = ()) -> Iterator[tuple[str, str | None]]:
        """See the protocol."""
        with self._opened() as table:
            for path in sorted(state.files.keys() - set(besides)):
                try:
                    with table.io.new_input(path).open() as file:
                        yield path, stream_digest(file)
                except FileNotFoundError:
                    yield path, None

    def pin(self, token: str, state: State) -> None:
        """Tag the snapshot, so that expiring snapshots leaves it."""
        place = msgspec.convert(state.place, Place)
        self._again("pin", lambda table: iceberg_commit.tag(table, token, place))

    def unpin(self, token: str) -> None:
        """Remove the tag."""
        self._again("unpin", lambda table: iceberg_commit.untag(table, token))

    def put_back(self, state: State, token: str, reached: Callable[[str], None]) -> Swap:
        """See the protocol. Tried again when a writer was first, for ``swap_seconds``."""
        place = msgspec.convert(state.place, Place)

        def commit(table: Table) -> Swap:
            done = iceberg_commit.swap_of(table, token)  # a commit may have arrived though its answer did not
            if done is not None:
                return done
            reached("swap.commit")
            return iceberg_commit.put_back(table, token, place)

        swap: Swap = self._again("swap", commit)
        return swap

    def find_swap(self, token: str, target: State | None) -> Swap | None:
        """See the protocol."""
        with self._opened() as table:
            swap = iceberg_commit.swap_of(table, token)
        if swap is None or (target is not None and swap.after != _bare(target.place)):
            return None
        return swap

    def _again(self, what: str, commit: Callable[[Table], Any]) -> Any:
        """Commit on top of the newest state, again when somebody else was first."""
        deadline = time.monotonic() + self._swap_seconds
        while True:
            with self._opened() as table:
                try:
                    return commit(table)
                except CommitFailedException:
                    if time.monotonic() < deadline:
                        continue
            raise LastgoodError(
                Code.TIMEOUT,
                f"Writers of data source {self._source!r} were first for {self._swap_seconds:g} s; no {what}.",
                "Try again when fewer write, or raise 'swap_seconds'.",
            )

    def _state(self, table: Table, place: Place) -> State:
        schema = self._schema(table, place)
        files: dict[str, int] = {}
        deletes: dict[str, list[str]] = {}
        snapshot = None if place.snapshot is None else table.snapshot_by_id(place.snapshot)
        if snapshot is not None:
            files[snapshot.manifest_list] = len(table.io.new_input(snapshot.manifest_list))
            files |= {each.manifest_path: each.manifest_length for each in snapshot.manifests(table.io)}
        for task in _tasks(table, place):
            files[task.file.file_path] = task.file.file_size_in_bytes
            for each in task.delete_files:
                files[each.file_path] = each.file_size_in_bytes
                deletes.setdefault(task.file.file_path, []).append(each.file_path)
        return State(
            place={**msgspec.to_builtins(place), _TABLE: str(table.metadata.table_uuid)},
            columns=tuple(Column(field.name, str(field.field_type)) for field in schema.fields),
            files=files,
            also=msgspec.json.encode([place, deletes], order="sorted").decode() if deletes else "",
            divisible=not deletes,
        )

    def _schema(self, table: Table, place: Place) -> Schema:
        if place.snapshot is not None and table.snapshot_by_id(place.snapshot) is None:
            raise LastgoodError(
                Code.NOT_FOUND,
                f"Snapshot {place.snapshot} of data source {self._source!r} has expired.",
                "Its tag was removed; capture again.",
            )
        schema = table.schemas().get(place.schema)
        if schema is None:
            raise LastgoodError(
                Code.NOT_FOUND,
                f"Schema {place.schema} of data source {self._source!r} was removed from the table.",
                "Capture again.",
            )
        return schema

    @contextmanager
    def _opened(self) -> Iterator[Table]:
        """Load the table anew; the client's errors become ours, without secrets."""
        try:
            with closing(cast("Any", load_catalog(self._called, **self._catalog.read()))) as catalog:
                yield catalog.load_table(self.table)
        except NoSuchTableError:
            raise LastgoodError(
                Code.NOT_FOUND,
                f"There is no table {self.table!r} in the catalog of data source {self._source!r}.",
                "Check 'table', 'catalog', and 'catalog_name': a catalog in a database knows its tables under its name alone.",
            ) from None
        except FileNotFoundError as error:
            raise LastgoodError(
                Code.NOT_FOUND,
                f"A file of data source {self._source!r} is gone: {self._short(error)}",
                "Something outside removed it; capture again.",
            ) from None
        except (OSError, ValueError, RESTError, SQLAlchemyError, pa.ArrowException) as error:
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"The Iceberg table of data source {self._source!r} cannot be read: {self._short(error)}",
                "Check that catalog and store answer and the table is whole.",
            ) from None

    def _short(self, error: Exception) -> str:
        return self._catalog.masked(" ".join(str(error).split()))[:_SHOWN_CHARACTERS]


def _tasks(table: Table, place: Place) -> list[FileScanTask]:
    return [] if place.snapshot is None else list(table.scan(snapshot_id=place.snapshot).plan_files())


def _bare(place: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", msgspec.to_builtins(msgspec.convert(place, Place)))
