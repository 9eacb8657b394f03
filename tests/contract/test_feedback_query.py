"""Labels out of a real PostgreSQL: types as the database has them, what it refuses, and no password in any word."""

from pathlib import Path

import psycopg
import pytest

from lastgood.cli.feedback_query import query_rows
from lastgood.errors import Code, LastgoodError
from lastgood.settings import FeedbackSource, Settings
from postgres_server import database

pytestmark = pytest.mark.slow
QUERY = "SELECT order_id AS id, lost AS value, seen AS at FROM chargebacks ORDER BY order_id"


def settings(url: str, query: str = QUERY) -> Settings:
    return Settings(home="home", feedback={"orders": FeedbackSource(url=url, query=query)})


def test_rows_come_as_the_database_has_them(tmp_path: Path) -> None:
    """More than a page of them, by a URL that lies in a file."""
    with database() as url:
        with psycopg.connect(url, autocommit=True) as orders:
            orders.execute("CREATE TABLE chargebacks (order_id text, lost numeric, seen timestamptz)")
            orders.execute(
                "INSERT INTO chargebacks SELECT to_char(n, 'FM00000'), n / 2.0, now() FROM generate_series(1, 2500) n"
            )
        (tmp_path / "url").write_text(f"{url}\n")
        rows = list(query_rows(settings(f"file:{tmp_path / 'url'}"), "orders"))
    assert len(rows) == 2500
    assert [(row["id"], float(row["value"])) for row in rows[:2]] == [("00001", 0.5), ("00002", 1.0)]


def test_what_the_database_says_is_passed_on(tmp_path: Path) -> None:
    """A query that it refuses is an error of the settings, with the database's own sentence."""
    with database() as url, pytest.raises(LastgoodError, match="chargebacks") as caught:
        list(query_rows(settings(url), "orders"))
    assert caught.value.code is Code.INVALID


@pytest.mark.parametrize(
    "url", ["postgresql://ada:s3cret@127.0.0.1:1/orders", "no url at all s3cret", "mysqlx://ada:s3cret@h/d"]
)
def test_no_password_is_in_any_word(url: str) -> None:
    """Neither where nobody listens nor where the URL cannot be used."""
    with pytest.raises(LastgoodError) as caught:
        list(query_rows(settings(url), "orders"))
    assert "s3cret" not in f"{caught.value.message} {caught.value.next_step} {caught.value.details}"
