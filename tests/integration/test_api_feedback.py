"""Labels over the API and on the command line: one or many, from files and databases, and what becomes of each."""

import json
import sqlite3

import pytest
from api_rig import control_plane
from click.testing import CliRunner

from lastgood.cli.main import root
from lastgood.domain.kpi import Cursor
from lastgood.domain.prediction import Prediction
from lastgood.predictions.outcomes import LoggedOutcomes

ANSWER = (
    b'{"outputs":[{"name":"label","datatype":"INT64","shape":[2],"data":[0,1]},'
    b'{"name":"score","datatype":"FP64","shape":[2],"data":[0.2,0.9]}]}'
)


def made(name: str) -> Prediction:
    return Prediction(
        id=name,
        at=1_700_000_000.0,
        deployment="churn",
        model="churn",
        version=2,
        role="candidate",
        status=200,
        seconds=0.01,
        release=7,
        stage=0,
        arm="candidate",
        answer=ANSWER,
    )


@pytest.fixture
def rig(tmp_path):
    with control_plane(tmp_path) as opened:
        opened.services.predictions.add([made("a"), made("b")])
        yield opened


def outcomes(rig):
    return LoggedOutcomes(rig.services.answered).outcomes(7, Cursor(), made_until=2e9, limit=100)[0]


def post(rig, body):
    return rig.client.post("/api/v1/feedback", json=body)


def run(rig, *arguments):
    return CliRunner().invoke(root, ["feedback", *map(str, arguments), "--home", rig.services.settings.home])


def test_one_label_or_many_each_with_its_fate(rig):
    """One object and a list are both taken; each label is told what became of it, in order."""
    one = post(rig, {"id": "a", "value": 1})
    assert (one.status_code, one.json()["labels"]) == (
        200,
        [{"id": "a", "row": 0, "fate": "joined", "why": ""}],
    )
    labels = [
        {"id": "a", "value": "1"},
        {"id": "b", "value": True, "row": 1, "at": "2023-11-15T00:00:00+00:00"},
        {"id": "c", "value": 0.5},
        {"id": "b", "value": None},
        {"id": "b", "value": 1, "at": "yesterday"},
    ]
    many = post(rig, labels).json()
    assert [found["fate"] for found in many["labels"]] == [
        "duplicate",
        "joined",
        "unknown",
        "refused",
        "refused",
    ]
    assert many["counts"] == {"joined": 1, "unknown": 1, "duplicate": 1, "expired": 0, "refused": 2}
    assert [(one.value, one.answer) for one in outcomes(rig)] == [
        (1, {"label": 0, "score": 0.2}),
        (True, {"label": 1, "score": 0.9}),
    ]


@pytest.mark.parametrize(
    "body", [{"id": "a"}, [{"value": 1}], {"id": 5, "value": 1}, {"id": "a", "value": 1, "x": 2}]
)
def test_what_is_no_label_is_refused_whole(rig, body):
    """A body of another shape is 400, and nothing of it is kept."""
    assert post(rig, body).status_code == 400
    assert outcomes(rig) == []


