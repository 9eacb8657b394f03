"""What a schema is besides its rows: the statements that make it again, under whatever name, in two parts.

``early`` makes types, functions, sequences and bare tables; rows go in; ``late`` makes constraints, indexes, views,
foreign keys, triggers, policies, owners, grants and comments. No statement names the schema: names are looked up in the
one schema of the search path, so the same statements make a copy beside the live schema.
"""

import hashlib
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

import msgspec
from psycopg import sql

from lastgood.errors import Code, LastgoodError
from lastgood.sources import postgres_catalogue as catalogue
from lastgood.sources import postgres_rights as rights
from lastgood.sources.postgres_session import Session, search_in


class Table(msgspec.Struct, frozen=True):
    """One table: the columns that rows are copied by, and all columns in their order.

    A column of a type that is in the schema itself has that type's name: every copy has its own, so rows go through text.
    """

    name: str
    copied: tuple[tuple[str, str | None], ...]
    columns: tuple[str, ...]


class Counter(msgspec.Struct, frozen=True):
    """Where a sequence stands."""

    name: str
    value: int
    is_called: bool


class Definitions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that makes a schema but its rows.

    ``itself`` are the owner, rights and comment of the live schema, by its name: needed where somebody drops it.
    """

    early: tuple[str, ...]
    late: tuple[str, ...]
    tables: tuple[Table, ...]
    counters: tuple[Counter, ...]
    owners: tuple[str, ...]
    itself: tuple[str, ...] = ()


def fingerprint(definitions: Definitions) -> str:
    """Return the digest that shows a damaged note."""
    return f"sha256:{hashlib.sha256(msgspec.json.encode(definitions)).hexdigest()}"


def read_definitions(connection: Session, schema: str, *, itself: bool = False) -> Definitions:
    """Read them out of the catalogue, with ``itself`` those of the schema, too.

    The tables must be locked against changes; leaves the search path at the schema.

    :raises LastgoodError: ``refused`` when objects depend on each other in a circle.
    """
    search_in(connection, schema)
    statements: dict[str, str] = {}
    for query in catalogue.UNITS:
        statements.update(_rows(connection, query))
    tables, made = _tables(connection)
    statements.update(made)
    views = dict(_rows(connection, catalogue.VIEWS))
    needed: dict[str, set[str]] = {unit: set() for unit in sorted({*statements, *views})}
    for unit, needs in sorted(_rows(connection, catalogue.NEEDS)):
        if unit in needed and needs in needed:
            needed[unit].add(needs)
    order = _order(needed)
    after_views = _reaching(order, needed, set(views))
    for unit in made:
        if unit in after_views:
            raise LastgoodError(
                Code.REFUSED,
                "A table's default or generated column needs a view of the same schema.",
                "Lastgood cannot carry that: compute it in a function that names no view.",
            )
    both = {**statements, **views}
    late = [
        *_statements(connection, catalogue.BEFORE_VIEWS),
        *(both[unit] for unit in order if unit in after_views),
        *_statements(connection, (*catalogue.AFTER_VIEWS, *rights.RIGHTS)),
    ]
    return Definitions(
        early=(
            *(both[unit] for unit in order if unit not in after_views),
            *_statements(connection, catalogue.COLUMN_STORAGE),
        ),
        late=tuple(late),
        tables=tables,
        counters=read_counters(connection, schema),
        owners=tuple(sorted({str(row[0]) for row in connection.execute(rights.OWNERS_OF)})),
        itself=read_itself(connection, schema) if itself else (),
    )


def read_itself(connection: Session, schema: str) -> tuple[str, ...]:
    """Read the statements that give a schema its own owner, rights, comment and defaults again."""
    return tuple(str(row[0]) for row in connection.execute(rights.SCHEMA_RIGHTS, {"schema": schema}))


def read_counters(connection: Session, schema: str) -> tuple[Counter, ...]:
    """Read where each sequence of the schema stands, identity columns' included; sorted by name."""
    names = [row[0] for row in connection.execute(catalogue.SEQUENCE_NAMES, {"schema": schema}).fetchall()]
    if not names:
        return ()
    each = sql.SQL(
        "SELECT {}, last_value, is_called FROM {}"
    )  # one question for all: a swap asks it with locks held
    asked = sql.SQL(" UNION ALL ").join(each.format(name, sql.Identifier(schema, name)) for name in names)
    found = {
        row[0]: Counter(row[0], int(row[1]), bool(row[2])) for row in connection.execute(asked).fetchall()
    }
    return tuple(found[name] for name in names)


def _tables(connection: Session) -> tuple[tuple[Table, ...], dict[str, str]]:
    columns: dict[str, list[tuple[str, str, str | None, bool]]] = {}
    for unit, name, clause, cast, is_copied in connection.execute(catalogue.COLUMNS):
        columns.setdefault(unit, []).append((name, clause, cast, is_copied))
    tables, statements = [], {}
    for unit, name, head, tail in connection.execute(catalogue.TABLES):
        own = columns.get(unit, [])
        statements[unit] = f"{head} ({', '.join(clause for _, clause, _, _ in own)}){tail}"
        copied = tuple((column, cast) for column, _, cast, is_copied in own if is_copied)
        tables.append(Table(name, copied, tuple(column for column, _, _, _ in own)))
    return tuple(tables), statements


def _order(needed: dict[str, set[str]]) -> list[str]:
    try:
        return list(TopologicalSorter(needed).static_order())
    except CycleError:
        raise LastgoodError(
            Code.REFUSED,
            "Objects of the schema need each other in a circle (a default, a function, a row type).",
            "Lastgood cannot carry that: break the circle.",
        ) from None


def _reaching(order: list[str], needed: dict[str, set[str]], goals: set[str]) -> set[str]:
    reaching = set(goals)
    for unit in order:  # what a unit needs comes before it
        if needed[unit] & reaching:
            reaching.add(unit)
    return reaching


def _rows(connection: Session, query: catalogue.Query) -> list[tuple[str, str]]:
    return [(str(row[0]), str(row[1])) for row in connection.execute(query).fetchall()]


def _statements(connection: Session, queries: Iterable[catalogue.Query]) -> list[str]:
    return [str(row[0]) for query in queries for row in connection.execute(query).fetchall()]
