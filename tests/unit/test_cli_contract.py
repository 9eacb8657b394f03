"""The data contract on the command line: registered, shown, compared, and a release that does not fit refused."""

import json
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from lastgood.cli.main import root
from lastgood.cli.session import Session

FILE = "data:\n  features:\n    tables:\n      customers: {id: integer, age: integer}\n"
AS_TODAY = "DROP TABLE IF EXISTS customers; CREATE TABLE customers (id INTEGER, age INTEGER, plan TEXT)"
MIGRATED = "DROP TABLE customers; CREATE TABLE customers (id TEXT, birth_year INTEGER)"
WITH_DATA = "strategy: all_at_once\ndata:\n  source: features\n"


class Project:
    """A folder with a model, a SQLite file as the source ``features``, and the commands run in it."""

    def __init__(self, folder):
        self.folder = folder
        self.write("lastgood.toml", '[data.features]\nprovider = "sqlite"\npath = "features.db"\n')
        self.write("model.py", "def make():\n    return None\n")
        self.change(AS_TODAY)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def change(self, script):
        with closing(sqlite3.connect(self.folder / "features.db")) as connection:
            connection.executescript(script)

    def run(self, *arguments):
        return CliRunner().invoke(root, list(arguments))

    def register(self, *arguments, artifact="model.py"):
        return self.run("register", "churn", artifact, "--factory", "model:make", *arguments)

    def needs(self, version):
        return json.loads(self.run("show", "churn", version, "--json").stdout)["needs"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LASTGOOD_ACTOR", "tester")
    monkeypatch.delenv("LASTGOOD_HOME", raising=False)
    made = Project(tmp_path)
    assert made.run("init").exit_code == 0
    return made


def columns(needs):
    return {
        (table, column["name"], column["type"])
        for table, listed in needs["features"]["tables"].items()
        for column in listed
    }


ALL = {("customers", "id", "integer"), ("customers", "age", "integer"), ("customers", "plan", "text")}


def test_needs_takes_todays_schema(project):
    """Every column of today becomes part of the version, is said, shown, and its id stands in the event."""
    done = project.register("--label", "v1.0", "--needs", "features")

    assert "Its data contract: features (1 table, 3 columns)." in done.stdout
    assert columns(project.needs("v1.0")) == ALL
    shown = project.run("show", "churn", "v1.0").stdout
    assert "customers: id integer, age integer, plan text" in shown
    event = json.loads(project.run("audit", "--json").stdout)["events"][0]
    assert event["data"]["needs"] == {"features": project.needs("v1.0")["features"]["id"]}


def test_a_file_beside_the_artifact_says_what_is_needed(project):
    """Without --needs it is believed, whatever the data looks like; with it, it must fit, and it still is the contract."""
    project.write("lastgood.yaml", FILE)
    project.register("--label", "v1.0")
    both = project.register("--label", "v1.1", "--needs", "features")

    assert both.exit_code == 0
    assert (
        columns(project.needs("v1.0"))
        == columns(project.needs("v1.1"))
        == ALL - {("customers", "plan", "text")}
    )


def test_a_file_that_todays_data_does_not_fit_is_refused_with_its_line(project):
    """Both given, each column that differs is named, and nothing is registered."""
    project.write("lastgood.yaml", FILE)
    project.change(MIGRATED)

    done = project.register("--needs", "features")

    assert done.exit_code == 2
    assert "lastgood.yaml:2:3: features as it is today does not fit: " in done.stderr
    assert "customers.id is text, not integer; customers.age is missing" in done.stderr
    assert json.loads(project.run("versions", "--json").stdout) == {"models": []}


def test_the_file_in_a_folder_comes_before_the_one_beside_it(project):
    """An artifact that is a folder may carry its own contract; the folder's neighbours keep theirs."""
    project.write("lastgood.yaml", FILE)
    project.write("model/model.py", "def make():\n    return None\n")
    project.register("--label", "v1.0", artifact="model")
    project.write("model/lastgood.yaml", FILE.replace(", age: integer", ""))
    project.register("--label", "v1.1", artifact="model")

    assert len(columns(project.needs("v1.0"))) == 2
    assert columns(project.needs("v1.1")) == {("customers", "id", "integer")}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"data:\n  features:\n    tbles: {}\n", "lastgood.yaml:3:5: The key 'tbles' is not known"),
        (b"\xff\xfe", "lastgood.yaml is not UTF-8"),
        (b"x" * 300_000, "characters"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(project, content, says):
    """It is never passed over: a contract that was meant must not be missing."""
    (project.folder / "lastgood.yaml").write_bytes(content)

    done = project.register()

    assert (done.exit_code, says in done.stderr) == (2, True), done.stderr
    assert json.loads(project.run("versions", "--json").stdout) == {"models": []}


def test_a_folder_called_like_the_file_is_refused(project):
    """Something that is no file cannot be read, and is named."""
    (project.folder / "lastgood.yaml").mkdir()
    assert "is not a file" in project.register().stderr


def test_a_source_that_the_settings_do_not_know_is_refused(project):
    """The error names those they know, and the table to add."""
    done = project.register("--needs", "orders")
    assert done.exit_code == 1
    assert "known: features" in done.stderr
    assert "[data.orders]" in done.stderr


def test_the_contract_is_part_of_what_a_version_is(project):
    """The same bytes under the same label: the same contract or none is the same version, another one is a conflict."""
    project.register("--label", "v1.0", "--needs", "features")
    same, silent = (
        project.register("--label", "v1.0", "--needs", "features"),
        project.register("--label", "v1.0"),
    )
    project.change(MIGRATED)
    other = project.register("--label", "v1.0", "--needs", "features")

    assert same.stdout.startswith("Already registered")
    assert silent.stdout.startswith("Already registered")
    assert other.exit_code == 1
    assert "features.customers.id is text, not integer" in other.stderr
    assert "features.customers.birth_year is new" in other.stderr
    assert columns(project.needs("v1.0")) == ALL


def test_diff_sets_two_contracts_side_by_side_column_by_column(project):
    """Columns that differ are marked, columns that do not are not."""
    project.register("--label", "v1.0", "--needs", "features")
    project.change(MIGRATED)
    project.register("--label", "v1.1", "--needs", "features")

    facts = json.loads(project.run("diff", "churn", "v1.0", "v1.1", "--json").stdout)["facts"]

    told = {one["name"]: (one["first"], one["second"]) for one in facts if one["name"].startswith("needs ")}
    assert told["needs features.customers.id"] == ("integer", "text")
    assert told["needs features.customers.age"] == ("integer", None)
    assert told["needs features.customers.birth_year"] == (None, "integer")
    rows = project.run("diff", "churn", "v1.0", "v1.1").stdout.splitlines()
    assert [row[0] for row in rows if "customers.id" in row] == ["*"]


@pytest.fixture
def in_process(monkeypatch):
    """Commands are carried out by the real services in this process, as the server would."""

    def command(session, *path, **body):
        with session.services() as services:
            return session.command_here(services, *path, **body)

    monkeypatch.setattr(Session, "command", command)


def test_a_release_that_does_not_fit_todays_data_names_each_column(project, in_process):
    """Exit 3 before anything moves, in words and as JSON; once the data fits, the same command starts the release."""
    project.register("--label", "v1.0", "--needs", "features")
    project.change(MIGRATED)

    text = project.run("release", "churn", "--version", "v1.0")
    data = project.run("release", "churn", "--version", "v1.0", "--json")
    assert json.loads(project.run("status", "--json").stdout)["deployments"] == []
    project.change(AS_TODAY)
    fits = project.run("release", "churn", "--version", "v1.0")

    assert (text.exit_code, data.exit_code, fits.exit_code) == (3, 3, 0)
    assert "v1.0 does not fit the live data" in text.stderr
    for column in (
        "features: customers.id is text, not integer",
        "features: customers.age is missing",
        "features: customers.plan is missing",
    ):
        assert column in text.stderr
    assert "Migrate the data first" in text.stderr
    assert json.loads(data.stderr)["code"] == "refused"


def test_a_release_whose_source_is_gone_is_refused(project, in_process):
    """Data that nobody can look at does not fit: the file is named, the version not released."""
    project.register("--label", "v1.0", "--needs", "features")
    (project.folder / "features.db").unlink()

    done = project.run("release", "churn", "--version", "v1.0")

    assert done.exit_code == 3
    assert "features: There is no SQLite file 'features.db'" in done.stderr


def test_plan_check_says_all_that_the_settings_refuse(project):
    """An unknown source and a migration that is not trusted are both told; with both settled nothing is."""
    migrating = f"{WITH_DATA}  migrate: [migrate]\n"
    project.write("plan.yaml", migrating.replace("features", "orders"))
    both, as_json = (
        project.run("plan", "check", "plan.yaml"),
        project.run("plan", "check", "plan.yaml", "--json"),
    )
    project.write("plan.yaml", migrating)
    untrusted = project.run("plan", "check", "plan.yaml")
    settings = (project.folder / "lastgood.toml").read_text()
    project.write("lastgood.toml", f"trust_plan_commands = true\n{settings}")
    settled = project.run("plan", "check", "plan.yaml")

    assert [done.exit_code for done in (both, as_json, untrusted, settled)] == [0, 0, 0, 0]
    assert "trust_plan_commands = true" in both.stdout
    assert "'orders', which the settings do not know (features)" in both.stdout
    assert [one["code"] for one in json.loads(as_json.stdout)["refusals"]] == ["untrusted", "refused"]
    assert "trust_plan_commands = true" in untrusted.stdout
    assert "do not know" not in untrusted.stdout
    assert "would refuse" not in settled.stdout
