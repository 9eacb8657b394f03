"""What Prometheus is told."""

import pytest
from api_rig import STEPS, control_plane
from prometheus_client.parser import text_string_to_metric_families

from lastgood.domain.feedback import GivenLabel
from lastgood.domain.prediction import Prediction
from lastgood.domain.traffic import ArmCounts, Counter
from lastgood.errors import Code, LastgoodError
from lastgood.web.metrics import Totals, histogram
from lastgood.wire.reports import VersionTotals, WorkerReport, write_report


@pytest.fixture
def rig(tmp_path):
    with control_plane(tmp_path) as opened:
        opened.stable("v1.0")
        yield opened


def report(rig, *, slot=0, epoch=1, sequence=1, requests):
    """Write what a worker life has counted."""
    counts = ArmCounts(requests=requests, errors=1, timeouts=1, invalid=2, latency={128: requests}, keyed=1)
    counts.counters["low_confidence"] = Counter(total=requests, bad=2)
    totals = VersionTotals(
        deployment="churn", model="churn", version=1, role="stable", counts=counts, fallbacks={"timeout": 1}
    )
    write_report(
        rig.services.settings.run / "reports",
        WorkerReport(slot=slot, pid=1, epoch=epoch, sequence=sequence, written_at=0.0, totals=[totals]),
    )


def scrape(rig):
    """Return every sample as {(name, labels): value}, parsed as Prometheus does."""
    text = rig.client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples, name, **labels):
    return next(
        found
        for (known, have), found in samples.items()
        if known == name and labels.items() <= dict(have).items()
    )


def test_counts_of_all_lives_add_up(rig):
    """A worker that restarts keeps its old counts in the sum, by version and role."""
    report(rig, requests=10)
    report(rig, slot=1, requests=5)
    report(rig, epoch=2, requests=3)

    samples = scrape(rig)

    labels = {"deployment": "churn", "model": "churn", "version": "1", "role": "stable"}
    assert value(samples, "lastgood_requests_total", **labels) == 18
    assert value(samples, "lastgood_errors_total", **labels) == 3
    assert value(samples, "lastgood_invalid_outputs_total", **labels) == 6
    assert value(samples, "lastgood_timeouts_total", **labels) == 3
    assert value(samples, "lastgood_fallbacks_total", reason="timeout") == 3
    assert value(samples, "lastgood_keyed_requests_total", **labels) == 3
    own = labels | {"counter": "low_confidence"}
    assert value(samples, "lastgood_counter_total", **own) == 18
    assert value(samples, "lastgood_counter_bad_total", **own) == 6
    assert value(samples, "lastgood_request_duration_seconds_count", **labels) == 18


def test_counters_never_go_back(rig):
    """When a dead worker's report is removed its counts stay, and an older report changes nothing."""
    report(rig, requests=10, sequence=7)
    assert value(scrape(rig), "lastgood_requests_total") == 10

    report(rig, requests=4, sequence=3)
    assert value(scrape(rig), "lastgood_requests_total") == 10
    rig.services.reports.forget(0, 1)
    report(rig, epoch=2, requests=1)

    assert value(scrape(rig), "lastgood_requests_total") == 11


def life(*, slot=0, epoch=1, requests):
    """Return a report of a worker's life that also refused one request and left one unanswered."""
    counts = ArmCounts(requests=requests, latency={128: requests})
    totals = VersionTotals(deployment="churn", model="churn", version=1, role="stable", counts=counts)
    return WorkerReport(
        slot=slot,
        pid=1,
        epoch=epoch,
        sequence=1,
        written_at=0.0,
        totals=[totals],
        bad_requests=1,
        unanswered=1,
    )


def test_lives_that_ended_cost_no_memory_and_lose_no_count():
    """After a thousand restarts one life is remembered, and the sums hold them all, each once."""
    totals = Totals()
    for epoch in range(1, 1001):
        totals.add([life(epoch=epoch, requests=3), life(slot=1, epoch=7, requests=5)])

    (part,) = totals.add([life(epoch=1000, requests=4)])
    again = totals.add([life(epoch=1000, requests=4), life(epoch=999, requests=3)])

    assert totals.lives == 1
    assert (part.counts.requests, part.counts.latency) == (999 * 3 + 4 + 5, {128: 999 * 3 + 4 + 5})
    assert again == [part]
    assert (totals.plain("bad_requests"), totals.plain("unanswered")) == (1001, 1001)


def test_releases_hosts_and_routes_are_told(rig):
    """The phase, the weight, the hosts and the route generation are there while a release is under way."""
    rig.register("v1.1")
    release = str(rig.post("releases", model="churn", version="v1.1", plan=STEPS).json()["id"])
    rig.drive()

    samples = scrape(rig)

    assert (
        value(samples, "lastgood_release_phase", deployment="churn", phase="progressing", release=release)
        == 1
    )
    assert value(samples, "lastgood_release_weight_ratio", release=release) == 0.1
    assert value(samples, "lastgood_host_up", model="churn", version="2") == 1
    assert value(samples, "lastgood_route_generation") == rig.services.router.generation()
    assert value(samples, "lastgood_gateway_workers") == 0
    assert value(samples, "lastgood_events_total") == len(rig.get("events").json()["events"])


def test_predictions_without_a_label_are_told_for_each_arm(rig):
    """Of a release whose guardrails need labels, however many of them do; of others nothing is told."""
    rig.register("v1.1")
    plan = (
        STEPS
        + "guardrails:\n"
        + "".join(
            f"  - metric: {metric}\n    positive: 1\n    margin: 2pp\n" for metric in ("recall", "precision")
        )
    )
    release = rig.post("releases", model="churn", version="v1.1", plan=plan).json()["id"]
    rig.drive()
    answered = {
        "deployment": "churn",
        "model": "churn",
        "status": 200,
        "seconds": 0.1,
        "release": release,
        "stage": 0,
    }
    for number, arm in enumerate(("candidate", "candidate", "stable")):
        made = Prediction(id=f"p{number}", at=1.0, version=2, role=arm, arm=arm, **answered)
        rig.services.predictions.add([made])
    rig.services.feedback.take([GivenLabel(id="p0", value=1)])
    samples = scrape(rig)
    told = {"deployment": "churn", "release": str(release)}
    assert value(samples, "lastgood_predictions_pending", arm="candidate", **told) == 1
    assert value(samples, "lastgood_predictions_pending", arm="stable", **told) == 1
    assert sum(name == "lastgood_predictions_pending" for name, _ in samples) == 2


def test_a_store_that_is_away_takes_only_its_own_metrics(rig, monkeypatch):
    """The gateways' counts are served without the store, and its absence is a metric."""
    report(rig, requests=10)

    def fail():
        raise LastgoodError(Code.STORAGE, "The disk is gone.", "")

    monkeypatch.setattr(rig.services.views, "deployments", fail)

    samples = scrape(rig)

    assert value(samples, "lastgood_store_up") == 0
    assert value(samples, "lastgood_requests_total") == 10


def test_the_histogram_is_exact_at_its_bounds():
    """A latency is counted under every bound above its bucket and under none below, and the sum is near."""
    buckets, total = histogram({127: 3, 128: 2, 400: 1})  # just under and just over 256 us; and beyond 8.4 s

    counts = dict(buckets)
    assert counts["0.000256"] == 3
    assert counts["0.000512"] == 5
    assert counts["8.388608"] == 5
    assert counts["+Inf"] == 6
    assert total == pytest.approx(2**25 / 1e6, rel=0.05)
