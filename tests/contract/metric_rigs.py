"""Somebody to ask for custom metrics: each of the four kinds, told what to answer, behind one face.

The Prometheus here is a small server that speaks the documented answer of ``/api/v1/query``; the one of Debian is far
too large for a test's sake. HTTP, SQLite, PostgreSQL and the function's process are the real thing.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psycopg

from lastgood.domain.custom import CustomTerms, Reading, SourceKind, Subject
from lastgood.integrations.metrics import OutsideMetrics
from lastgood.settings import Settings
from postgres_server import database

SUBJECT = Subject(
    model="churn",
    deployment="churn-eu",
    release=7,
    candidate=2,
    candidate_label="v1.1 & more",
    stable=1,
    stable_label="v1.0",
    since=1_790_000_000.0,
    now=1_790_000_600.0,
)
SECRET = "s3cr3t-p4ssw0rd"
SLOW = object()
HUGE = object()


class Asked:
    """A web server that answers what it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"null")
        self.seconds = 0.0
        self.paths: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                time.sleep(outer.seconds)
                status, headers, body = outer.answer
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    return  # who has read enough hangs up

            def do_POST(self) -> None:
                outer.forms.append(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))
                self.do_GET()

            def log_message(self, *_arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Rig:
    """One kind of source: :meth:`say` sets its answer, :meth:`measure` asks it."""

    kind: SourceKind
    scheme = "http"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}
        self.changes: dict[str, Any] = {}

    def say(self, answer: Any) -> None:
        """Answer this from now on: JSON, :data:`SLOW` or :data:`HUGE`."""
        raise NotImplementedError

    def terms(self, **changes: Any) -> CustomTerms:
        """Return what a plan would say."""
        raise NotImplementedError

    def measure(self, **changes: Any) -> Reading | None:
        """Ask once."""
        settings = Settings(home=str(self.folder / ".lastgood"), **self.changes)
        return OutsideMetrics(settings, self.environ).measure(self.terms(**changes), SUBJECT)


class HttpRig(Rig):
    """A URL in the environment, with a key in it."""

    kind = SourceKind.HTTP

    def __init__(self, folder: Path, asked: Asked) -> None:
        super().__init__(folder)
        self.asked = asked
        self.environ["METRIC_URL"] = f"{asked.origin}/churn.json?key={SECRET}&label={{candidate.label}}"

    def say(self, answer: Any) -> None:
        self.asked.seconds = 3.0 if answer is SLOW else 0.0
        body = b'"' + b"x" * 2_000_000 + b'"' if answer is HUGE else b"0.1"
        if answer not in (SLOW, HUGE):
            body = json.dumps({"data": [{"rate": answer}]}).encode()
        self.asked.answer = (200, {}, body)

    def terms(self, **changes: Any) -> CustomTerms:
        known = {"kind": self.kind, "ask": "env:METRIC_URL", "value": "data.0.rate", "maximum": 1.0}
        return CustomTerms(**(known | changes))


class PrometheusRig(Rig):
    """An address with a user and a password; a sample's value is text."""

    kind = SourceKind.PROMETHEUS

    def __init__(self, folder: Path, asked: Asked) -> None:
        super().__init__(folder)
        self.asked = asked
        self.environ["METRIC_URL"] = asked.origin.replace("http://", f"http://ada:{SECRET}@") + "/"

    def say(self, answer: Any) -> None:
        self.asked.seconds = 3.0 if answer is SLOW else 0.0
        samples = [] if answer is None else [{"metric": {}, "value": [1_790_000_600.0, str(answer)]}]
        if isinstance(answer, str):
            samples = [{"metric": {}, "value": [1_790_000_600.0, answer]}]
        data = {"resultType": "vector", "result": samples}
        body = json.dumps({"status": "success", "data": data}).encode()
        self.asked.answer = (200, {}, b" " * 2_000_000 if answer is HUGE else body)

    def terms(self, **changes: Any) -> CustomTerms:
        query = 'sum(rate(complaints_total{version="{candidate.version}"}[5m]))'
        known = {"kind": self.kind, "ask": query, "url": "env:METRIC_URL", "maximum": 1.0}
        return CustomTerms(**(known | changes))


class PythonRig(Rig):
    """An installed package with an entry point, which reads what to say from a file."""

    kind = SourceKind.PYTHON

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        site = folder / "site"
        info = site / "shop_metrics-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-metrics\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[lastgood.metrics]\ncomplaints = shop_metrics:complaints\n")
        (site / "shop_metrics.py").write_text(
            "import json, pathlib, time\n"
            f"FOLDER = pathlib.Path({str(folder)!r})\n"
            "def complaints(context):\n"
            "    print('on standard output')\n"
            "    (FOLDER / 'context.json').write_text(json.dumps(context))\n"
            "    source = (FOLDER / 'answer.py').read_text()\n"
            "    return eval(source)\n"
        )
        self.environ["PYTHONPATH"] = str(site)

    def say(self, answer: Any) -> None:
        source = "time.sleep(60)" if answer is SLOW else "'x' * 2_000_000" if answer is HUGE else repr(answer)
        (self.folder / "answer.py").write_text(source)

    def terms(self, **changes: Any) -> CustomTerms:
        known = {"kind": self.kind, "ask": "complaints", "maximum": 1.0, "timeout": 20.0}
        return CustomTerms(**(known | changes))


class SqlRig(Rig):
    """A table with one value, in a real database."""

    kind = SourceKind.SQL

    def terms(self, **changes: Any) -> CustomTerms:
        statement = "SELECT rate FROM answers WHERE version = :candidate"
        known = {
            "kind": self.kind,
            "ask": statement,
            "url": "env:METRIC_URL",
            "maximum": 1.0,
            "timeout": 20.0,
        }
        return CustomTerms(**(known | changes))


class SqliteRig(SqlRig):
    """SQLite, in the project's folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.environ["METRIC_URL"] = "sqlite:///shop.db"
        self.run("CREATE TABLE answers (version INTEGER, rate)")
        self.run("CREATE TABLE orders (version TEXT, at REAL, refunded INTEGER)")

    def run(self, statement: str, *values: Any) -> None:
        """Change the database."""
        with sqlite3.connect(self.folder / "shop.db") as shop:
            shop.execute(statement, values)
        shop.close()

    def say(self, answer: Any) -> None:
        self.run("DELETE FROM answers")
        if isinstance(answer, dict):
            answer = json.dumps(answer)
        if answer is not None:
            self.run("INSERT INTO answers VALUES (2, ?)", answer)


class PostgresRig(SqlRig):
    """PostgreSQL, over the network."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self.url = url
        self.environ["METRIC_URL"] = url
        with psycopg.connect(url, autocommit=True) as shop:
            shop.execute("CREATE TABLE answers (version int, rate numeric)")

    def say(self, answer: Any) -> None:
        with psycopg.connect(self.url, autocommit=True) as shop:
            shop.execute("DELETE FROM answers")
            if answer is not None:
                shop.execute("INSERT INTO answers VALUES (2, %s)", (answer,))


@contextmanager
def rig(kind: str, folder: Path) -> Iterator[Rig]:
    """Yield the rig of a kind, its server running."""
    if kind in ("http", "prometheus"):
        asked = Asked()
        try:
            yield HttpRig(folder, asked) if kind == "http" else PrometheusRig(folder, asked)
        finally:
            asked.close()
    elif kind == "postgres":
        with database() as url:
            yield PostgresRig(folder, url)
    else:
        yield PythonRig(folder) if kind == "python" else SqliteRig(folder)
