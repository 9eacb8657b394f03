"""The training reference on the command line: registered from a file, shown, compared, kept, and never changed."""

import json

import pytest
from click.testing import CliRunner

from lastgood.cli.main import root

SIGNATURE = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
}
TRAIN = "age,tenure,label\n30,1,0\n40,2,1\n50,,0\n"


def run(*arguments):
    return CliRunner().invoke(root, list(arguments))


def register(label, *arguments):
    return run(
        "register", "churn", "model.py", "--factory", "model:make", "--signature", "signature.json", "--label", label,
        *arguments,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LASTGOOD_ACTOR", "tester")
    monkeypatch.delenv("LASTGOOD_HOME", raising=False)
    (tmp_path / "model.py").write_text("def make():\n    return None\n")
    (tmp_path / "signature.json").write_text(json.dumps(SIGNATURE))
    (tmp_path / "train.csv").write_text(TRAIN)
    assert run("init").exit_code == 0
    return tmp_path


def reference(label):
    return json.loads(run("show", "churn", label, "--json").stdout)["reference"]


def test_a_reference_is_kept_shown_and_compared(project):
    """Its size is said, its features are whole in the answer, two versions differ in them, and the record stays intact."""
    done = register("v1.0", "--reference", "train.csv", "--without", "label")
    (project / "train.csv").write_text(TRAIN.replace("30", "35"))
    other = register("v1.1", "--reference", "train.csv", "--without", "label")

    assert (done.exit_code, other.exit_code) == (0, 0), done.stderr + other.stderr
    assert "Its reference: 3 rows, 2 features." in done.stdout
    assert "3 rows, 2 features" in run("show", "churn", "v1.0").stdout
    age, tenure = reference("v1.0")["features"]
    assert (age["name"], age["title"], age["values"]) == ("x[0]", "age", ["30", "40", "50"])
    assert (tenure["title"], tenure["missing"]) == ("tenure", pytest.approx(1 / 3))
    facts = json.loads(run("diff", "churn", "v1.0", "v1.1", "--json").stdout)["facts"]
    assert {one["name"] for one in facts if one["differs"]} == {"number", "label", "feature age"}
    assert run("audit", "verify").exit_code == 0


def test_the_file_beside_the_artifact_names_the_reference(project):
    """Nothing has to be typed; what is typed comes first."""
    (project / "lastgood.yaml").write_text("reference: train.csv\nwithout: [label]\n")
    (project / "two.csv").write_text("age,tenure\n1,2\n")
    first, second = register("v1.0"), register("v1.1", "--reference", "two.csv")

    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert (reference("v1.0")["rows"], reference("v1.1")["rows"]) == (3, 1)
    assert json.loads(run("show", "churn", "v1.0", "--json").stdout)["needs"] == {}


def test_a_version_keeps_its_reference(project):
    """The same file again is the same version; another one is refused, and so is a first one for a version without."""
    register("v1.0", "--reference", "train.csv", "--without", "label")
    register("v1.1")
    again = register("v1.0", "--reference", "train.csv", "--without", "label")
    later = register("v1.1", "--reference", "train.csv", "--without", "label")
    (project / "train.csv").write_text(TRAIN + "60,3,1\n")
    other = register("v1.0", "--reference", "train.csv", "--without", "label")

    assert (again.exit_code, json.loads(run("versions", "--json").stdout)) == (0, {"models": ["churn"]})
    for refused in (later, other):
        assert refused.exit_code != 0
        assert "with other reference" in refused.stderr
    assert (reference("v1.0")["rows"], reference("v1.1")) == (3, None)


def test_a_wrong_file_registers_nothing(project):
    """A file that does not fit is told with its place, and there is no version then."""
    (project / "train.csv").write_text("age,tenure\n30,1\nold,2\n")
    wrong = register("v1.0", "--reference", "train.csv")
    alone = register("v1.0", "--without", "label")

    assert wrong.exit_code == alone.exit_code == 2
    assert "train.csv, row 2, column 'age': 'old' is not a number" in wrong.stderr
    assert "--without is of a reference" in alone.stderr
    assert json.loads(run("versions", "--json").stdout)["models"] == []
