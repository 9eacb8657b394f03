"""Who may call the control API, and what is answered to calls that do not fit."""

import time

import pytest
from api_rig import control_plane

from lastgood.web.auth import host_is_ours

COMMANDS = ("rollback", "promote", "pause", "resume", "approve", "abort")


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    with control_plane(tmp_path_factory.mktemp("api")) as opened:
        opened.stable("v1.0")
        yield opened


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic wrong", "Bearer \u00e9"])
@pytest.mark.parametrize("path", ["models", "openapi.json", "deployments/churn", "nothing-here"])
def test_the_api_is_closed_without_the_token(rig, header, path):
    """Every path below /api/v1 refuses a caller without the token, whether or not it exists."""
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    client = type(rig.client)(rig.client.app, base_url="http://127.0.0.1")

    answer = client.get(f"/api/v1/{path}", headers=headers)

    assert answer.status_code == 401
    assert answer.json()["code"] == "untrusted"


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_health_and_metrics_are_open(rig, path):
    """Probes and Prometheus need no token."""
    client = type(rig.client)(rig.client.app, base_url="http://127.0.0.1")
    rig.services.controller.turn()

    assert client.get(path).status_code == 200


def test_health_follows_the_controllers_turns(rig, monkeypatch):
    """503 before the first turn and once the last good one is too long ago, with the reason; 200 in between."""
    controller = rig.services.controller
    answers = {}
    for case, last in (("never", 0.0), ("late", time.monotonic() - 2.5), ("now", time.monotonic())):
        monkeypatch.setattr(controller, "last_turn", last)
        answers[case] = rig.client.get("/health")

    assert {case: answer.status_code for case, answer in answers.items()} == {
        "never": 503,
        "late": 503,
        "now": 200,
    }
    assert "first turn" in answers["never"].json()["why"]
    assert "2.5 s ago (limit 2 s)" in answers["late"].json()["why"]
    assert answers["now"].json()["status"] == "ok"


def test_health_names_a_deployment_that_cannot_be_driven_and_not_why(rig, monkeypatch):
    """The answer is open to all, so the reason, which may hold a path, stays in the log."""
    rig.services.controller.turn()
    monkeypatch.setattr(rig.services.controller, "trouble", {"churn": "a secret path"})

    answer = rig.client.get("/health")

    assert (answer.status_code, answer.json()["trouble"]) == (200, ["churn"])
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/health", "/metrics", "/api/v1/models"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", "", "8.8.8.8"]
)
def test_a_foreign_host_header_is_refused_everywhere(rig, path, host):
    """A web page that rebinds its name to this machine gets nothing, not even with the token."""
    answer = rig.client.get(path, headers={"host": host})

    assert answer.status_code == 421


@pytest.mark.parametrize(
    ("header", "configured", "ours"),
    [
        ("localhost:8001", "127.0.0.1", True),
        ("127.0.0.1:8001", "127.0.0.1", True),
        ("[::1]:8001", "127.0.0.1", True),
        ("Control.Example:80", "control.example", True),
        ("10.0.0.7:8001", "0.0.0.0", True),
        ("10.0.0.7:8001", "127.0.0.1", False),
        ("rebound.example", "0.0.0.0", False),
        ("[not-an-address", "127.0.0.1", False),
    ],
)
def test_which_hosts_are_ours(header, configured, ours):
    """Loopback and the configured host are ours; any literal address only where all addresses are served."""
    assert host_is_ours(header, configured) is ours


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "actor"),
        (b'{"actor": ""}', "$.actor"),
        (b'{"actor": 7}', "$.actor"),
        (b'{"actor": "me", "unknown": 1}', "unknown"),
    ],
)
def test_a_body_that_does_not_fit_is_400_and_says_where(rig, command, body, says):
    """Each command refuses a malformed body with the place of what is wrong, and changes nothing."""
    before = rig.get("events").json()

    answer = rig.client.post(f"/api/v1/deployments/churn/{command}", content=body)

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid"
    assert says in answer.json()["error"]
    assert rig.get("events").json() == before


