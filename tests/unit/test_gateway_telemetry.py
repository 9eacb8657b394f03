"""What a worker counts, and how it is rendered."""

from math import log2

from hypothesis import given
from hypothesis import strategies as st

from lastgood.domain.deployment import Role
from lastgood.gateway.tally import bucket_of
from lastgood.gateway.telemetry import STAGES_KEPT, Telemetry


@given(st.integers(1, 10**13))
def test_a_bucket_holds_its_latency(nanoseconds):
    """Bucket b holds latencies from 2**(b/16) to 2**((b+1)/16) microseconds; less than one is in the first."""
    bucket = bucket_of(nanoseconds)
    position = max(log2(nanoseconds / 1000), 0) * 16

    assert bucket - 1e-6 <= position <= bucket + 1 + 1e-6


def test_requests_are_the_measured_and_the_unmeasured():
    """The number of requests needs no counter of its own."""
    telemetry = Telemetry(slot=0, pid=1, epoch=2)
    tally = telemetry.staged(telemetry.outside("d", "m", 2, Role.CANDIDATE), 5, 1)
    tally.add(bucket_of(2_000), ())
    tally.add(bucket_of(2_000), ())
    tally.add(None, ())
    tally.errors += 1
    report = telemetry.report(written_at=1.0, in_flight=0)
    (stage,) = report.stages

    assert (stage.release, stage.stage, stage.stable.requests) == (5, 1, 0)
    assert (stage.candidate.requests, stage.candidate.errors, stage.candidate.latency) == (3, 1, {16: 2})
    assert [(total.role, total.counts.requests) for total in report.totals] == [("candidate", 3)]


def test_a_watched_version_counts_as_the_candidate_and_serves_as_stable():
    """The stage has it in the candidate's arm, the totals in the role that it has."""
    telemetry = Telemetry(slot=0, pid=1, epoch=2)
    outside = telemetry.outside("d", "m", 2, Role.STABLE)
    tally = telemetry.watched(outside, 5, 3)
    tally.add(bucket_of(2_000), ())
    assert telemetry.watched(outside, 5, 3) is tally
    report = telemetry.report(written_at=1.0, in_flight=0)

    assert [(one.stage, one.candidate.requests, one.stable.requests) for one in report.stages] == [(3, 1, 0)]
    assert [(total.role, total.counts.requests) for total in report.totals] == [("stable", 1)]


def test_totals_of_a_version_join_what_is_in_a_release_and_what_is_not():
    """The same version and role is one row of totals, fallbacks summed by reason."""
    telemetry = Telemetry(slot=0, pid=1, epoch=2)
    outside = telemetry.outside("d", "m", 1, Role.STABLE)
    staged = telemetry.staged(outside, 5, 1)
    for tally in (outside, staged):
        tally.add(None, ())
        tally.fell_back("timeout")
    (total,) = telemetry.report(written_at=1.0, in_flight=0).totals

    assert (total.counts.requests, total.fallbacks) == (2, {"timeout": 2})


def test_old_stages_leave_the_report_and_stay_in_the_totals():
    """A worker that has seen thousands of stages still writes a small report and loses no count."""
    telemetry = Telemetry(slot=0, pid=1, epoch=2)
    outside = telemetry.outside("d", "m", 1, Role.CANDIDATE)
    for release in range(1, 1001):
        telemetry.staged(outside, release, 0).add(bucket_of(5_000), ())
        telemetry.forget_others(frozenset({release}))
    report = telemetry.report(written_at=1.0, in_flight=0)

    assert len(report.stages) <= 2 * STAGES_KEPT
    assert report.stages[-1].release == 1000
    assert report.totals[0].counts.requests == 1000
