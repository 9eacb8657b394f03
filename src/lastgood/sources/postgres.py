"""Data sources in PostgreSQL: one schema of a database, captured and restored inside the database itself.

Options: ``url`` (a URL without a password, or ``env:NAME`` or ``file:PATH`` where a whole URL is), ``schema``,
``lock_timeout`` (seconds that a swap tries to get its locks, and others wait for theirs; 2) and ``statement_timeout``
(seconds that one statement may take, as copying one table; 3600).
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lastgood.data_ports import DataSource
from lastgood.errors import Code, LastgoodError
from lastgood.sources.options import Options

_LOCK_SECONDS: Final = 2.0
_STATEMENT_SECONDS: Final = 3600.0
_NAME_BYTES_MAX: Final = 63


def create(name: str, options: Mapping[str, Any], kept: Path) -> DataSource:  # noqa: ARG001 - see below
    """Return the source; everything it keeps is in the database, so the folder ``kept`` is not used.

    :raises LastgoodError: ``invalid`` naming the option, ``unavailable`` when the extra is not installed.
    """
    try:
        session = importlib.import_module("lastgood.sources.postgres_session")
        made = importlib.import_module("lastgood.sources.postgres_source")
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"The data source {name!r} needs an extra that is not installed.",
            "Install it: pip install 'lastgood[postgres]'.",
        ) from None
    given = Options(name, options)
    url, schema = given.text("url"), given.text("schema")
    lock_seconds = given.seconds("lock_timeout", _LOCK_SECONDS)
    statement_seconds = given.seconds("statement_timeout", _STATEMENT_SECONDS)
    given.end()
    if schema.startswith(("pg_", "lastgood", "information_schema")) or len(schema.encode()) > _NAME_BYTES_MAX:
        raise given.wrong("schema", "is not a schema of an application")
    why = session.unusable(url)
    if why:
        raise given.wrong("url", why)
    source: DataSource = made.PostgresSource(
        name,
        session.Address(name, url),
        schema,
        lock_seconds=lock_seconds,
        statement_seconds=statement_seconds,
    )
    return source
