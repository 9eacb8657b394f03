"""How replaced data differs from the snapshot that took its place: counted by table, and added rows written to files.

Rows are compared as their text, so no key is needed and no type is without equality. Equal rows are as many as they are:
two of a row against one is one row added. Where a table's columns differ, every row of it does.
"""

import os
from pathlib import Path
from typing import Final, LiteralString

from psycopg import sql

from lastgood.domain.snapshot import Gained
from lastgood.errors import Code, LastgoodError
from lastgood.sources.export import export_name
from lastgood.sources.postgres_content import read_shape, row_text
from lastgood.sources.postgres_session import Session

_CHUNK_ROWS: Final = 1000
_COUNTED: Final = sql.SQL(
    "CREATE TEMPORARY TABLE differing ON COMMIT DROP AS SELECT a, b, sum(n)::bigint AS n FROM ("
    "SELECT pg_catalog.hashtextextended(r, 0) AS a, pg_catalog.hashtextextended(r, 1) AS b, n FROM ("
    "SELECT {} AS r, 1 AS n FROM {} UNION ALL SELECT {} AS r, -1 AS n FROM {} OFFSET 0) q) h"
    " GROUP BY a, b HAVING sum(n) <> 0"
)
_SUMS: Final[LiteralString] = (
    "SELECT coalesce(sum(n) FILTER (WHERE n > 0), 0)::bigint, coalesce(-sum(n) FILTER (WHERE n < 0), 0)::bigint"
    " FROM pg_temp.differing"
)
_ADDED: Final = sql.SQL(
    "SELECT line FROM (SELECT pg_catalog.row_to_json(added_row.*)::text AS line, d.n,"
    " row_number() OVER (PARTITION BY d.a, d.b) AS k FROM {} added_row JOIN pg_temp.differing d"
    " ON d.n > 0 AND d.a = pg_catalog.hashtextextended({}, 0) AND d.b = pg_catalog.hashtextextended({}, 1)) q"
    ' WHERE k <= n ORDER BY line COLLATE "C"'
)
_WHOLE: Final = sql.SQL(
    "SELECT line FROM (SELECT pg_catalog.row_to_json(added_row.*)::text AS line FROM {} added_row) q"
    ' ORDER BY line COLLATE "C"'
)


def differences(connection: Session, kept: str, snapshot: str, exports: Path) -> dict[str, Gained]:
    """Compare two schemas in the transaction that is open; both must hold still.

    :raises LastgoodError: ``storage`` when an export cannot be written.
    """
    new = read_shape(connection, kept)
    old = read_shape(connection, snapshot)
    found: dict[str, Gained] = {}
    files: list[str] = []
    for table in sorted({*new.tables, *old.tables}):
        columns = [column.name for column in new.tables.get(table, ())]
        is_alike = new.tables.get(table) == old.tables.get(table)
        if is_alike:
            added, removed = _compare(connection, table, kept, snapshot, columns)
        else:
            added = _count(connection, kept, table) if table in new.tables else 0
            removed = _count(connection, snapshot, table) if table in old.tables else 0
        export = None
        if added:
            export = export_name(table, files)
            files.append(export)
            place = sql.Identifier(kept, table)
            query = (
                _ADDED.format(place, *[row_text(columns, of="added_row")] * 2)
                if is_alike
                else _WHOLE.format(place)
            )
            _export(connection, table, query, exports / export)
        if is_alike:
            connection.execute("DROP TABLE pg_temp.differing")
        found[table] = Gained(added=added, removed=removed, export=export)
    return found


def _compare(
    connection: Session, table: str, kept: str, snapshot: str, columns: list[str]
) -> tuple[int, int]:
    row = row_text(columns)
    connection.execute(
        _COUNTED.format(row, sql.Identifier(kept, table), row, sql.Identifier(snapshot, table))
    )
    sums = connection.execute(_SUMS).fetchone()
    assert sums is not None
    return int(sums[0]), int(sums[1])


def _count(connection: Session, schema: str, table: str) -> int:
    row = connection.execute(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
    ).fetchone()
    assert row is not None
    return int(row[0])


def _export(connection: Session, table: str, query: sql.Composed, path: Path) -> None:
    beside = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file, connection.cursor(name="added") as rows:
            rows.itersize = _CHUNK_ROWS
            for (line,) in rows.execute(query):
                # Values of the type json keep their line breaks; outside of texts these are blanks like any other.
                file.write(line.replace("\n", " ").replace("\r", " ").encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise LastgoodError(
            Code.STORAGE,
            f"The rows that were added to {table!r} could not be written: {error.strerror}.",
            "Make room, or give the server access to its folder.",
        ) from None
