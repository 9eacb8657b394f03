"""Custom metrics of all four kinds, each asked for real: values, silence, wrong shapes, time-outs, sizes and secrets."""

import gzip
import json
import logging
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from metric_rigs import (
    HUGE,
    SECRET,
    SLOW,
    SUBJECT,
    Asked,
    HttpRig,
    PrometheusRig,
    PythonRig,
    Rig,
    SqliteRig,
    rig,
)

from lastgood.domain.custom import Counts, CustomTerms, Numbers, SourceKind, Tally
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.metrics import OutsideMetrics
from lastgood.settings import Settings
from postgres_server import database

pytestmark = pytest.mark.slow
KINDS = ("http", "prometheus", "python", "sqlite", "postgres")


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with rig(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def asked() -> Iterator[Asked]:
    server = Asked()
    yield server
    server.close()


def refused(source: Rig, **changes: object) -> LastgoodError:
    with pytest.raises(LastgoodError) as caught:
        source.measure(**changes)
    assert SECRET not in f"{caught.value.message} {caught.value.next_step} {caught.value.details}"
    return caught.value


def test_a_value_is_heard(source: Rig) -> None:
    """Each kind gives the number that is there."""
    source.say(0.25)
    assert source.measure() == Numbers(0.25)


def test_no_data_is_said(source: Rig) -> None:
    """Null, no row and an empty vector are no data, and no error."""
    source.say(None)
    assert source.measure() is None


def test_another_shape_is_an_error(source: Rig) -> None:
    """Text, and a number where counts are meant, are refused in words."""
    source.say("many") if not source.__class__.__name__.startswith("Postgres") else source.say(1)
    changes = {"ask": "SELECT 'many'"} if source.kind is SourceKind.SQL else {}
    assert refused(source, **changes).code is Code.INVALID
    source.say(1)
    if source.kind is not SourceKind.PROMETHEUS:
        assert refused(source, counts=True).code is Code.INVALID


@pytest.mark.parametrize("kind", ["http", "prometheus", "python"])
def test_an_answer_that_takes_too_long_ends(kind: str, tmp_path: Path) -> None:
    """Within the time-out, whatever is asked."""
    with rig(kind, tmp_path) as source:
        source.say(SLOW)
        began = time.monotonic()
        assert refused(source, timeout=1.0).code is Code.TIMEOUT
        assert time.monotonic() - began < 3.0


def test_a_database_that_takes_too_long_is_left(tmp_path: Path) -> None:
    """A statement without end is ended with the process that waits for it."""
    source = SqliteRig(tmp_path)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    assert refused(source, ask=endless, timeout=1.5).code is Code.TIMEOUT
    with database() as url:
        source.environ["METRIC_URL"] = url
        assert refused(source, ask="SELECT 1 FROM pg_sleep(60)", timeout=2.0).code in (
            Code.TIMEOUT,
            Code.UNAVAILABLE,
        )


@pytest.mark.parametrize("kind", ["http", "prometheus", "python"])
def test_an_answer_that_is_too_large_is_refused(kind: str, tmp_path: Path) -> None:
    """Two megabytes are no metric."""
    with rig(kind, tmp_path) as source:
        source.say(HUGE)
        assert refused(source).code is Code.TOO_LARGE


def test_too_many_rows_are_refused(tmp_path: Path) -> None:
    """A statement that gives a table is no metric."""
    source = SqliteRig(tmp_path)
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT i FROM n"
    assert refused(source, ask=rows).code is Code.TOO_LARGE


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        (
            "sqlite",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 90) SELECT zeroblob(900000000) FROM n",
        ),
        ("postgres", "SELECT repeat('x', 1000000) FROM generate_series(1, 3000)"),
    ],
)
def test_an_answer_that_would_fill_the_memory_is_refused(kind: str, statement: str, tmp_path: Path) -> None:
    """A statement may ask for more than the machine has."""
    with rig(kind, tmp_path) as source:
        assert "memory" in refused(source, ask=statement, timeout=60.0).message
        assert source.measure(ask="SELECT 1") == Numbers(1.0)


