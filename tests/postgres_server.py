"""A real PostgreSQL server for tests: somebody's (TEST_DATABASE_URL), or one started here from installed binaries.

Where there is none, the tests that need it are skipped and say how to install one; with REQUIRE_REAL set they fail.

One server a test session and process; one database a test. A server started here listens on loopback and on a socket in
its own temporary folder, and is stopped by its own process id.
"""

import atexit
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from free_ports import free_port

ACCOUNT = "postgres"  # the server refuses to run as root; Debian's package makes this one
START_SECONDS = 180
CONFIGURATION = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 100
max_locks_per_transaction = 256
shared_buffers = 128MB
max_wal_size = 4GB
lc_messages = 'C'
"""


def binaries() -> Path:
    """Return the folder with initdb and postgres, the newest below Debian's folder, or on the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("postgres")
    if found is None:
        missing = (
            "No PostgreSQL server is installed, and TEST_DATABASE_URL is not set."
            " Install one: apt-get install --no-install-recommends postgresql"
        )
        if os.environ.get("REQUIRE_REAL"):
            raise RuntimeError(missing)
        pytest.skip(missing)
    return Path(found).resolve().parent


@functools.cache
def server_url() -> str:
    """Return the URL of a superuser's connection; the server runs until this process ends."""
    given = os.environ.get("TEST_DATABASE_URL")
    return given or _start()


@contextmanager
def database(**settings: str) -> Iterator[str]:
    """Make an empty database, give its URL and drop it; ``settings`` hold for its sessions."""
    name = f"lastgood_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url(), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
        )
        for key, value in settings.items():
            admin.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(name), sql.Identifier(key), sql.Literal(value)
                )
            )
    try:
        yield url_of(name)
    finally:
        with psycopg.connect(server_url(), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def url_of(name: str, **others: str) -> str:
    """Return the server's URL for one database, perhaps for another user or with a password."""
    parts = {**conninfo_to_dict(server_url()), **others}
    login = quote(str(parts.get("user", ACCOUNT)), safe="")
    if parts.get("password"):
        login = f"{login}:{quote(str(parts['password']), safe='')}"
    return f"postgresql://{login}@{parts.get('host', '127.0.0.1')}:{parts.get('port', 5432)}/{name}"


def _start() -> str:
    home = Path(tempfile.mkdtemp(prefix="lastgood-pg-"))
    programs, data, port = binaries(), home / "data", free_port()
    _give(home)
    subprocess.run(
        [*_as_account(), programs / "initdb", "-D", data, "-U", ACCOUNT, "-A", "trust", "-E", "UTF8",
         "--locale=C", "--no-sync"],
        cwd=home, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(CONFIGURATION.format(port=port, folder=home))
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data], cwd=home, stdout=log, stderr=log, **_account_of_process()
        )
    atexit.register(_stop, server, home)
    url = f"postgresql://{ACCOUNT}@127.0.0.1:{port}/postgres"
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                log_end = (home / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"PostgreSQL did not start:\n{log_end}") from None
            time.sleep(0.05)
        else:
            return url


def _stop(server: subprocess.Popen[bytes], home: Path) -> None:
    server.send_signal(signal.SIGINT)  # fast shutdown: sessions are ended
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    shutil.rmtree(home, ignore_errors=True)


def _as_account() -> list[str]:
    return ["runuser", "-u", ACCOUNT, "--"] if os.geteuid() == 0 else []


def _account_of_process() -> dict[str, object]:
    # Not through runuser: that would stand between us and the server's process id.
    return {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []} if os.geteuid() == 0 else {}


def _give(home: Path) -> None:
    if os.geteuid() == 0:
        account = pwd.getpwnam(ACCOUNT)
        os.chown(home, account.pw_uid, account.pw_gid)
