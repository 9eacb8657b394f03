"""The command line without a server: words, JSON, exit codes."""

import json
import re
import tomllib

import msgspec
import pytest
from click.testing import CliRunner

from lastgood.cli.main import root
from lastgood.cli.progress import Drought
from lastgood.cli.project import template
from lastgood.cli.wording import duration, percent, size
from lastgood.settings import Settings


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A fresh folder made a project, with one file that can be registered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LASTGOOD_ACTOR", "tester")
    monkeypatch.delenv("LASTGOOD_HOME", raising=False)
    (tmp_path / "model.py").write_text("def make():\n    return None\n")
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,4\n")
    assert run("init").exit_code == 0
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(root, list(arguments))


def register(*arguments, model="churn"):
    return run("register", model, "model.py", "--factory", "model:make", *arguments)


def test_init_writes_a_project_and_is_harmless_the_second_time(project):
    """The second init changes no file, and what it made is private and ignored by git."""
    settings, home = project / "lastgood.toml", project / ".lastgood"
    settings.write_text("port = 9000\n")
    before = {path: path.read_bytes() for path in (settings, home / "token", home / ".gitignore")}

    again = run("init")

    assert again.exit_code == 0
    assert "already" in again.stdout
    assert {path: path.read_bytes() for path in before} == before
    assert home.stat().st_mode & 0o077 == 0
    assert (home / ".gitignore").read_text() == "*\n"


def test_the_written_settings_name_every_setting_with_its_default():
    """Taking every '# ' away gives valid TOML that says exactly the defaults."""
    values = template().partition("# [[notify]]")[0]
    lines = [line.removeprefix("# ") for line in values.splitlines() if re.match("# [a-z_]+ = ", line)]
    told = tomllib.loads("\n".join(lines))

    assert set(told) == set(Settings.__struct_fields__) - {"home", "notify", "data"}
    assert msgspec.convert({"home": "x", **told}, Settings) == Settings(home="x")


def test_register_tells_new_bytes_from_known_ones(project):
    """New, known, and known under another label are three different answers."""
    first = register("--label", "v1.0", "--data", "data.csv", "--metric", "auc=0.91")
    again = register("--label", "v1.0")
    other = register("--label", "v1.1")

    assert first.stdout.startswith("Registered churn version 1 (v1.0)  sha256:")
    assert again.stdout.startswith("Already registered: churn version 1 (v1.0)  sha256:")
    assert "same bytes as version 1 (v1.0)" in other.stdout
    assert (first.exit_code, again.exit_code, other.exit_code) == (0, 0, 0)