@pytest.mark.parametrize("kind", ["http", "prometheus", "sqlite"])
def test_nobody_there_leaks_no_secret(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody listens, the error and the log name at most scheme, host and port."""
    caplog.set_level(logging.DEBUG)
    with rig(kind, tmp_path) as source:
        scheme = "http" if kind != "sqlite" else "postgresql"
        source.environ["METRIC_URL"] = f"{scheme}://ada:{SECRET}@127.0.0.1:1/shop"
        assert refused(source).code is Code.UNAVAILABLE
        assert SECRET not in caplog.text
        source.environ["METRIC_URL"] = f"mysqlx no url at all {SECRET}"
        refused(source)
        del source.environ["METRIC_URL"]
        assert refused(source).message == "The metric's URL is not at env:METRIC_URL."


def test_a_url_in_the_environment_may_not_lead_anywhere(source: Rig) -> None:
    """What a reference holds is checked as what a plan says: other hosts only if the settings name them."""
    if source.kind is SourceKind.PYTHON:
        assert refused(source, ask="shop_metrics:complaints").code is Code.UNTRUSTED
        return
    scheme = "postgresql" if source.kind is SourceKind.SQL else "http"
    source.environ["METRIC_URL"] = f"{scheme}://ada:{SECRET}@shop.invalid/x"
    assert refused(source).code is Code.UNTRUSTED
    source.changes["metric_hosts"] = ("shop.invalid",)
    assert refused(source, timeout=5.0).code is not Code.UNTRUSTED


def test_names_in_a_url_are_encoded(asked: Asked, tmp_path: Path) -> None:
    """A label with '&' in it stays one value."""
    source = HttpRig(tmp_path, asked)
    source.say(1)
    source.measure()
    assert asked.paths == [f"/churn.json?key={SECRET}&label=v1.1%20%26%20more"]


def test_a_name_that_means_nothing_is_named(asked: Asked, tmp_path: Path) -> None:
    """A URL out of the environment may hold what a plan would have been refused for."""
    source = HttpRig(tmp_path, asked)
    source.environ["METRIC_URL"] += "&more={candidate}"
    assert "{candidate}" in refused(source).message
    assert not asked.paths


def test_redirects_are_not_followed(asked: Asked, tmp_path: Path) -> None:
    """What is asked is what the plan named."""
    source = HttpRig(tmp_path, asked)
    asked.answer = (302, {"location": f"{asked.origin}/other"}, b"")
    assert "redirect" in refused(source).message
    assert len(asked.paths) == 1


@pytest.mark.parametrize(("status", "body"), [(500, b"0.1"), (404, b"0.1"), (200, b"<html>"), (200, b"NaN")])
def test_what_is_no_document_is_an_error(asked: Asked, tmp_path: Path, status: int, body: bytes) -> None:
    """A page that says that something is wrong is never a value."""
    source = HttpRig(tmp_path, asked)
    asked.answer = (status, {}, body)
    refused(source, value="")
    asked.answer = (204, {}, b"")
    assert source.measure(value="") is None


def test_what_unpacks_to_a_flood_is_not_unpacked(asked: Asked, tmp_path: Path) -> None:
    """A small answer that was compressed twice is refused before any of it is read."""
    source = HttpRig(tmp_path, asked)
    body = gzip.compress(gzip.compress(b" " * 100_000_000 + b"0.1"))
    asked.answer = (200, {"content-encoding": "gzip, gzip"}, body)
    tracemalloc.start()
    try:
        assert "compressed" in refused(source, value="").message
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_this_machine_is_not_asked_through_a_proxy(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the server's environment would look for the metric on its own machine, and read its key."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    source = HttpRig(tmp_path, asked)
    source.say(1)
    assert source.measure() == Numbers(1.0)


def test_counts_by_http(asked: Asked, tmp_path: Path) -> None:
    """Both arms' counts in one document."""
    source = HttpRig(tmp_path, asked)
    source.say({"candidate": {"bad": 3, "total": 400}, "stable": {"bad": 1, "total": 3600}})
    assert source.measure(counts=True) == Counts(Tally(3, 400), Tally(1, 3600))


def test_prometheus_is_asked_with_the_versions_in_the_query(asked: Asked, tmp_path: Path) -> None:
    """Braces of the query's own stay."""
    source = PrometheusRig(tmp_path, asked)
    source.say(0.5)
    source.measure()
    assert asked.paths == ["/api/v1/query"]
    assert asked.forms[0]["query"] == ['sum(rate(complaints_total{version="2"}[5m]))']


@pytest.mark.parametrize("more", ["#", "?x=", "/shutdown#", "/shutdown?x#"])
def test_prometheus_is_asked_at_its_path_alone(asked: Asked, tmp_path: Path, more: str) -> None:
    """An address cannot be written so that something else of that host is posted to."""
    source = PrometheusRig(tmp_path, asked)
    source.environ["METRIC_URL"] = f"{asked.origin}{more}"
    source.say(0.5)
    assert source.measure() == Numbers(0.5)
    assert asked.paths[0].endswith("/api/v1/query")


def test_prometheus_that_says_no_single_value(asked: Asked, tmp_path: Path) -> None:
    """NaN is no data; several series, an infinity and a refused query are errors."""
    source = PrometheusRig(tmp_path, asked)
    source.say("NaN")
    assert source.measure() is None
    source.say("+Inf")
    assert refused(source).code is Code.INVALID
    series = [{"metric": {"pod": name}, "value": [1.0, "1"]} for name in "abc"]
    body = {"status": "success", "data": {"resultType": "vector", "result": series}}
    asked.answer = (200, {}, json.dumps(body).encode())
    assert "3 series" in refused(source).message
    asked.answer = (400, {}, b'{"status": "error", "errorType": "bad_data", "error": "parse error"}')
    assert "bad_data): parse error" in refused(source).message
    asked.answer = (
        200,
        {},
        b'{"status": "success", "data": {"resultType": "scalar", "result": [1.0, "2.5"]}}',
    )
    assert source.measure() == Numbers(2.5)
    asked.answer = (200, {}, b'{"status": "success", "data": {"resultType": "matrix", "result": []}}')
    assert "matrix" in refused(source).message


def test_a_function_is_given_the_context_in_a_process_of_its_own(tmp_path: Path) -> None:
    """It sees whom it is about, its words go nowhere, and its death is an error and nothing more."""
    source = PythonRig(tmp_path)
    source.say({"candidate": 0.2, "stable": 0.1})
    assert source.measure() == Numbers(0.2, 0.1)
    assert json.loads((tmp_path / "context.json").read_text()) == SUBJECT.context()
    for death, told in (
        ("__import__('os').kill(__import__('os').getpid(), 9)", "signal 9"),
        ("[][1]", "IndexError"),
        (f"1 / 0 if False else open('token={SECRET}')", "FileNotFoundError"),
    ):
        (tmp_path / "answer.py").write_text(death)
        assert told in refused(source).message
    assert "known: complaints" in refused(source, ask="returns").message


def test_what_a_function_leaves_behind_is_ended(tmp_path: Path) -> None:
    """A process that it started dies with it."""
    source = PythonRig(tmp_path)
    (tmp_path / "answer.py").write_text("__import__('subprocess').Popen(['sleep', '600']).pid")
    found = source.measure()
    assert isinstance(found, Numbers)
    deadline = time.monotonic() + 5.0
    while _runs(int(found.candidate)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(int(found.candidate))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_module_and_function_where_it_is_trusted(tmp_path: Path) -> None:
    """A plan may name any function only if the operator said so; it is found in the project's folder too."""
    (tmp_path / "own_metrics.py").write_text(
        "def two(context):\n    return context['candidate']['version']\n"
    )
    source = PythonRig(tmp_path)
    source.changes["trust_plan_commands"] = True
    assert source.measure(ask="own_metrics:two") == Numbers(2.0)


def test_counts_out_of_a_table(tmp_path: Path) -> None:
    """Versions become arms by number or label; an arm without a row has none of none."""
    source = SqliteRig(tmp_path)
    for version, at, refunded in (
        ("2", 5.0, 1),
        ("2", 6.0, 0),
        ("v1.0", 7.0, 0),
        ("9", 8.0, 1),
        ("2", 1.0, 1),
    ):
        source.run("INSERT INTO orders VALUES (?, ?, ?)", version, SUBJECT.since + at - 3.0, refunded)
    statement = "SELECT version, sum(refunded) AS bad, count(*) AS total FROM orders WHERE at >= :since GROUP BY version"
    assert source.measure(ask=statement, counts=True) == Counts(Tally(1, 2), Tally(0, 1))
    one_arm = statement.replace("WHERE", "WHERE version = '2' AND")
    assert source.measure(ask=one_arm, counts=True) == Counts(Tally(1, 2), Tally(0, 0))


def test_a_database_is_only_read(tmp_path: Path) -> None:
    """Neither SQLite nor PostgreSQL lets a statement change anything, whatever it begins with."""
    source = SqliteRig(tmp_path)
    changing = "WITH x AS (SELECT 1) INSERT INTO answers SELECT 1, 2"
    assert refused(source, ask=changing).code is Code.UNAVAILABLE
    with database() as url:
        with psycopg.connect(url, autocommit=True) as shop:
            shop.execute("CREATE TABLE answers (version int, rate numeric)")
        source.environ["METRIC_URL"] = url
        told = refused(
            source, ask="WITH x AS (INSERT INTO answers VALUES (1, 2) RETURNING rate) SELECT rate FROM x"
        )
        assert "read-only" in told.message


def test_an_unknown_parameter_is_named(tmp_path: Path) -> None:
    """And the database's own words are passed on."""
    source = SqliteRig(tmp_path)
    assert ":version" in refused(source, ask="SELECT :version").message
    assert "no such table: ordres" in refused(source, ask="SELECT * FROM ordres").message


def test_a_database_file_outside_the_project_is_refused(tmp_path: Path) -> None:
    """A plan cannot have any file of the server's read."""
    outside = tmp_path / "outside"
    project = tmp_path / "project"
    outside.mkdir()
    project.mkdir()
    SqliteRig(outside)
    metrics = OutsideMetrics(Settings(home=str(project / ".lastgood")), os.environ)
    terms = CustomTerms(
        kind=SourceKind.SQL, ask="SELECT 1", url=f"sqlite:///{outside}/shop.db", maximum=1.0, timeout=20.0
    )
    with pytest.raises(LastgoodError) as caught:
        metrics.measure(terms, SUBJECT)
    assert caught.value.code is Code.UNTRUSTED


def test_a_child_that_nobody_ends_ends_itself(tmp_path: Path) -> None:
    """A controller that was killed leaves no function behind that hangs for ever."""
    source = PythonRig(tmp_path)
    source.say(SLOW)
    asked = {"function": "complaints", "counts": False, "context": SUBJECT.context()}
    with (tmp_path / "answer").open("wb") as answer:
        done = subprocess.run(
            [sys.executable, "-m", "lastgood.integrations.metric_python", str(answer.fileno()), "0.5"],
            input=json.dumps(asked).encode(),
            pass_fds=(answer.fileno(),),
            env={**os.environ, **source.environ},
            timeout=30,
            check=False,
        )
    assert done.returncode == -signal.SIGALRM
