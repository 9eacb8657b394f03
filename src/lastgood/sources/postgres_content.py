"""What is in the tables of a schema: columns, counts, and a digest that does not depend on where rows lie.

A row counts as the text of its values in the order of the columns. The server hashes each row twice, with two seeds, to
64 bits each and adds the hashes up: equal rows in any order give equal sums, and a table is read once, as a stream.
"""

import hashlib
from typing import Final, LiteralString

import msgspec
from psycopg import sql

from lastgood.domain.snapshot import Column, Schema, schema_of
from lastgood.sources.postgres_session import Session, search_in

_COLUMNS: Final[LiteralString] = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND c.relkind = 'r'
ORDER BY c.relname COLLATE "C", a.attnum
"""
_HASHES: Final = sql.SQL(
    "SELECT count(*), coalesce(sum(pg_catalog.hashtextextended(r, 0)), 0)::text,"
    " coalesce(sum(pg_catalog.hashtextextended(r, 1)), 0)::text FROM (SELECT {} AS r FROM {} OFFSET 0) q"
)


class Content(msgspec.Struct, frozen=True):
    """What the tables of a schema hold: rows by table, and the digest over names, columns and rows."""

    schema: Schema
    rows: dict[str, int]
    digest: str


def read_shape(connection: Session, schema: str) -> Schema:
    """Return the tables of a schema with their columns."""
    search_in(connection, schema)
    tables: dict[str, list[Column]] = {}
    for table, column, kind in connection.execute(_COLUMNS).fetchall():
        columns = tables.setdefault(table, [])
        if column is not None:
            columns.append(Column(column, kind))
    return schema_of(tables)


def read_content(connection: Session, schema: str) -> Content:
    """Read every table of a schema once."""
    shape = read_shape(connection, schema)
    rows: dict[str, int] = {}
    hashes: dict[str, tuple[str, str]] = {}
    for table, columns in shape.tables.items():
        query = _HASHES.format(row_text([column.name for column in columns]), sql.Identifier(schema, table))
        row = connection.execute(query).fetchone()
        assert row is not None
        rows[table] = int(row[0])
        hashes[table] = (str(row[1]), str(row[2]))
    said = [shape.id, [[table, rows[table], *hashes[table]] for table in sorted(rows)]]
    return Content(shape, rows, f"sha256:{hashlib.sha256(msgspec.json.encode(said)).hexdigest()}")


def row_text(columns: list[str], of: str | None = None) -> sql.Composed:
    """Return the expression that stands for a row, of a table called ``of``, when rows are hashed or compared."""
    values = (sql.Identifier(name) if of is None else sql.Identifier(of, name) for name in columns)
    return sql.SQL('ROW({})::pg_catalog.text COLLATE "C"').format(sql.SQL(", ").join(values))