@pytest.mark.parametrize("label", ["latest", "final", "v2-new", "3"])
def test_a_vague_label_is_refused_with_what_to_use_instead(project, label):
    """Exit 2, the reason, a better label, and nothing is registered."""
    done = register("--label", label)

    assert done.exit_code == 2
    assert done.stderr.startswith("error: The label")
    assert "\nnext:  Use " in done.stderr
    assert json.loads(run("versions", "--json").stdout) == {"models": []}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["register", "churn", "nothing.onnx"], 2, "nothing.onnx"),
        (["register", "churn", "data.csv"], 2, "--format"),
        (["register", "churn", "model.py", "--metric", "auc"], 2, "--metric auc=0.91"),
        (["register", "churn", "model.py", "--metric", "auc=nan"], 2, "'auc=nan'"),
        (["register", "churn", "model.py", "--signature", "data.csv"], 2, "data.csv"),
        (["register", "9lives", "model.py", "--factory", "m:f"], 2, "9lives"),
        (["register", "churn"], 2, "ARTIFACT"),
        (["frobnicate"], 2, "frobnicate"),
        (["status", "--frobnicate"], 2, "--frobnicate"),
        (["versions", "fraud"], 1, "fraud"),
        (["show", "churn", "v9"], 1, "churn"),
        (["show", "release", "99"], 1, "99"),
        (["show", "release", "one"], 2, "one"),
        (["show", "churn", ""], 2, "empty"),
        (["show", "churn", "²"], 1, "churn"),
        (["show", "churn", "9" * 23], 1, "churn"),
        (["show", "churn", "v1\x1b[2J"], 2, "cannot be shown"),
        (["rollback", "churn", "--reason", "fine\nevent 9 forged"], 2, "cannot be shown"),
        (["release", "churn", "--version", "1", "--override", "fine\x1b[2K"], 2, "cannot be shown"),
        (["rollback", "churn", "--reason", "x" * 2001], 2, "2000"),
        (["register", "churn", "model.py", "--metric", "a\nb=1"], 2, "cannot be shown"),
        (["audit", "--at", "99999999999999999999"], 2, "99999999999999999999"),
        (["history", "churn"], 1, "churn"),
        (["rollback", "churn"], 1, "churn"),
        (["release", "churn", "--version", "1"], 1, "lastgood serve"),
        (["release", "churn", "--version", "1", "--timeout", "5s"], 2, "--wait"),
        (["release", "churn", "--version", "1", "--wait", "--timeout", "5"], 2, "5"),
        (["release", "churn", "--version", "1", "--plan", "absent.yaml"], 2, "absent.yaml"),
        (["promote", "churn"], 1, "lastgood serve"),
        (["audit", "--at", "yesterday"], 2, "yesterday"),
        (["audit", "--head", "abc"], 2, "audit verify"),
        (["audit", "verify", "--head", "abc"], 1, "abc"),
        (["plan", "check", "data.csv"], 2, "data.csv"),
    ],
)
def test_every_wrong_command_says_what_and_what_next(project, arguments, code, says):
    """The exit code follows the map; text and JSON carry the same sentence, a next step and no traceback."""
    text, data = run(*arguments), run(*arguments, "--json")

    assert (text.exit_code, data.exit_code) == (code, code)
    assert says in text.stderr
    assert "error: " in text.stderr
    assert "Traceback" not in text.stderr
    problem = json.loads(data.stderr)
    assert problem["error"] in text.stderr
    assert problem["next"] in text.stderr
    assert text.stdout == data.stdout == ""


