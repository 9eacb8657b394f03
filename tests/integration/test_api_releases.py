"""Releasing, steering and rolling back over the control API, on the real services."""

import threading

import pytest
from api_rig import STEPS, control_plane


@pytest.fixture
def rig(tmp_path):
    with control_plane(tmp_path) as opened:
        opened.stable("v1.0")
        yield opened


def begin(rig, label="v1.1", plan=STEPS):
    """Start a release and let it go to its first step."""
    number = rig.register(label)
    answer = rig.post("releases", model="churn", version=label, plan=plan)
    assert answer.status_code == 201, answer.text
    rig.drive()
    return number, answer.json()["id"]


def phase(rig, release):
    return rig.get(f"releases/{release}").json()["phase"]


def test_a_release_is_steered_to_its_end(rig):
    """Pause, resume, promote, approve and full promotion each answer with the release as it is then."""
    _, release = begin(rig)
    assert phase(rig, release) == "progressing"

    assert rig.post("deployments/churn/pause", reason="lunch").json()["phase"] == "paused"
    assert rig.post("deployments/churn/resume").json()["phase"] == "progressing"
    assert rig.post("deployments/churn/promote").status_code == 200
    rig.drive()
    assert rig.get(f"releases/{release}").json()["waiting"].startswith("Ask somebody")
    assert rig.post("deployments/churn/resume").json()["code"] == "conflict"
    assert rig.post("deployments/churn/approve").json()["step"] == 3
    assert rig.post("deployments/churn/promote", full=True).json()["phase"] == "promoting"
    rig.drive()
    assert phase(rig, release) == "watching"
    assert rig.get("deployments/churn").json()["stable"]["label"] == "v1.1"


def test_a_second_pause_says_that_it_is_held_and_advises_no_rollback(rig):
    """Pausing what is paused is a conflict whose way out is to look, not to leave the release."""
    begin(rig)
    rig.post("deployments/churn/pause")

    again = rig.post("deployments/churn/pause").json()

    assert "held already" in again["error"]
    assert "lastgood status churn" in again["next"]
    assert "rollback" not in again["next"]


def test_a_rollback_answers_when_it_is_a_fact(rig):
    """The answer names what serves, and the store, the tag and the record agree with it."""
    number, release = begin(rig)

    answer = rig.post("deployments/churn/rollback", reason="wrong rows").json()

    assert (answer["changed"], answer["label"], answer["left"], answer["failed"]) == (
        True,
        "v1.0",
        number,
        True,
    )
    assert phase(rig, release) == "rolled_back"
    version = rig.get(f"models/churn/versions/{number}").json()
    assert version["failed"]["cause"].endswith("wrong rows")
    again = rig.post("releases", model="churn", version=number)
    assert (again.status_code, again.json()["code"]) == (422, "refused")


def test_a_rollback_to_what_serves_changes_nothing(rig):
    """Asking for the version that serves already is no event and no error."""
    before = rig.get("events").json()

    answer = rig.post("deployments/churn/rollback", version="v1.0")

    assert (answer.status_code, answer.json()["changed"]) == (200, False)
    assert rig.get("events").json() == before


def test_an_abort_blames_nobody(rig):
    """After an abort the version may be released again."""
    number, release = begin(rig)

    assert rig.post("deployments/churn/abort", reason="not today").status_code == 200

    assert phase(rig, release) == "aborted"
    assert rig.get(f"models/churn/versions/{number}").json()["failed"] is None
    assert rig.post("releases", model="churn", version=number).status_code == 201


@pytest.mark.parametrize("command", ["promote", "pause", "resume", "approve", "abort"])
def test_steering_without_a_release_is_a_conflict(rig, command):
    """A command on a release that is not there says so with 409."""
    answer = rig.post(f"deployments/churn/{command}")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_two_releases_at_once_are_a_conflict(rig):
    """One deployment has one release under way."""
    begin(rig)
    rig.register("v1.2")

    answer = rig.post("releases", model="churn", version="v1.2")

    assert answer.status_code == 409


