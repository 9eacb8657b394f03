"""Quarantines and gc over the control API, and by the command line where no server runs; the data is a SQLite file."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from api_rig import Rig, control_plane, until

PLAN = "strategy: all_at_once\nwatch: 1h\ndata:\n  source: features\n"


class Project:
    """A project folder with a feature file, in which v1.1 wrote a row and was rolled back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "features.db"
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
        self.write(1)
        (folder / "lastgood.toml").write_text('[data.features]\nprovider = "sqlite"\npath = "features.db"\n')
        self.token = ""

    def write(self, identifier: int) -> None:
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute("INSERT INTO customers VALUES (?)", (identifier,))

    def identifiers(self) -> list[int]:
        with closing(sqlite3.connect(self.path)) as database:
            return [row[0] for row in database.execute("SELECT id FROM customers ORDER BY id")]

    def settings(self) -> dict[str, Any]:
        return {"data": {"features": {"provider": "sqlite", "path": str(self.path)}}}

    def quarantine(self, rig: Rig) -> None:
        """Let v1.1 be promoted, write row 2, and be rolled back with its data."""
        rig.stable("v1.0")
        number = rig.register("v1.1")
        answer = rig.post("releases", model="churn", version=number, plan=PLAN)
        assert answer.status_code == 201, answer.text
        release = answer.json()["id"]
        until(lambda: self._watching(rig, release))
        self.write(2)
        answer = rig.post("deployments/churn/rollback")
        assert answer.status_code == 200, answer.text
        self.token = f"r{release}_restore"

    def _watching(self, rig: Rig, release: int) -> bool:
        rig.drive()
        return bool(rig.get(f"releases/{release}").json()["phase"] == "watching")

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "LASTGOOD_ACTOR": "ada", "LASTGOOD_HOME": str(self.folder / ".lastgood")}
        return subprocess.run(
            [sys.executable, "-m", "lastgood", *arguments],
            cwd=self.folder,
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def run_json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project; nothing runs on it."""
    return Project(tmp_path)


def _counted(rig: Rig, token: str) -> dict[str, Any]:
    rig.services.caretaker.look()
    found: dict[str, Any] = rig.get(f"quarantines/{token}").json()
    return found if found["counted"] else {}


def test_a_quarantine_over_the_api(project: Project) -> None:
    """It is listed with its counts, restored with what it replaces kept, and deleted with a reason that stays."""
    with control_plane(project.folder, **project.settings()) as rig:
        project.quarantine(rig)
        assert project.identifiers() == [1]
        found = until(lambda: _counted(rig, project.token))
        listed = rig.get("quarantines").json()["quarantines"]
        restored = rig.post(f"quarantines/{project.token}/restore", reason="needed").json()
        again = rig.get(f"quarantines/{project.token}/restores/{restored['release']}").json()
        until(lambda: _counted(rig, restored["replaced"]))
        deleted = rig.post(f"quarantines/{project.token}/delete", reason="looked at").json()
        gone = rig.post(f"quarantines/{project.token}/restore")
        unknown = rig.get("quarantines/r99_restore")
        kept = {one["token"]: one for one in rig.get("kept").json()["kept"]}
        cleared = rig.post("kept/clear", tokens=list(kept)).json()["kept"]

        assert [one["token"] for one in listed] == [project.token]
        assert found["tables"] == {"customers": {"added": 1, "removed": 0, "export": "customers.jsonl"}}
        assert (found["label"], found["since"]) == ("v1.1", f"r{project.token[1:2]}_snapshot")
        assert restored == again
        assert restored["restored"]
        assert project.identifiers() == [1, 2]
        assert (deleted["freed_by"], deleted["freed_why"]) == ("tester", "looked at")
        assert deleted["freed_at"] is not None
        assert (gone.status_code, gone.json()["code"]) == (409, "conflict")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
        assert "lastgood quarantine delete" in kept[restored["replaced"]]["why"]
        assert [one["goes"] for one in cleared] == [False] * len(kept)
        assert rig.get("quarantines").json()["quarantines"][0]["token"] == restored["replaced"]


def test_a_quarantine_without_a_server(project: Project) -> None:
    """Each command works in its own process: list, show, export, restore, delete, gc."""
    home = project.folder / "home"
    with control_plane(project.folder, **project.settings()) as rig:
        project.quarantine(rig)
        until(lambda: _counted(rig, project.token))
    home.rename(project.folder / ".lastgood")
    token, target = project.token, project.folder / "rows"
    shown = project.run("quarantine", "list").stdout
    refused = project.run("quarantine", "export", token, "--to", str(project.folder))
    exported = project.run_json("quarantine", "export", token, "--to", str(target))
    unasked = project.run("quarantine", "delete", token, "--json")
    declined = project.run("quarantine", "restore", token, text="n\n")
    assert project.identifiers() == [1]
    restored = project.run_json("quarantine", "restore", token, "--yes")
    assert project.identifiers() == [1, 2]
    deleted = project.run("quarantine", "delete", token, "--reason", "looked at", text="y\n")
    after = project.run_json("quarantine", "show", token)
    cleared = project.run_json("gc", "--yes")

    assert token in shown
    assert "customers +1 -0" in shown
    assert refused.returncode == 2
    assert (exported["rows"], exported["files"]) == (1, ["customers.jsonl"])
    assert (target / "customers.jsonl").read_text() == '{"id":2}\n'
    assert [path.name for path in project.folder.iterdir() if path.name.endswith(".part")] == []
    assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True)
    assert declined.returncode == 130
    assert restored["restored"]
    assert restored["without_server"]
    assert deleted.returncode == 0, deleted.stderr
    assert "customers +1 -0" in deleted.stderr
    assert (after["freed_by"], after["freed_why"]) == ("ada", "looked at")
    assert [one["token"] for one in cleared["kept"] if one["freed_at"] is not None] == []
