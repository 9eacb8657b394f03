"""Keys and the reflex in a real worker. The hosts here are FAKE (see ``gateway_rig``)."""

import threading

import pytest
from gateway_rig import Rig, wait_for

from lastgood.gateway.assignment import hash_of, mark_of, point_of, takes_candidate


@pytest.fixture
def make():
    made = []

    def build(**settings):
        rig = Rig(**settings)
        made.append(rig)
        rig.start_host(1)
        rig.start_host(2)
        return rig

    yield build
    for rig in made:
        rig.close()


def firsts(arm):
    return {
        metric: (one.bad, one.repeats, one.keys, one.unlisted) for metric, one in sorted(arm.firsts.items())
    }


def test_first_bad_requests_by_key_over_two_stages(make):
    """A key's first failure is listed once in the release; what comes after is a repeat, and no key is neither."""
    rig = make()
    rig.publish(rig.route(1, 2, release=9, stage=0))
    rig.reach(1, 2)
    for order in ("error", "hang", "ok"):
        rig.infer({"v2": order}, lastgood_key="ada")
    rig.infer({"v2": "invalid", "parameters": {"key": "ben"}})
    rig.infer({"v2": "counts:low=1"}, lastgood_key="eve")
    rig.infer({"v2": "counts:low=0"})
    rig.publish(rig.route(1, 2, release=9, stage=1))
    for body in ({"v2": "counts:low=0"}, {"v2": "error"}):
        rig.infer(body, lastgood_key="eve")
    rig.infer({"v2": "error"}, lastgood_key="ada")
    report = rig.report()
    first, second = sorted(report.stages, key=lambda stage: stage.stage)
    ada, ben, eve = (mark_of(hash_of(9, key)) for key in (b"ada", b"ben", b"eve"))

    assert (first.candidate.requests, first.candidate.keyed) == (6, 5)
    assert firsts(first.candidate) == {
        "counter:low": (1, 0, [eve], 0),
        "errors": (2, 2, [ada], 0),
        "invalid_output": (1, 0, [ben], 0),
        "timeouts": (1, 1, [ada], 0),
    }
    assert (second.candidate.requests, second.candidate.keyed) == (3, 3)
    assert firsts(second.candidate) == {
        "counter:low": (0, 1, [], 0),
        "errors": (2, 1, [eve], 0),
        "timeouts": (0, 1, [], 0),
    }
    assert all(total.counts.firsts == {} for total in report.totals)


def test_both_arms_remember_their_own_keys(make):
    """Stable's failures are listed for stable, and a key stays in its arm."""
    rig = make()
    rig.publish(rig.route(1, 2, release=9, weight=5_000))
    rig.reach(1, 2)
    keys = [f"k{number}".encode() for number in range(6)]
    for key in keys:
        for _ in range(2):
            rig.infer({"v1": "error", "v2": "ok"}, lastgood_key=key.decode())
    (stage,) = rig.report().stages
    stable = [key for key in keys if not takes_candidate(point_of(9, key), 5_000)]

    assert 0 < len(stable) < len(keys)
    assert stage.stable.firsts["errors"].keys == [mark_of(hash_of(9, key)) for key in stable]
    assert (stage.stable.firsts["errors"].bad, stage.stable.firsts["errors"].repeats) == (
        2 * len(stable),
        len(stable),
    )
    assert stage.candidate.firsts == {}
    assert stage.candidate.keyed + stage.stable.keyed == 2 * len(keys)


def test_keyed_requests_are_counted_outside_releases_too(make):
    """Stable's history needs to know how many of its requests had a key."""
    rig = make()
    rig.publish(rig.route(1))
    rig.reach(1)
    rig.infer({})
    rig.infer({}, lastgood_key="ada")
    rig.infer({"parameters": {"key": 7}})
    rig.infer({"key": "the name of an input"})
    (total,) = rig.report().totals

    assert (total.counts.requests, total.counts.keyed, total.counts.firsts) == (4, 2, {})


@pytest.mark.parametrize("order", ["error", "hang", "invalid"])
def test_a_broken_candidate_gets_no_more_than_six_requests_of_a_worker(make, order):
    """Every caller gets stable's answer; after six failures this worker asks and counts nothing more."""
    rig = make(candidate_timeout=0.05)
    rig.publish(rig.route(1, 2, release=9))
    rig.reach(1, 2)
    answers = [rig.infer({"v2": order}) for _ in range(20)]
    report = rig.report()
    (stage,) = report.stages
    (reflex,) = report.reflexes

    assert {(answer.status, answer.version) for answer in answers} == {(200, "1")}
    assert stage.candidate.requests == 6
    assert [answer.fallback for answer in answers[6:]] == [None] * 14
    assert all("lastgood-release" not in answer.headers for answer in answers[6:])
    assert stage.stable.requests == 0
    assert (reflex.release, reflex.tries, reflex.failures, reflex.requests) == (9, 0, 6, 6)
    assert reflex.log_likelihood > 18.4


def test_the_reflex_lasts_for_the_try_and_no_longer(make):
    """The next stage of the same try stays without candidate; a person's new try starts anew, then it is over."""
    rig = make()
    rig.publish(rig.route(1, 2, release=9, stage=0))
    rig.reach(1, 2)
    for _ in range(8):
        rig.infer({"v2": "error"})
    rig.publish(rig.route(1, 2, release=9, stage=1))
    same = rig.infer()
    held = rig.report().reflexes
    rig.publish(rig.route(1, 2, release=9, stage=1, tries=1))
    again = rig.infer()
    for _ in range(8):
        rig.infer({"v2": "error"})
    second = rig.report().reflexes
    rig.publish(rig.route(1))
    wait_for(lambda: rig.report().reflexes == [], "the release is forgotten")

    assert (same.version, again.version, again.fallback) == ("1", "2", None)
    assert [(one.release, one.tries) for one in held] == [(9, 0)]
    assert [(one.release, one.tries) for one in second] == [(9, 1)]


def test_requests_in_flight_when_it_trips_count_for_neither_arm(make):
    """Both arms stop at the same moment: what is still under way is outside the release."""
    rig = make(candidate_timeout=4.0, request_timeout=30.0)
    rig.publish(rig.route(1, 2, release=9))
    rig.reach(1, 2)
    answers = []
    late = threading.Thread(target=lambda: answers.append(rig.infer({"v2": "hang"})))
    late.start()
    wait_for(lambda: rig.report().in_flight == 1, "one is in flight on the candidate")
    for _ in range(8):
        rig.infer({"v2": "error"})
    late.join()
    report = rig.report()
    (stage,) = report.stages
    (candidate,) = [total for total in report.totals if total.role == "candidate"]

    assert [(answer.version, answer.fallback) for answer in answers] == [("1", "timeout")]
    assert (stage.candidate.requests, stage.candidate.timeouts) == (7, 1)
    assert (candidate.counts.requests, candidate.counts.timeouts) == (7, 1)
