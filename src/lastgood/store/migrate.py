"""Bringing a database up to this code: Alembic without an ini file, one transaction for each migration."""

from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from lastgood.errors import Code, LastgoodError
from lastgood.store.database import Database, open_database
from lastgood.store.schema import metadata


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


def migrate(database: Database) -> str:
    """Apply the migrations that are missing and return the revision reached. Done already: changes nothing.

    Processes that start together take turns: each step is chosen under the write lock.

    :raises LastgoodError: ``refused`` when a newer Lastgood wrote the database; it is left as it is.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    script = ScriptDirectory.from_config(config)
    order = [step.revision for step in reversed(list(script.walk_revisions()))]
    while True:
        with database.reading() as connection:  # most starts find nothing to do and need no lock
            if _revision(connection, order, database.where) == order[-1]:
                return order[-1]
        with database.transaction() as connection:
            current = _revision(connection, order, database.where)
            if current != order[-1]:
                following = order[0 if current is None else order.index(current) + 1]
                _step(connection, config, script, following)


def _revision(connection: Connection, known: list[str], where: str) -> str | None:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise LastgoodError(
            Code.REFUSED,
            f"{where} was written by a newer Lastgood (its layout is {current}, this one knows {known[-1]}).",
            "Use the newer Lastgood, or restore the database from before it was upgraded.",
        )
    return current


def _step(connection: Connection, config: Config, script: ScriptDirectory, revision: str) -> None:
    def upgrade(current: Any, _context: MigrationContext) -> Any:
        return script._upgrade_revs(revision, current)  # noqa: SLF001 - what Alembic's own command calls

    with EnvironmentContext(config, script, fn=upgrade, destination_rev=revision) as environment:
        environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
        environment.run_migrations()
