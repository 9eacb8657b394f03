"""First bad requests by key: what is counted, listed, and found no room."""

from hypothesis import given
from hypothesis import strategies as st

from lastgood.domain.deployment import Role
from lastgood.domain.traffic import MAX_KEYS, Firsts
from lastgood.gateway.firsts import FirstBad
from lastgood.gateway.tally import bucket_of
from lastgood.gateway.telemetry import KEYS_KEPT, Telemetry

REQUESTS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60)


@given(REQUESTS, REQUESTS)
def test_nothing_of_a_key_counts_after_its_first_bad_request(earlier, later):
    """Over two stages, requests less repeats and bad ones less repeated ones are what a look at the list gives."""
    seen = {}
    stages = [FirstBad(seen), FirstBad(seen)]
    failed, trials, bad = set(), [0, 0], [0, 0]
    for number, requests in enumerate((earlier, later)):
        for key, is_bad in requests:
            stages[number].count(key, ("errors",) if is_bad else (), ())
            if key not in failed:
                trials[number] += 1
                bad[number] += is_bad
            if is_bad:
                failed.add(key)

    for number, requests in enumerate((earlier, later)):
        first = stages[number].copies().get("errors", Firsts())
        assert len(requests) - first.repeats == trials[number]
        assert first.bad == sum(is_bad for _, is_bad in requests)
        assert len(first.keys) == len(set(first.keys)) == bad[number]
        assert first.unlisted == 0


def test_metrics_are_apart():
    """A timeout is an error too, an invalid output is not, and a counter has firsts of its own."""
    firsts = FirstBad({})
    firsts.count(1, ("errors", "timeouts"), ())
    firsts.count(2, ("invalid_output",), ())
    firsts.count(1, (), (("low", True), ("old", False)))
    firsts.count(1, (), (("low", False),))
    firsts.count(2, ("errors",), ())
    found = {
        metric: (one.bad, one.repeats, one.keys, one.unlisted) for metric, one in firsts.copies().items()
    }

    assert found == {
        "errors": (2, 2, [1, 2], 0),
        "timeouts": (1, 2, [1], 0),
        "invalid_output": (1, 1, [2], 0),
        "counter:low": (1, 1, [1], 0),
    }


def test_keys_beyond_the_list_are_counted_and_repeat_all_the_same():
    """The list is bounded; a key without room counts once as unlisted, and its next request is a repeat."""
    firsts = FirstBad({})
    for key in range(MAX_KEYS + 3):
        firsts.count(key, ("errors",), ())
    firsts.count(MAX_KEYS + 1, ("errors",), ())
    found = firsts.copies()["errors"]

    assert (len(found.keys), found.unlisted, found.repeats, found.bad) == (MAX_KEYS, 3, 1, MAX_KEYS + 4)


def test_a_report_keeps_its_numbers_while_counting_goes_on():
    """A report is compared with the next one, so it shares nothing with what is still counted."""
    telemetry = Telemetry(slot=0, pid=1, epoch=2)
    tally = telemetry.staged(telemetry.outside("d", "m", 2, Role.CANDIDATE), 5, 1)
    tally.firsts.count(1, ("errors",), ())
    tally.count("low", True)
    before = telemetry.report(written_at=1.0, in_flight=0)
    tally.firsts.count(2, ("errors",), ())
    tally.count("low", False)
    after = telemetry.report(written_at=1.0, in_flight=0)

    assert before.stages[0].candidate.firsts["errors"].keys == [1]
    assert after.stages[0].candidate.firsts["errors"].keys == [1, 2]
    assert [(one.total, one.bad) for one in before.stages[0].candidate.counters.values()] == [(1, 1)]
    assert before.stages != after.stages


def test_a_later_stage_remembers_the_keys_of_an_earlier_one_but_not_the_other_arms():
    """Keys are remembered for each arm of a release, over its stages."""
    telemetry = Telemetry(slot=0, pid=1, epoch=2)
    candidate = telemetry.outside("d", "m", 2, Role.CANDIDATE)
    stable = telemetry.outside("d", "m", 1, Role.STABLE)
    telemetry.staged(candidate, 5, 0).firsts.count(1, ("errors",), ())
    for outside in (candidate, stable):
        telemetry.staged(outside, 5, 1).firsts.count(1, ("errors",), ())
    stages = {stage.stage: stage for stage in telemetry.report(written_at=1.0, in_flight=0).stages}

    assert (stages[1].candidate.firsts["errors"].repeats, stages[1].candidate.firsts["errors"].keys) == (
        1,
        [],
    )
    assert (stages[1].stable.firsts["errors"].repeats, stages[1].stable.firsts["errors"].keys) == (0, [1])


def test_only_the_newest_of_the_releases_that_are_over_still_list_keys():
    """Old lists leave the report, which stays small; the other counts stay."""
    telemetry = Telemetry(slot=0, pid=1, epoch=2)
    outside = telemetry.outside("d", "m", 1, Role.CANDIDATE)
    for release in range(1, 21):
        tally = telemetry.staged(outside, release, 0)
        tally.add(bucket_of(5_000), ())
        tally.firsts.count(release, ("errors",), ())
    telemetry.forget_others(frozenset({20}))
    stages = telemetry.report(written_at=1.0, in_flight=0).stages

    assert [stage.release for stage in stages if stage.candidate.firsts] == list(range(20 - KEYS_KEPT, 21))
    assert sum(stage.candidate.requests for stage in stages) == 20