@pytest.mark.parametrize(
    "body",
    [
        {"actor": "me\nevent 9"},
        {"actor": "\x1b[2K"},
        {"actor": "x" * 201},
        {"reason": "fine\r\nevent 9"},
        {"reason": "x" * 2001},
    ],
)
def test_text_that_could_forge_the_record_is_400(rig, body):
    """Control characters and too much text are refused in a command, and nothing changes."""
    before = rig.get("events").json()

    answer = rig.post("deployments/churn/rollback", **body)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert rig.get("events").json() == before


def test_a_version_beyond_every_number_is_404(rig):
    """A rollback to version 10**22 names the versions there are."""
    answer = rig.post("deployments/churn/rollback", version=10**22)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"model": "churn"}, "version"),
        ({"model": "churn", "version": 1, "override": "a\x1b[2K"}, "override"),
        ({"model": "churn", "version": 1.5}, "$.version"),
        ({"model": "churn", "version": 2, "strategy": "yolo"}, "$.strategy"),
        ({"model": "churn", "version": 2, "override": ""}, "$.override"),
        ({"model": "churn", "version": 1, "plan": "strategy: canary", "strategy": "canary"}, "Both"),
        ({"model": "churn", "version": 1, "plan": "nonsense: 1", "plan_source": "my.yaml"}, "my.yaml:1"),
    ],
)
def test_a_release_order_that_does_not_fit_is_400(rig, body, says):
    """A release with a wrong field, strategy or plan is refused before anything moves."""
    answer = rig.post("releases", **body)

    assert answer.status_code == 400
    assert says in answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "models/churn/versions?limit=0",
        "models/churn/versions?limit=many",
        "models/churn/versions?colour=red",
        "models/churn/diff?first=1",
        "models?limit=1",
        "deployments/churn/at",
        "deployments/churn/at?time=yesterday",
        "deployments/churn/history?limit=100000",
        "events?after=-1",
        "events?after=9223372036854775808",
        "events?after=1" + "0" * 30,
        "models/churn/versions?before=100000000000000000000",
        "deployments/churn/at?time=99999999999999999999",
        "events?newest_first=perhaps",
        "releases/one",
        "releases/99999999999999999999",
    ],
)
def test_a_query_that_does_not_fit_is_400(rig, path):
    """A wrong, missing or unknown query parameter is refused, never ignored."""
    answer = rig.client.get(f"/api/v1/{path}")

    assert answer.status_code == 400
    assert answer.json()["next"]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("models/fraud/versions", "churn"),
        ("models/churn/versions/v9", "v1.0"),
        ("models/churn/versions/²", "v1.0"),
        ("models/churn/versions/" + "9" * 23, "v1.0"),
        ("deployments/fraud", "churn"),
        ("deployments/fraud/history", "churn"),
        ("deployments/fraud/at?time=2026-11-21", "churn"),
        ("releases/999", "999"),
        ("no/such/place", "/api/v1/no/such/place"),
    ],
)
def test_what_is_not_there_is_404_and_names_what_is(rig, path, names):
    """An unknown name is answered with the known ones."""
    answer = rig.client.get(f"/api/v1/{path}")

    assert answer.status_code == 404
    assert names in answer.json()["error"]


def test_a_wrong_method_is_405(rig):
    """A path that exists says which method it does not take."""
    answer = rig.client.delete("/api/v1/models")

    assert answer.status_code == 405
    assert answer.json()["code"] == "invalid"


def test_a_huge_body_is_413(rig):
    """A body over the limit is refused while it arrives."""
    answer = rig.post("releases", model="churn", version=1, plan="x" * 2_000_000)

    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


def test_a_bug_is_500_and_shows_nothing(rig, monkeypatch, caplog):
    """An unexpected exception is logged, and its text never leaves the machine."""

    def fail():
        raise RuntimeError("a secret path")

    monkeypatch.setattr(rig.services.registry, "models", fail)

    answer = rig.get("models")

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "secret" not in answer.text
    assert "a secret path" in caplog.text


def test_the_openapi_document_names_every_route_and_every_schema(rig):
    """Each route that exists is described, and every reference in the document resolves."""
    document = rig.get("openapi.json").json()

    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    served = {
        (route.path, method)
        for route in rig.client.app.routes
        for method in route.methods - {"HEAD"}
        if route.path.startswith("/api/v1/") and not route.path.endswith("openapi.json")
    }
    assert described == served
    for name in _references(document):
        assert name in document["components"]["schemas"]


def _references(part):
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value.removeprefix("#/components/schemas/")
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)
