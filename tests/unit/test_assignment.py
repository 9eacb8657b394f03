"""The sticky assignment: pure, even, monotone in the weight, the same everywhere, salted by the release."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.gateway.assignment import point_of, takes_candidate

PINNED = 0.2751715561895143
KEYS = [f"customer-{number}".encode() for number in range(20_000)]


@pytest.mark.parametrize("weight", [100, 1_000, 5_000, 9_000])
def test_the_candidates_share_is_the_weight(weight):
    """Of 20 000 keys, the share on the candidate is within five standard errors of its weight."""
    share = sum(takes_candidate(point_of(3, key), weight) for key in KEYS) / len(KEYS)
    expected = weight / 10_000

    assert share == pytest.approx(expected, abs=5 * (expected * (1 - expected) / len(KEYS)) ** 0.5)


@given(st.binary(max_size=64), st.integers(0, 2**64 - 1), st.integers(0, 10_000), st.integers(0, 10_000))
def test_raising_the_weight_keeps_everybody_on_the_candidate(key, release, one, other):
    """Who takes the candidate at some weight takes it at every higher one, and the point lies in [0, 1)."""
    point = point_of(release, key)
    low, high = sorted((one, other))

    assert 0 <= point < 1
    assert takes_candidate(point, low) <= takes_candidate(point, high)


@given(st.floats(0, 1, exclude_max=True))
def test_no_weight_takes_nobody_and_full_weight_everybody(point):
    """Weight 0 and weight 10 000 leave nothing to chance."""
    assert not takes_candidate(point, 0)
    assert takes_candidate(point, 10_000)


def test_the_point_is_the_same_in_another_process():
    """No hash seed of the process goes into the point."""
    code = "from lastgood.gateway.assignment import point_of; print(repr(point_of(9, b'anna')))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert float(other) == point_of(9, b"anna")


def test_the_point_is_pinned():
    """A new version of Lastgood must not move anybody to the other arm in the middle of a release."""
    assert point_of(1, b"anna") == pytest.approx(PINNED, abs=1e-15)


def test_the_release_salts_the_assignment():
    """Being on one candidate says nothing about the next: the two draws are independent."""
    first = {key for key in KEYS if takes_candidate(point_of(1, key), 5_000)}
    second = {key for key in KEYS if takes_candidate(point_of(2, key), 5_000)}
    share = len(first & second) / len(KEYS)

    assert share == pytest.approx(0.25, abs=0.02)
