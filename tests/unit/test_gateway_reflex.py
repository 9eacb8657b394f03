"""The reflex: quick against a broken candidate, deaf to one that fails as stable does."""

import random
from math import log

import pytest

from lastgood.gateway.reflex import BOUND, Cusum, Reflexes

HEALTHY = (0, 1_000)  # failures and requests of stable so far


def tries_of_a_broken_candidate(stable):
    """Return how many requests a candidate gets that fails every one."""
    cusum, tried = Cusum(), 1
    while not cusum.failed(*stable):
        tried += 1
    return tried


@pytest.mark.parametrize(("stable", "tried"), [(HEALTHY, 5), ((0, 0), 6), ((10, 1_000), 6)])
def test_a_broken_candidate_gets_a_handful_of_requests(stable, tried):
    """Beside a clean stable the fifth failure in a row trips it, and one more where little is known of stable."""
    assert tries_of_a_broken_candidate(stable) == tried


def test_the_score_is_the_log_likelihood_ratio():
    """Failures and successes add the logarithms that the design names, at a rate of 1 % beside a clean stable."""
    cusum = Cusum()
    cusum.failed(*HEALTHY)
    cusum.failed(*HEALTHY)
    cusum.succeeded()

    assert cusum.score == pytest.approx(2 * log(0.5 / 0.01) + log(0.5 / 0.99))
    assert (cusum.failures, cusum.requests) == (2, 3)


def test_successes_wipe_a_failure_out_and_the_run_begins_anew():
    """Nothing is held against a candidate for long: the score never falls below nothing."""
    cusum = Cusum()
    for _ in range(3):
        cusum.failed(*HEALTHY)
        for _ in range(6):
            cusum.succeeded()

        assert (cusum.score, cusum.failures, cusum.requests) == (0.0, 0, 0)


def test_every_other_failure_beside_a_stable_of_five_percent_takes_longer():
    """It is in no hurry where stable itself fails often: 30 requests and more, but it does end."""
    cusum, tried = Cusum(), 0
    while True:
        tried += 2
        if cusum.failed(5_000, 100_000):
            break
        cusum.succeeded()

    assert 30 <= tried <= 60


def test_a_harmless_candidate_is_left_alone_for_a_million_requests():
    """Both fail one request in five, half of the traffic each, a million requests: it never trips."""
    chance = random.Random(11)
    cusum, bad, requests = Cusum(), 20, 100
    for _ in range(1_000_000):
        failed = chance.random() < 0.2
        if chance.random() < 0.5:
            requests += 1
            bad += failed
        elif failed:
            assert not cusum.failed(bad, requests)
        else:
            cusum.succeeded()

    assert not cusum.tripped


@pytest.mark.parametrize("weight", [0.05, 0.25])
def test_an_outage_that_both_suffer_is_not_the_candidates(weight):
    """After 100 000 good requests everything fails in both arms: 100 such outages, and it trips in none."""
    chance = random.Random(3)
    for _ in range(100):
        cusum, bad = Cusum(), 0
        for _ in range(2_000):
            if chance.random() >= weight:
                bad += 1
            else:
                assert not cusum.failed(bad, 100_000 + bad)


def test_once_tripped_it_stays_so_and_says_on_what():
    """Later requests change nothing: the report keeps the numbers of the moment."""
    reflexes = Reflexes()
    cusum = reflexes.of(7, 0)
    while not cusum.failed(*HEALTHY):
        assert reflexes.tripped() == []
    (told,) = reflexes.tripped()
    cusum.succeeded()

    assert not cusum.failed(*HEALTHY)
    assert (told.release, told.tries, told.failures, told.requests) == (7, 0, 5, 5)
    assert told.log_likelihood == pytest.approx(5 * log(50))
    assert told.log_likelihood >= BOUND
    assert reflexes.tripped() == [told]


def test_a_new_try_starts_anew_and_a_release_that_is_gone_is_forgotten():
    """The same try keeps its state, a higher one does not, and a table without the release ends it."""
    reflexes = Reflexes()
    first = reflexes.of(7, 0)
    while not first.failed(*HEALTHY):
        pass

    assert reflexes.of(7, 0) is first
    assert not reflexes.of(7, 1).tripped
    assert reflexes.tripped() == []
    again = reflexes.of(7, 1)
    reflexes.keep(frozenset({8}))
    assert reflexes.of(7, 1) is not again