def test_the_document_of_the_api_says_one_or_many(rig):
    """A client made from OpenAPI may send either."""
    operation = rig.get("openapi.json").json()["paths"]["/api/v1/feedback"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert [next(iter(option)) for option in schema["anyOf"]] == ["$ref", "type"]


def test_audit_says_what_turned_out_to_be_true(rig):
    """A request is shown with the labels of its rows."""
    post(rig, [{"id": "a", "value": 1}, {"id": "a", "value": "fraud", "row": 1}])
    assert [(one["row"], one["value"]) for one in rig.get("predictions", id="a").json()["labels"]] == [
        (0, 1),
        (1, "fraud"),
    ]
    arguments = ["audit", "--request", "a", "--home", rig.services.settings.home]
    text = CliRunner().invoke(root, arguments).output
    assert "  label      1, known" in text
    assert "  label      row 1: fraud, known" in text


def test_labels_of_a_csv_file_with_names_of_its_own(rig, tmp_path):
    """Columns may have any name; running it again finds only duplicates."""
    file = tmp_path / "labels.csv"
    file.write_text("order,fraud,line,seen\na,1,0,2023-11-15\nb,0,1,\nzz,1,,\nb,,0,\n")
    names = ("--id-column", "order", "--value-column", "fraud", "--row-column", "line", "--at-column", "seen")
    first = run(rig, file, *names)
    assert first.exit_code == 0, first.output
    assert first.stdout.splitlines()[0] == "4 labels: 2 joined, 1 unknown, 1 refused."
    again = json.loads(run(rig, file, *names, "--json").stdout)
    assert again["counts"] == {"joined": 0, "unknown": 0, "duplicate": 3, "expired": 0, "refused": 1}
    assert [one["id"] for one in again["refused"]] == ["b"]
    assert [one.value for one in outcomes(rig)] == ["1", "0"]


def test_a_label_without_an_id_is_told_so(rig, tmp_path):
    """One label is one label, and what has no id is not called by an empty name."""
    file = tmp_path / "labels.csv"
    file.write_text("id,value\n,1\n")
    done = run(rig, file)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == "1 label: 1 refused."
    assert done.stdout.splitlines()[1].startswith("  refused (no id) row 0: ")


def test_labels_of_a_parquet_file(rig, tmp_path):
    """Numbers and times keep their types."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        pyarrow.table({"id": ["a", "b"], "value": [1, 0], "row": [0, 1]}), tmp_path / "l.parquet"
    )
    assert run(rig, tmp_path / "l.parquet").exit_code == 0
    assert [one.value for one in outcomes(rig)] == [1, 0]


def test_labels_of_a_database(rig, tmp_path, monkeypatch):
    """A query of the operator's own gives them, from where the environment says."""
    with sqlite3.connect(tmp_path / "orders.db") as orders:
        orders.execute("CREATE TABLE chargebacks (order_id TEXT, fraud REAL)")
        orders.executemany("INSERT INTO chargebacks VALUES (?, ?)", [("a", 1.0), ("b", 0.0), ("new", 1.0)])
    monkeypatch.setenv("ORDERS_URL", f"sqlite:///{tmp_path / 'orders.db'}")
    (tmp_path / "lastgood.toml").write_text(
        '[feedback.orders]\nurl = "env:ORDERS_URL"\nquery = "SELECT order_id AS id, fraud AS value FROM chargebacks"\n'
        '[feedback.broken]\nurl = "env:ORDERS_URL"\nquery = "SELECT oops FROM nowhere"\n'
    )
    arguments = ["feedback", "--home", str(tmp_path), "--json", "--from"]
    home = tmp_path / ".lastgood"
    assert not home.exists()
    first = json.loads(CliRunner().invoke(root, [*arguments, "orders"]).stdout)
    assert first["counts"]["unknown"] == 3
    again = json.loads(CliRunner().invoke(root, [*arguments, "orders"]).stdout)
    assert again["counts"]["duplicate"] == 3
    broken = CliRunner().invoke(root, [*arguments, "broken"])
    assert (broken.exit_code, json.loads(broken.stderr)["code"]) == (2, "invalid")
    assert "no such table" in json.loads(broken.stderr)["error"]
    unknown = CliRunner().invoke(root, [*arguments, "elsewhere"])
    assert "broken, orders" in json.loads(unknown.stderr)["error"]


@pytest.mark.parametrize(
    ("content", "said"),
    [("key,value\na,1\n", "no column 'id'"), ("id;value\na;1\n", "no column 'id'")],
)
def test_a_file_with_other_columns_is_told_so(rig, tmp_path, content, said):
    """The columns that there are, and the option that names them."""
    (tmp_path / "labels.csv").write_text(content)
    found = run(rig, tmp_path / "labels.csv")
    assert found.exit_code == 2
    assert said in found.stderr
    assert "--id-column" in found.stderr


def test_neither_file_nor_source_is_a_usage_error(rig):
    """One of them, and not both."""
    assert run(rig).exit_code == 2
    assert run(rig, "labels.csv", "--from", "x").exit_code == 2