def test_outside_a_project_it_says_how_to_make_one(tmp_path, monkeypatch):
    """A command in a folder that is no project names init."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LASTGOOD_HOME", raising=False)

    done = run("status")

    assert done.exit_code == 1
    assert "lastgood init" in done.stderr


def test_reading_commands_work_without_a_server(project):
    """Versions, show, diff, status, history, audit and doctor answer from the store, as text and as JSON."""
    register("--label", "v1.0", "--metric", "auc=0.91")
    (project / "model.py").write_text("def make():\n    return 1\n")
    register("--label", "v1.1", "--metric", "auc=0.92")
    for arguments in (
        ["versions"],
        ["versions", "churn"],
        ["show", "churn", "v1.0"],
        ["diff", "churn", "v1.0", "2"],
        ["status"],
        ["audit"],
        ["audit", "--at", "2026-01-01T00:00"],
        ["audit", "verify"],
        ["doctor"],
        ["plan", "schema"],
    ):
        text, data = run(*arguments), run(*arguments, "--json")

        assert (arguments, text.exit_code, data.exit_code) == (arguments, 0, 0)
        assert text.stdout.strip()
        assert json.loads(data.stdout) is not None
        assert text.stderr == data.stderr == ""
    rows = run("diff", "churn", "v1.0", "2").stdout.splitlines()
    assert [line[0] for line in rows if " metric auc " in line] == ["*"]
    assert [line[0] for line in rows if " format " in line] == [" "]
    assert [line[0] for line in rows if " label " in line or " number " in line] == [" ", " "]


@pytest.mark.parametrize("actor", ["mallory\n1  2026-11-21", "\x1b[2K", "x" * 201])
def test_an_actor_that_cannot_be_shown_is_refused(project, monkeypatch, actor):
    """LASTGOOD_ACTOR cannot forge a line of the record: exit 2, and nothing is registered."""
    monkeypatch.setenv("LASTGOOD_ACTOR", actor)

    done = register("--label", "v1.0")

    assert (done.exit_code, "LASTGOOD_ACTOR" in done.stderr) == (2, True)
    assert json.loads(run("versions", "--json").stdout) == {"models": []}


def test_what_an_older_record_holds_is_printed_without_its_control_characters(project, monkeypatch):
    """An actor with a line break and an escape sequence, kept before they were refused, stays in its line."""
    monkeypatch.setattr("lastgood.cli.session.check_given", lambda text, _what, **_limits: text)
    monkeypatch.setenv("LASTGOOD_ACTOR", "mallory\n99  forged\x1b[2K")
    assert register("--label", "v1.0").exit_code == 0

    listed, shown = run("audit"), run("show", "churn", "1")

    assert "mallory\\n99  forged\\x1b[2K" in shown.stdout
    assert "\x1b" not in listed.stdout + shown.stdout
    assert not any(line.startswith("99") for line in listed.stdout.splitlines())


def test_audit_verify_finds_a_tampered_row(project):
    """A row changed behind our back is named, with exit 1; the doctor finds it too."""
    import sqlite3

    register("--label", "v1.0")
    assert run("audit", "verify").exit_code == 0
    connection = sqlite3.connect(project / ".lastgood" / "lastgood.db")
    table = next(
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if {"actor", "hash", "previous"}
        <= {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
    )
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    connection.execute(f"UPDATE {table} SET actor = 'somebody else'")
    connection.commit()
    connection.close()

    verified, looked = run("audit", "verify"), run("doctor")

    assert verified.exit_code == 1
    assert "event 1" in verified.stderr
    assert looked.exit_code == 1
    assert "audit verify" in looked.stdout


def test_doctor_finds_a_token_that_others_can_read(project):
    """A token file with open permissions is a problem, with the command that closes it."""
    (project / ".lastgood" / "token").chmod(0o644)

    done = run("doctor", "--json")

    assert done.exit_code == 1
    problems = [check for check in json.loads(done.stdout)["checks"] if check["state"] == "problem"]
    assert [(check["name"], check["next"].split()[0]) for check in problems] == [("API token", "chmod")]


def test_a_bug_shows_no_traceback_unless_asked(project, monkeypatch):
    """An unexpected exception is one sentence and exit 1; LASTGOOD_DEBUG=1 adds the traceback."""

    def fail(*_arguments, **_named):
        raise RuntimeError("boom")

    monkeypatch.setattr("lastgood.cli.session.Session.read", fail)
    quiet = run("status")
    monkeypatch.setenv("LASTGOOD_DEBUG", "1")
    loud = run("status")

    assert (quiet.exit_code, loud.exit_code) == (1, 1)
    assert "boom" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_plan_check_says_the_steps_in_words(project):
    """Every step and guardrail of a valid plan is said in one sentence."""
    (project / "plan.yaml").write_text(
        "strategy: canary\nsteps:\n  - weight: 5%\n    for: 10m\n    samples: 200\n  - pause: until resumed\n"
        "  - approve: Ask the fraud team\nguardrails:\n  - metric: latency\n    max: 200ms\n    quantile: p95\n"
    )

    done = run("plan", "check", "plan.yaml")

    assert done.exit_code == 0
    assert (
        "5 % of the requests go to the candidate for at least 10m and until it has answered 200"
        in done.stdout
    )
    assert "Wait until somebody resumes." in done.stdout
    assert "Ask the fraud team" in done.stdout
    assert "p95 latency is over 200ms" in done.stdout


def test_plan_check_says_what_this_projects_settings_refuse(project):
    """A foreign webhook is noted with the reason, as text and as JSON; outside a project nothing is."""
    (project / "plan.yaml").write_text("strategy: canary\nnotify:\n  - webhook: https://example.org/hook\n")

    text, data = run("plan", "check", "plan.yaml"), run("plan", "check", "plan.yaml", "--json")
    (project / "lastgood.toml").write_text("trust_plan_commands = true\n")
    trusted = run("plan", "check", "plan.yaml")
    (project / "lastgood.toml").unlink()
    nowhere = run("plan", "check", "plan.yaml")

    assert [done.exit_code for done in (text, data, trusted, nowhere)] == [0, 0, 0, 0]
    assert "settings would refuse it: The plan wants the server to post to 'example.org'" in text.stdout
    assert json.loads(data.stdout)["refused"]["code"] == "untrusted"
    assert "refuse" not in trusted.stdout + nowhere.stdout


def _view(phase="progressing", requests=0, weight=5.0):
    return {"phase": phase, "requests": requests, "weight_percent": weight, "shadow_percent": 0.0}


def test_a_candidate_without_requests_is_told_of_once():
    """A minute without a request at a step is told, once; requests, a hold or a step without weight end the wait."""
    drought = Drought()
    quiet = [(0.0, _view()), (59.0, _view()), (59.5, _view(requests=1)), (60.0, _view()), (119.0, _view())]
    held = [(119.5, _view("paused")), (120.0, _view()), (175.0, _view(weight=0.0)), (176.0, _view())]

    early = [drought.begins(view, now) for now, view in quiet + held]
    late = [drought.begins(_view(), now) for now in (235.9, 236.0, 236.1, 900.0)]

    assert not any(early)
    assert late == [False, True, False, False]


@pytest.mark.parametrize(
    ("generations", "says"),
    [
        ([], "gateways   none running"),
        ([4, 4], "gateways   2, all on generation 4"),
        ([3, 4], "gateways   1 of 2 on generation 4; behind: 0"),
        ([3, 3], "gateways   0 of 2 on generation 4; behind: 0, 1"),
    ],
)
def test_status_counts_the_gateways_that_followed(project, monkeypatch, generations, says):
    """How many workers obey the generation in force, and which do not."""
    workers = [{"slot": slot, "generation": generation} for slot, generation in enumerate(generations)]
    view = {"deployment": "churn", "generation": 4, "gateways": workers}
    view |= dict.fromkeys(("stable", "last_good", "release", "last_release"))
    monkeypatch.setattr("lastgood.cli.session.Session.read", lambda *_path, **_query: view)

    assert f"  {says}\n" in run("status", "churn").stdout


def test_every_command_has_help_and_the_common_flags():
    """Each command takes --json and --home and says what it does."""

    def commands(group):
        for command in group.commands.values():
            yield from commands(command) if hasattr(command, "commands") else (command,)

    for command in commands(root):
        names = {parameter.name for parameter in command.params}
        assert {"as_json", "home"} <= names, command.name
        assert command.help, command.name


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (duration(0), "0s"),
        (duration(0.25), "250ms"),
        (duration(59.6), "1m"),
        (duration(3_900), "1h 5m"),
        (duration(90_061), "1d 1h"),
        (size(577), "577 B"),
        (size(3 * 1024**3), "3.0 GiB"),
        (percent(0.5), "0.5 %"),
    ],
)
def test_values_are_said_shortly(said, expected):
    """Durations, sizes and shares read as a person says them."""
    assert said == expected


def test_plan_explain_says_what_numbers_from_outside_cannot_promise(project):
    """One number has no false-alarm rate, and that is said where nothing else compares either."""
    source = "source: {python: refunds}"
    (project / "plan.yaml").write_text(f"guardrails: [{{metric: custom, name: rate, {source}, max: 1}}]\n")
    alone = run("plan", "explain", "plan.yaml")
    assert "compares nothing" in alone.stdout
    assert "One number from outside has no false-alarm rate (rate)." in alone.stdout
