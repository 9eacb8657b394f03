"""What is made in a home folder: for its owner only, never through a link, and whole."""

import contextlib
import logging
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lastgood import bootstrap, serving
from lastgood.errors import Code, LastgoodError
from lastgood.home import prepare
from lastgood.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def open_mask():
    """Files are made as a careless shell would have them made."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_everything_in_home_is_for_its_owner_only(settings: Settings) -> None:
    """With an open umask folders are 0700, and token, database and what SQLite keeps beside it 0600."""
    services = bootstrap.open_services(settings)
    home = Path(settings.home)
    names = ["", "blobs", "run", "run/hosts", "run/reports", "run/logs", "run/route.page"]
    names += ["token", "lastgood.db", "lastgood.db-wal", "lastgood.db-shm"]
    found = {name: oct(mode(home / name)) for name in names}
    bootstrap.close(services)

    assert found == {name: "0o600" if "." in name or name == "token" else "0o700" for name in names}


def test_a_database_that_others_could_read_is_closed_to_them(settings: Settings) -> None:
    """A database made by an earlier version with mode 0644 is 0600 after the next start, with its content."""
    bootstrap.close(bootstrap.open_services(settings))
    settings.database.chmod(0o644)
    size = settings.database.stat().st_size
    bootstrap.close(bootstrap.open_services(settings))

    assert mode(settings.database) == 0o600
    assert settings.database.stat().st_size == size > 0


@pytest.mark.parametrize(
    "name", ["home", "home/blobs", "home/run", "home/run/hosts", "home/run/reports", "home/run/logs"]
)
@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_place_of_a_folder_is_refused(
    settings: Settings, tmp_path: Path, name: str, there: bool
) -> None:
    """No folder is used through a link, whether or not it leads anywhere, and nothing is made behind it."""
    link, elsewhere = tmp_path / name, tmp_path / "elsewhere"
    link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if name.startswith("home/run/"):
        link.parent.chmod(0o700)
        link.parent.parent.chmod(0o700)
    if there:
        elsewhere.mkdir(mode=0o700)
    link.symlink_to(elsewhere)
    with pytest.raises(LastgoodError, match=name) as caught:
        prepare(settings)

    assert caught.value.code is Code.REFUSED
    assert not elsewhere.exists() or list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["blobs", "run", "run/hosts"])
def test_a_folder_that_others_may_write_is_refused(settings: Settings, name: str) -> None:
    """A folder whose content others could exchange is not used."""
    prepare(settings)
    (Path(settings.home) / name).chmod(0o770)
    with pytest.raises(LastgoodError, match="written by others") as caught:
        prepare(settings)

    assert caught.value.code is Code.REFUSED


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_token_is_made_again(settings: Settings, content: bytes) -> None:
    """A token that a power cut left empty is replaced; one that is there is kept."""
    prepare(settings)
    settings.token_file.write_bytes(content)
    prepare(settings)
    made = settings.token_file.read_text()
    prepare(settings)

    assert len(made) >= 32
    assert settings.token_file.read_text() == made
    assert sorted(path.name for path in Path(settings.home).iterdir()) == [
        "blobs",
        "predictions",
        "run",
        "token",
    ]


def test_a_token_behind_a_link_is_refused(settings: Settings, tmp_path: Path) -> None:
    """A link in the token's place is neither read nor followed."""
    prepare(settings)
    known = tmp_path / "known"
    known.write_text("known to somebody else")
    settings.token_file.unlink()
    settings.token_file.symlink_to(known)
    with pytest.raises(LastgoodError, match="token") as caught:
        prepare(settings)

    assert caught.value.code is Code.REFUSED
    assert known.read_text() == "known to somebody else"


def test_processes_that_start_together_agree_on_one_token(settings: Settings) -> None:
    """Whatever token a process read after preparing is the one that stays."""
    prepare(settings)
    settings.token_file.write_bytes(b"")
    code = (
        "import sys; from lastgood.home import prepare; from lastgood.settings import Settings; "
        "settings = Settings(home=sys.argv[1]); sys.stdin.read(); prepare(settings); "
        "print(settings.token_file.read_text())"
    )
    command = [sys.executable, "-c", code, settings.home]
    reader, writer = os.pipe()
    started = [subprocess.Popen(command, stdin=reader, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    os.close(reader)
    os.close(writer)  # all go on now
    said = {process.communicate(timeout=60)[0].strip() for process in started}

    assert said == {settings.token_file.read_text()}


@pytest.mark.parametrize(("mask", "warned"), [(0o750, True), (0o700, False)])
def test_serve_warns_of_a_home_that_others_can_enter(
    settings: Settings, caplog: pytest.LogCaptureFixture, mask: int, warned: bool
) -> None:
    """A home folder that is not its owner's alone is told when a server starts, and not refused."""
    Path(settings.home).mkdir()
    Path(settings.home).chmod(mask)
    with socket.create_server(("127.0.0.1", 0)) as taken, contextlib.ExitStack() as stack:
        stack.enter_context(caplog.at_level(logging.WARNING))
        stack.enter_context(pytest.raises(LastgoodError, match="Cannot listen"))
        port = taken.getsockname()[1]
        serving.serve(Settings(home=settings.home, api_port=port), lambda _serving: None)

    assert any("chmod 700" in record.getMessage() for record in caplog.records) == warned
