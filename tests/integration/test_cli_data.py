"""Refusals about live data as a person meets them: the real command, the real controller's process, a SQLite source."""

import json
import sqlite3
from contextlib import closing

import pytest
from api_rig import settings_for
from test_cli_server import AT_ONCE, Project

SOURCE = '[data.features]\nprovider = "sqlite"\npath = "features.db"\n'
OPTIONS = {"provider": "sqlite", "path": "features.db"}
WITH_DATA = "strategy: all_at_once\nwatch: 0s\ndata:\n  source: {}\n"


@pytest.fixture
def project(tmp_path):
    opened = Project(tmp_path)
    opened.settings = settings_for(tmp_path / ".lastgood", data={"features": OPTIONS})
    try:
        assert opened.run("init").returncode == 0
        (tmp_path / "lastgood.toml").write_text(SOURCE)
        (tmp_path / "once.yaml").write_text(AT_ONCE)
        change(tmp_path, "CREATE TABLE customers (id INTEGER, age INTEGER)")
        opened.start()
        yield opened
    finally:
        opened.close()


def change(folder, script):
    with closing(sqlite3.connect(folder / "features.db")) as connection:
        connection.executescript(script)


def release(project, label, plan="once.yaml"):
    given = ("--plan", plan, "--wait", "--timeout", "120s")
    return project.run("release", "churn", "--version", label, *given)


def test_a_version_that_does_not_fit_is_refused_by_the_server_column_by_column(project):
    """Exit 3, each column named, stable untouched; a plan with an unknown source or an untrusted migration likewise."""
    (project.folder / "lastgood.yaml").write_text(
        "data:\n  features:\n    tables:\n      customers: {id: integer, age: integer}\n"
    )
    project.register("v1.0")
    assert release(project, "v1.0").returncode == 0
    (project.folder / "lastgood.yaml").write_text(
        "data:\n  features:\n    tables:\n      customers: {id: text, birth_year: integer}\n      plans: {id: integer}\n"
    )
    project.register("v1.1")
    (project.folder / "unknown.yaml").write_text(WITH_DATA.format("orders"))
    (project.folder / "migrating.yaml").write_text(WITH_DATA.format("features") + "  migrate: [migrate]\n")

    unfit, unknown, untrusted = (
        release(project, "v1.1", plan) for plan in ("once.yaml", "unknown.yaml", "migrating.yaml")
    )

    assert [done.returncode for done in (unfit, unknown, untrusted)] == [3, 3, 3], untrusted.stderr
    for said in (
        "customers.id is integer, not text",
        "customers.birth_year is missing",
        "there is no table 'plans'",
    ):
        assert said in unfit.stderr
    assert "'orders', which the settings do not know (features)" in unknown.stderr
    assert "trust_plan_commands = true" in untrusted.stderr
    status = json.loads(project.run("status", "churn", "--json").stdout)
    assert (status["stable"]["label"], status["release"]) == ("v1.0", None)
