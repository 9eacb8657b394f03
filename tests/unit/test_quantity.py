"""Quantities as people type them."""

import pytest

from lastgood.domain.plan import Margin, MarginKind
from lastgood.domain.quantity import (
    parse_duration,
    parse_margin,
    parse_percent,
    parse_quantile,
    parse_weight,
)
from lastgood.errors import Code, LastgoodError


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("2d", 172_800),
        ("1h30m", 5400),
        ("0s", 0),
        ("1.5h", 5400),
    ],
)
def test_a_duration_becomes_seconds(typed, seconds):
    """Each unit has its length, and several may stand together."""
    assert parse_duration(typed) == seconds


@pytest.mark.parametrize(
    "typed", ["10", 10, 1.5, "", "-5m", "5 minutes", "5M", "٣s", "1e3s", "9999999d", True, None, [], {}]
)
def test_what_is_no_duration_is_refused_with_what_is(typed):
    """A bare number has no unit to guess, and the error names what is accepted."""
    with pytest.raises(LastgoodError) as caught:
        parse_duration(typed)
    assert caught.value.code is Code.INVALID
    assert "366d" in str(caught.value) or "250ms" in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "fraction"), [("5%", 0.05), ("0.5%", 0.005), ("100%", 1), ("0%", 0), ("7 %", 0.07)]
)
def test_a_percentage_becomes_a_fraction(typed, fraction):
    """The fraction is the nearest number to the exact one, with no drift from dividing."""
    assert parse_percent(typed) == fraction


@pytest.mark.parametrize("typed", ["5", 5, 0.05, "101%", "-1%", "%", "nan%", "1e1%"])
def test_what_is_no_percentage_is_refused(typed):
    """A number without its sign could be a fraction or a percentage, so it is neither."""
    with pytest.raises(LastgoodError, match=r"5% or 0\.5%"):
        parse_percent(typed)


@pytest.mark.parametrize(
    ("typed", "points"),
    [("5%", 500), ("0.5%", 50), ("0.01%", 1), ("100%", 10_000), (25, 2500), (1, 100), ("0.29%", 29)],
)
def test_a_weight_becomes_basis_points(typed, points):
    """Whole numbers are percent, and basis points are exact."""
    assert parse_weight(typed) == points


@pytest.mark.parametrize("typed", [0, "0%", 101, "100.01%", "0.001%", -5, 0.5, "half", True, "33.333%"])
def test_an_impossible_weight_is_refused(typed):
    """Nothing, more than everything, and what basis points cannot hold is refused."""
    with pytest.raises(LastgoodError) as caught:
        parse_weight(typed)
    assert "%" in caught.value.next_step


@pytest.mark.parametrize(("typed", "quantile"), [("p99", 0.99), ("p99.9", 0.999), ("p50", 0.5), ("p5", 0.05)])
def test_a_quantile_is_read_as_its_percentile(typed, quantile):
    """The p notation becomes a number between 0 and 1."""
    assert parse_quantile(typed) == quantile


@pytest.mark.parametrize("typed", ["p0", "p100", "99", 0.99, "P99", "p", "p-1", f"p99.{'9' * 40}"])
def test_an_impossible_quantile_is_refused(typed):
    """The ends, another notation, and what rounds to 1 are refused with examples."""
    with pytest.raises(LastgoodError, match=r"p99\.9"):
        parse_quantile(typed)


@pytest.mark.parametrize(
    ("typed", "margin"),
    [
        (1.2, Margin(MarginKind.ODDS, 1.2)),
        (2, Margin(MarginKind.ODDS, 2.0)),
        (1, Margin(MarginKind.ODDS, 1.0)),
        ("0.5pp", Margin(MarginKind.ABSOLUTE, 0.005)),
        ("7 pp", Margin(MarginKind.ABSOLUTE, 0.07)),
    ],
)
def test_a_margin_is_odds_or_points(typed, margin):
    """A bare number is odds, pp is a difference of rates, exact to the last digit."""
    assert parse_margin(typed) == margin
    assert type(parse_margin(typed).value) is float


@pytest.mark.parametrize(
    "typed",
    [
        0.99,
        0,
        -1,
        1001,
        float("inf"),
        float("nan"),
        "1.2",
        "0.5%",
        "0pp",
        "100pp",
        "-1pp",
        "pp",
        True,
        None,
        [],
        {},
    ],
)
def test_what_is_no_margin_is_refused_with_what_is(typed):
    """The error shows both notations or the range of the one that was meant."""
    with pytest.raises(LastgoodError) as caught:
        parse_margin(typed)
    assert caught.value.code is Code.INVALID
    assert "pp" in caught.value.next_step


def test_a_long_text_is_not_repeated_whole():
    """An error shows the beginning of what was typed, however long that was."""
    with pytest.raises(LastgoodError) as caught:
        parse_duration("x" * 100_000)
    assert len(str(caught.value)) < 250
