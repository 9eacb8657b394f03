"""One migration by Alembic, without an ini file. Imported only where there is one to apply: Alembic is slow to import."""

from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from lastgood.store.schema import metadata


def apply(connection: Connection, migrations: Path, revision: str) -> None:
    """Apply the migration to ``revision``, the next one, within the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    script = ScriptDirectory.from_config(config)

    def upgrade(current: Any, _context: MigrationContext) -> Any:
        return script._upgrade_revs(revision, current)  # noqa: SLF001 - what Alembic's own command calls

    with EnvironmentContext(config, script, fn=upgrade, destination_rev=revision) as environment:
        environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
        environment.run_migrations()
