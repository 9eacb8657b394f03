"""The prediction log over the API and on the command line: who answered, what was kept, what was dropped."""

import json

import pytest
from api_rig import control_plane
from click.testing import CliRunner

from lastgood.cli.main import root
from lastgood.domain.feedback import GivenLabel
from lastgood.domain.prediction import Copy, Prediction
from lastgood.wire.reports import WorkerReport, write_report

ONE = Prediction(
    id="orders/7",
    also="0190-a",
    at=1_700_000_000.0,
    deployment="churn-eu",
    model="churn",
    version=2,
    role="stable",
    status=200,
    seconds=0.004,
    release=7,
    stage=1,
    arm="candidate",
    key=77,
    fallback="timeout",
    answer_bytes=14,
    answer=b'{"outputs":[]}',
)


@pytest.fixture
def rig(tmp_path):
    with control_plane(tmp_path) as opened:
        yield opened


def test_a_request_is_found_by_either_id(rig):
    """By the path or, for ids that do not fit into one, by the query; the answer is shown as JSON."""
    rig.services.predictions.add([ONE])
    found = rig.get("predictions/0190-a")
    assert found.status_code == 200
    assert found.json() == rig.get("predictions", id="orders/7").json()
    assert found.json()["answer"] == {"outputs": []}
    assert (found.json()["version"], found.json()["arm"], found.json()["inputs"]) == (2, "candidate", None)


def test_a_request_that_is_not_there_is_told_so(rig):
    """404, with the reasons why it may be missing."""
    answer = rig.get("predictions/unknown")
    assert answer.status_code == 404
    assert "keep_predictions" in answer.json()["next"]


def test_what_is_no_json_is_shown_as_text(rig):
    """Inputs that a version refused are kept as they were."""
    rig.services.predictions.add([Prediction(**{**_fields(ONE), "inputs": b"{oops", "status": 400})])
    assert rig.get("predictions/0190-a").json()["inputs"] == "{oops"


def test_a_copy_is_told_beside_the_answer(rig):
    """The API gives what the shadow answered and the slices; the command says both, with its answer as JSON."""
    copy = Copy(version=3, status=200, seconds=0.0024, answer=b'{"outputs":[1]}')
    slices = {"land": ["de", ""], "age": []}
    pair = Prediction(**{**_fields(ONE), "copy": copy, "slices": slices})
    failed = Prediction(
        **{**_fields(ONE), "id": "b", "also": None, "copy": Copy(version=3, status=503, seconds=1.0)}
    )
    rig.services.predictions.add([pair, failed])
    found = rig.get("predictions/0190-a").json()
    assert found["copy"] == {"version": 3, "status": 200, "seconds": 0.0024, "answer": {"outputs": [1]}}
    assert found["slices"] == slices
    home = ["--home", rig.services.settings.home]
    said = CliRunner().invoke(root, ["audit", "--request", "0190-a", *home]).output.splitlines()
    place = said.index("  copy       answered by version 3 as shadow, status 200, in 2.4 ms")
    assert said[place + 1] == '  its answer {"outputs":[1]}'
    assert said[place + 2 : place + 4] == ["  slice      land: de, (unknown)", "  slice      age: (unknown)"]
    said = CliRunner().invoke(root, ["audit", "--request", "b", *home]).output
    assert (
        "  copy       answered by version 3 as shadow, status 503, in 1000.0 ms\n  its answer not kept\n"
        in said
    )


def test_labels_that_wait_are_a_metric(rig):
    """A label of an unknown id waits, one that met its prediction does not; looking makes no log."""
    assert "lastgood_labels_waiting" not in rig.client.get("/metrics").text
    assert not rig.services.settings.prediction_log.exists()
    rig.services.predictions.add([ONE])
    rig.services.feedback.take([GivenLabel(id=one, value=1) for one in ("orders/7", "early", "earlier")])
    assert "\nlastgood_labels_waiting 2.0\n" in rig.client.get("/metrics").text


def test_what_was_dropped_is_told_everywhere(rig):
    """The API, status, doctor and /metrics all say how many answers are in no log."""
    rig.services.predictions.add([ONE])
    folder = rig.services.settings.run / "reports"
    report = WorkerReport(slot=0, pid=1, epoch=1, sequence=1, written_at=1.0, recorded=95, unrecorded=5)
    write_report(folder, report)
    found = rig.get("recording").json()
    assert (found["on"], found["predictions"], found["recorded"], found["dropped"]) == (True, 1, 95, 5)
    scraped = rig.client.get("/metrics").text
    assert "lastgood_predictions_recorded_total 95.0" in scraped
    assert "lastgood_predictions_dropped_total 5.0" in scraped
    home = ["--home", rig.services.settings.home]
    status = json.loads(CliRunner().invoke(root, ["status", "--json", *home]).output)
    assert status["recording"]["dropped"] == 5
    checks = json.loads(CliRunner().invoke(root, ["doctor", "--json", *home]).output)["checks"]
    (said,) = [one for one in checks if one["name"] == "predictions"]
    assert said["state"] == "problem"
    assert said["what"].startswith("5 of 100 answers were dropped")


def test_audit_says_who_answered(rig):
    """Version, role, release, arm and the reason why stable answered, also without a server."""
    rig.services.predictions.add([ONE])
    home = ["--home", rig.services.settings.home]
    text = CliRunner().invoke(root, ["audit", "--request", "orders/7", *home]).output
    assert "by version 2 of churn as stable, status 200, in 4.0 ms" in text
    assert "7, counted for candidate, by key" in text
    assert "timeout" in text
    assert '{"outputs":[]}' in text
    missing = CliRunner().invoke(root, ["audit", "--request", "unknown", *home])
    assert missing.exit_code == 1


def test_a_damaged_log_stops_neither_status_nor_metrics(rig):
    """What serves does not need it: it is said, and the rest is shown."""
    path = rig.services.settings.prediction_log
    path.write_bytes(b"no database at all" * 1000)
    assert rig.get("recording").status_code == 500
    assert rig.client.get("/metrics").status_code == 200
    status = CliRunner().invoke(root, ["status", "--home", rig.services.settings.home])
    assert status.exit_code == 0
    assert "is damaged" in status.output


def _fields(one):
    return {name: getattr(one, name) for name in one.__struct_fields__}