def test_the_past_is_answered(rig):
    """History, the state at a moment and the events tell the same story."""
    since = rig.get("deployments/churn/history").json()["stable"][0]["since"]

    during = rig.get("deployments/churn/at", time=f"{since + 0.001:.6f}").json()
    before = rig.get("deployments/churn/at", time=f"{since - 1:.6f}").json()
    events = rig.get("events", deployment="churn").json()["events"]

    assert during["stable"]["version"]["label"] == "v1.0"
    assert before["stable"] is None
    assert events[0]["type"] == "lastgood.release.requested"
    assert rig.get("events", newest_first="true", limit=1).json()["events"][0] == events[-1]


def test_versions_say_what_they_do(rig):
    """The list of versions names what is stable, and a diff marks what differs."""
    rig.register("v1.1")

    listed = rig.get("models/churn/versions").json()["versions"]
    facts = rig.get("models/churn/diff", first="1", second="v1.1").json()["facts"]

    assert rig.get("models").json() == {"models": ["churn"]}
    assert [(one["label"], one["serving"]) for one in listed] == [("v1.1", []), ("v1.0", ["stable in churn"])]
    assert {fact["name"] for fact in facts if fact["differs"]} >= {"number", "label", "artifact"}


def test_a_rollback_does_not_queue_behind_questions(rig, monkeypatch):
    """With every ordinary thread stuck, a rollback is still answered."""
    gate, waiting, answers = threading.Event(), threading.Semaphore(0), []

    def hang():
        waiting.release()
        gate.wait()
        return []

    monkeypatch.setattr(rig.services.registry, "models", hang)
    begin(rig)
    callers = [threading.Thread(target=rig.get, args=("models",)) for _ in range(40)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(16):
            assert waiting.acquire(timeout=60)
        asking = threading.Thread(
            target=lambda: answers.append(rig.post("deployments/churn/rollback").json()["label"])
        )
        callers.append(asking)
        asking.start()
        asking.join(60)
        assert answers == ["v1.0"]
    finally:
        gate.set()
        for caller in callers:
            caller.join(30)


def test_a_stuck_deployment_blocks_no_other_ones_rollback(rig, monkeypatch):
    """Two callers may wait for one deployment; further ones are told so at once, and others are served."""
    gate, entered, answers = threading.Event(), threading.Semaphore(0), []
    roll_back = rig.services.releases.roll_back

    def hang(name, **given):
        if name == "stuck":
            entered.release()
            gate.wait()
        return roll_back("churn", **given)

    monkeypatch.setattr(rig.services.releases, "roll_back", hang)
    begin(rig)
    callers = [
        threading.Thread(target=rig.post, args=("deployments/stuck/rollback",), daemon=True) for _ in range(2)
    ]
    for caller in callers:
        caller.start()
    try:
        assert all(entered.acquire(timeout=60) for _ in callers)
        further = [rig.post(f"deployments/stuck/{command}") for command in ("rollback", "abort") * 5]
        answers = [(answer.status_code, answer.json()["code"]) for answer in further]
        other = rig.post("deployments/churn/rollback")
    finally:
        gate.set()
        for caller in callers:
            caller.join(30)

    assert answers == [(409, "conflict")] * 10
    assert "already being waited for" in further[0].json()["error"]
    assert other.json()["label"] == "v1.0"
    assert rig.post("deployments/stuck/rollback").json()["code"] == "refused"  # its place is free again


def test_a_plan_may_not_post_to_other_machines(rig):
    """A plan that names a foreign webhook is refused with 403, and nothing begins."""
    rig.register("v1.1")
    before = rig.get("events").json()

    answer = rig.post(
        "releases", model="churn", version="v1.1", plan="notify: [{webhook: 'http://169.254.169.254/x'}]"
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "untrusted")
    assert "169.254.169.254" in answer.json()["error"]
    assert rig.get("events").json() == before


def test_a_release_shows_its_baseline_and_takes_a_question_for_its_evidence(rig):
    """Without the question the intervals are left out; what else is asked is refused."""
    _, release = begin(rig)

    plain = rig.get(f"releases/{release}").json()
    assert plain["baseline"]["units"] == "requests"
    assert plain["baseline"]["why"]
    assert "latency" not in plain["baseline"]
    assert plain["tries"] == 0
    for path in (f"releases/{release}", "deployments/churn", "deployments"):
        assert rig.get(path, evidence="true").status_code == 200
        assert rig.get(path, evidence="perhaps").json()["code"] == "invalid"
        assert rig.get(path, proof="true").json()["code"] == "invalid"
