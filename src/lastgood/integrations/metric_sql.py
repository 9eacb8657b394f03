"""A custom metric from a database: one SELECT with bound parameters, in a session that may only read.

As a program (``python -m lastgood.integrations.metric_sql``) it is the child that asks, so that a driver that waits
for a dead network is ended in time.
"""

import resource
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from lastgood.domain.custom import CustomTerms, Reading, reading_of
from lastgood.domain.custom_names import parameters
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.metric_child import ChildAnswer, answer_with, hear, run_child
from lastgood.wire.asking import sqlite_path
from lastgood.wire.credentials import BLOT, without_credentials

MEMORY_MAX: Final = 1024**3
"""Bytes that the asking process may have, of which it needs some 300 MB itself."""

_MODULE: Final = "lastgood.integrations.metric_sql"
_ROWS_MAX: Final = 100
_SHOWN_CHARACTERS: Final = 300
_DENIED: Final = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA)


class _Asked(msgspec.Struct):
    url: str
    statement: str
    counts: bool
    seconds: float
    context: dict[str, Any]


class SqlMetric:
    """Asks databases from processes of their own. Safe from any thread."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ

    def ask(self, url: str, terms: CustomTerms, context: Mapping[str, Any]) -> Reading | None:
        """Return what the statement gives. Relative SQLite files are taken from the project's folder.

        :raises LastgoodError: as :class:`lastgood.quality_ports.Metrics` says.
        """
        asked = {
            "url": url,
            "statement": terms.ask,
            "counts": terms.counts,
            "seconds": terms.timeout,
            "context": context,
        }
        return run_child(
            _MODULE,
            asked,
            what="The database",
            folder=self._folder,
            environ=self._environ,
            seconds=terms.timeout,
        )


def answer_of(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], context: Mapping[str, Any], *, counts: bool
) -> Any:
    """Return rows as an answer: one value, ``candidate`` and ``stable`` beside each other, or counts by arm or version.

    No rows are no data.

    :raises LastgoodError: ``invalid`` for rows of another shape.
    """
    if not rows:
        return None
    if counts:
        return _arms(columns, rows, context)
    if len(rows) > 1:
        raise _misshapen(f"{len(rows)} rows", "one row")
    named = dict(zip(columns, rows[0], strict=True))
    if "candidate" in named:
        return named
    if len(named) != 1:
        raise _misshapen(f"the columns {', '.join(columns)}", "one value, or columns candidate and stable")
    return rows[0][0]


def _arms(columns: Sequence[str], rows: Sequence[Sequence[Any]], context: Mapping[str, Any]) -> Any:
    which = next((name for name in ("arm", "version") if name in columns), None)
    if which is None or not {"bad", "total"} <= set(columns):
        raise _misshapen(f"the columns {', '.join(columns)}", "columns bad, total, and arm or version")
    found: dict[str, Any] = {"candidate": {"bad": 0, "total": 0}, "stable": {"bad": 0, "total": 0}}
    seen = set()
    for row in rows:
        named = dict(zip(columns, row, strict=True))
        arm = _arm_of(named[which], which, context)
        if arm is None:
            continue
        if arm in seen:
            raise _misshapen(f"two rows of {arm}", "one row for each")
        seen.add(arm)
        found[arm] = {"bad": named["bad"], "total": named["total"]}
    return found if seen else None


def _arm_of(value: Any, which: str, context: Mapping[str, Any]) -> str | None:
    """Return the arm that a row is about, None for a version that is neither."""
    for arm in ("candidate", "stable"):
        names = (arm,) if which == "arm" else (context[arm]["version"], context[arm]["label"] or None)
        if value is not None and str(value) in {str(name) for name in names if name is not None}:
            return arm
    return None


def _misshapen(found: str, wanted: str) -> LastgoodError:
    return LastgoodError(
        Code.INVALID, f"The statement gives {found}, and {wanted} is needed.", "Correct the statement."
    )


def _engine(given: str, seconds: float) -> tuple[URL, Engine]:
    """Return the parsed URL and an engine whose sessions may only read."""
    try:
        url = make_url(given)
        if url.drivername.startswith("sqlite"):
            place = quote(str(Path(sqlite_path(given)).absolute()))
            engine = create_engine(f"sqlite:///file:{place}?mode=ro&uri=true")
            event.listen(engine, "connect", _only_read)
        elif url.drivername.startswith("postgresql"):
            url = url.set(drivername="postgresql+psycopg")
            limit = f"-c default_transaction_read_only=on -c statement_timeout={max(1, int(1000 * seconds))}"
            engine = create_engine(url, connect_args={"options": limit})
        else:
            raise LastgoodError(
                Code.INVALID, f"{url.drivername} is not read here.", "Write a sqlite or postgresql URL."
            )
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):  # not shown: they quote the URL
        raise LastgoodError(
            Code.INVALID,
            "The database's URL cannot be used: it is no URL, or its driver is not installed.",
            "Write sqlite:///orders.db or postgresql://user@host/database.",
        ) from None
    return url, engine


def _only_read(connection: Any, _: Any) -> None:
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_DENY if action in _DENIED else sqlite3.SQLITE_OK
    )


def _read(asked: _Asked) -> ChildAnswer:
    url, engine = _engine(asked.url, asked.seconds)
    statement, known = text(asked.statement), parameters(asked.context)
    wanted = list(statement.compile().params)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        message = (
            f"The statement asks for :{unknown[0]}, and there are {', '.join(f':{name}' for name in known)}."
        )
        raise LastgoodError(Code.INVALID, message, "Correct the statement.")
    try:
        with engine.connect() as connection:
            found = connection.execute(statement, {name: known[name] for name in wanted})
            columns, rows = list(found.keys()), found.fetchmany(_ROWS_MAX + 1)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        if url.password:
            said = said.replace(str(url.password), BLOT)
        message = f"The database refused: {without_credentials(said)[:_SHOWN_CHARACTERS]}."
        raise LastgoodError(Code.UNAVAILABLE, message, "Correct the statement, or look there.") from None
    finally:
        engine.dispose()
    if len(rows) > _ROWS_MAX:
        message = f"The statement gives more than {_ROWS_MAX} rows."
        raise LastgoodError(Code.TOO_LARGE, message, "Count in the database.")
    answer = answer_of(columns, rows, asked.context, counts=asked.counts)
    return ChildAnswer(reading=reading_of(answer, counts=asked.counts))


def main() -> None:
    """Ask what standard input says, and answer."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))  # drivers hold all rows at once
    try:
        answer = _read(hear(_Asked))
    except LastgoodError as error:
        answer = ChildAnswer(code=error.code.value, error=error.message)
    except MemoryError:
        why = f"The answer takes more than {MEMORY_MAX // 1024**2} MiB of memory."
        answer = ChildAnswer(code=Code.TOO_LARGE.value, error=why)
    except Exception as error:  # noqa: BLE001 - a driver's own; its words may hold the URL
        why = f"The database could not be asked: {type(error).__name__}."
        answer = ChildAnswer(code=Code.UNAVAILABLE.value, error=why)
    answer_with(answer)


if __name__ == "__main__":
    main()
