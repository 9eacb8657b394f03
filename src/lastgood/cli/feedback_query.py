"""Labels out of a database, by a query of the operator's own."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from lastgood.errors import Code, LastgoodError
from lastgood.settings import Settings
from lastgood.sources.secrets import is_reference, secret

_PAGE = 1_000


def query_rows(settings: Settings, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a source of labels by column, as the database sends them.

    :raises LastgoodError: ``not_found`` for an unknown name, ``invalid`` for a URL or a query that cannot be used. What the
        database says is passed on, the URL never.
    """
    source = settings.feedback.get(name)
    if source is None:
        known = ", ".join(sorted(settings.feedback)) or "none"
        raise LastgoodError(
            Code.NOT_FOUND,
            f"lastgood.toml has no [feedback.{name}] (known: {known}).",
            "Add it, with a url and a query.",
        )
    given = secret(source.url) if is_reference(source.url) else source.url
    try:
        url = make_url(given)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        engine = create_engine(url)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):  # not shown: they quote the URL
        raise LastgoodError(
            Code.INVALID,
            f"The url of [feedback.{name}] cannot be used: it is no URL, or its driver is not installed.",
            "Write sqlite:///labels.db or postgresql://user@host/database.",
        ) from None
    try:
        with engine.connect() as connection:
            found = connection.execution_options(stream_results=True, yield_per=_PAGE).execute(
                text(source.query)
            )
            for row in found.mappings():
                yield dict(row)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).partition("\n")[0]
        if url.password:
            said = said.replace(str(url.password), "***")
        raise LastgoodError(
            Code.INVALID,
            f"The query of [feedback.{name}] failed: {said[:300]}.",
            "Correct it, or look at the database.",
        ) from None
    finally:
        engine.dispose()
