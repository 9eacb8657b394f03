"""Settings: what wins, what is refused, and paths that fit."""

import tempfile
from pathlib import Path

import msgspec
import pytest

from lastgood.errors import Code, LastgoodError
from lastgood.settings import FILE_NAME, NotifySetting, Settings, find_project, load_settings


@pytest.fixture
def project(tmp_path):
    """A project whose file says port 9100."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / FILE_NAME).write_text("port = 9100\n")
    return folder


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(project):
    """Each source is heard exactly when no stronger one speaks."""
    environ = {"LASTGOOD_PORT": "9200"}
    assert load_settings({"port": 9300}, environ=environ, folder=project).port == 9300
    assert load_settings({"port": None}, environ=environ, folder=project).port == 9200
    assert load_settings(environ={}, folder=project).port == 9100
    (project / FILE_NAME).write_text("")
    assert load_settings(environ={}, folder=project).port == Settings(home="x").port


def test_text_in_the_environment_becomes_the_settings_type(project):
    """Numbers, durations and switches can be given as text."""
    environ = {
        "LASTGOOD_LEASE_SECONDS": "2.5",
        "LASTGOOD_TRUST_PICKLE": "true",
        "LASTGOOD_GATEWAY_WORKERS": "3",
    }
    settings = load_settings(environ=environ, folder=project)
    assert (settings.lease_seconds, settings.trust_pickle, settings.gateway_workers) == (2.5, True, 3)


def test_the_nearest_project_above_is_found(project):
    """A command works from any folder inside the project, and home lies in the project."""
    below = project / "a" / "b"
    below.mkdir(parents=True)
    assert find_project(below) == project
    assert load_settings(environ={}, folder=below).home == str(project / ".lastgood")


def test_no_project_is_told_with_what_to_do(tmp_path):
    """Outside any project the error names 'lastgood init'."""
    with pytest.raises(LastgoodError, match="lastgood init") as caught:
        load_settings(environ={}, folder=tmp_path)
    assert caught.value.code is Code.NOT_FOUND


def test_a_home_without_a_project_is_enough(tmp_path):
    """A server can run with nothing but LASTGOOD_HOME, and that folder itself is home."""
    home = tmp_path / "state"
    settings = load_settings(environ={"LASTGOOD_HOME": str(home)}, folder=tmp_path)
    assert settings.home == str(home)


@pytest.mark.parametrize("source", ["flag", "environment"])
def test_the_home_that_was_asked_for_is_used_inside_another_project(project, tmp_path, source):
    """LASTGOOD_HOME and --home win over the project that the working directory happens to lie in."""
    home = tmp_path / "elsewhere" / "state"
    flags = {"home": str(home)} if source == "flag" else {}
    environ = {"LASTGOOD_HOME": str(home)} if source == "environment" else {}
    assert load_settings(flags, environ=environ, folder=project).home == str(home)


def test_the_home_that_was_asked_for_is_used_below_a_project(project):
    """A home that lies inside a project keeps its place, and the project's file is heard."""
    home = project / "state"
    settings = load_settings(environ={"LASTGOOD_HOME": str(home)}, folder=project)
    assert (settings.home, settings.port) == (str(home), 9100)


@pytest.mark.parametrize(
    "text",
    [
        "prot = 9100",
        "port = 'many'",
        "port = ",
        "[notify]\nwebhook = 1",
        "gateway_workers = 0",
        "gateway_workers = 65",
    ],
)
def test_a_file_with_a_mistake_is_refused(project, text):
    """An unknown key, a wrong type, broken TOML and an impossible number never pass in silence."""
    (project / FILE_NAME).write_text(text)
    with pytest.raises(LastgoodError) as caught:
        load_settings(environ={}, folder=project)
    assert caught.value.code is Code.INVALID
    assert caught.value.next_step


def test_an_unknown_key_is_named_with_the_known_ones(project):
    """The error says which key, and what could have been meant."""
    (project / FILE_NAME).write_text("prot = 9100")
    with pytest.raises(LastgoodError, match="prot") as caught:
        load_settings(environ={}, folder=project)
    assert "port" in caught.value.next_step


@pytest.mark.parametrize("content", [b"port = 9100 # \xff", b"\x00"])
def test_a_file_that_is_not_text_is_refused_plainly(project, content):
    """Bytes that are no UTF-8 or no TOML give the same kind of error as any other mistake."""
    (project / FILE_NAME).write_bytes(content)
    with pytest.raises(LastgoodError) as caught:
        load_settings(environ={}, folder=project)
    assert caught.value.code is Code.INVALID


def test_home_in_the_file_is_refused_or_heard_never_ignored(project):
    """The file cannot move home, because it is found through home; so the key is refused."""
    (project / FILE_NAME).write_text("home = '/somewhere'")
    with pytest.raises(LastgoodError, match="home"):
        load_settings(environ={}, folder=project)


def test_channels_come_from_the_file(project):
    """Webhooks and commands that every release notifies are a list of tables."""
    (project / FILE_NAME).write_text(
        '[[notify]]\nwebhook = "http://a/"\nsecret = "env:KEY"\n[[notify]]\ncommand = ["x"]\n'
    )
    assert load_settings(environ={}, folder=project).notify == (
        NotifySetting(webhook="http://a/", secret="env:KEY"),
        NotifySetting(command=("x",)),
    )


def test_environment_of_other_programs_is_left_alone(project):
    """Variables that are no settings, such as those a notification command is given, change nothing."""
    environ = {"LASTGOOD_RELEASE": "7", "LASTGOODPORT": "1", "PORT": "1", "lastgood_port": "1"}
    assert load_settings(environ=environ, folder=project) == load_settings(environ={}, folder=project)


@pytest.mark.parametrize("length", [10, 63, 200, 4000])
def test_the_run_folder_depends_on_home_alone(monkeypatch, tmp_path, length):
    """However long home is, a command and a server with another TMPDIR or XDG folder meet in one run folder."""
    settings = Settings(home="/" + "h" * length)
    found = set()
    for place in ("one", "other"):
        folder = tmp_path / place
        folder.mkdir()
        for name in ("TMPDIR", "TEMP", "XDG_RUNTIME_DIR"):
            monkeypatch.setenv(name, str(folder))
        monkeypatch.setattr(tempfile, "tempdir", None)  # as in a new process
        found.add(settings.run)
    assert found == {Path(settings.home) / "run"}


def test_settings_cannot_be_changed_afterwards():
    """One frozen value is passed around, so no part of the program changes another's settings."""
    with pytest.raises(AttributeError):
        Settings(home="x").port = 1
    assert msgspec.structs.replace(Settings(home="x"), port=1).port == 1
