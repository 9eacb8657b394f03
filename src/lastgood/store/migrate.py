"""Bringing a database up to this code, one transaction for each migration."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect

from lastgood.errors import Code, LastgoodError
from lastgood.store.database import Database, open_database

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def open_store(path: Path | None) -> Database:
    """Open the database at ``path`` (None: in memory), making it when it is not there, and migrate it.

    :raises LastgoodError: ``storage`` or ``corrupt`` when it cannot be used, ``refused`` when it is newer.
    """
    database = open_database(path)
    try:
        migrate(database)
    except LastgoodError:
        database.close()
        raise
    return database


def revisions() -> list[str]:
    """Return the layouts that this code knows, oldest first: each migration's file begins with its own."""
    return sorted(path.name.split("_")[0] for path in (_MIGRATIONS / "versions").glob("m*.py"))


def migrate(database: Database) -> str:
    """Apply the migrations that are missing and return the revision reached. Done already: changes nothing.

    Processes that start together take turns: each step is chosen under the write lock.

    :raises LastgoodError: ``refused`` when a newer Lastgood wrote the database; it is left as it is.
    """
    order = revisions()
    while True:
        with database.reading() as connection:  # most starts find nothing to do and need no lock
            if _revision(connection, order, database.where) == order[-1]:
                return order[-1]
        from lastgood.store.migration_step import apply  # noqa: PLC0415 - most starts need no Alembic

        with database.transaction() as connection:
            current = _revision(connection, order, database.where)
            if current != order[-1]:
                apply(connection, _MIGRATIONS, order[0 if current is None else order.index(current) + 1])


def _revision(connection: Connection, known: list[str], where: str) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    current = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    if current is not None and current not in known:
        raise LastgoodError(
            Code.REFUSED,
            f"{where} was written by a newer Lastgood (its layout is {current}, this one knows {known[-1]}).",
            "Use the newer Lastgood, or restore the database from before it was upgraded.",
        )
    return None if current is None else str(current)
