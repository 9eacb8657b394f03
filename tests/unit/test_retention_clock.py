"""The clock that retention goes by: a wall clock that jumps ahead makes nothing old at once."""

from lastgood.predictions.clock import BELIEVED_AFTER_SECONDS, RetentionClock

YEAR = 365 * 86_400.0


def test_it_follows_a_clock_that_goes_on_and_one_that_goes_back() -> None:
    """Seconds pass, a small correction is believed at once, and so is any that makes things younger."""
    clock = RetentionClock(1e9, 5.0)

    assert clock.believed(1e9 + 10, 15.0) == 1e9 + 10
    assert clock.believed(1e9 + 70, 16.0) == 1e9 + 70
    assert clock.believed(1e9 - YEAR, 17.0) == 1e9 - YEAR
    assert not clock.doubting


def test_a_year_within_a_second_is_not_believed_for_a_day() -> None:
    """Until then time goes on from where it was; afterwards the clock is right, whatever it says."""
    clock = RetentionClock(1e9, 0.0)

    assert clock.believed(1e9 + YEAR, 1.0) == 1e9 + 1.0
    assert clock.doubting
    assert clock.believed(1e9 + YEAR + 3_600, 3_601.0) == 1e9 + 3_601.0
    late = 1.0 + BELIEVED_AFTER_SECONDS
    assert clock.believed(1e9 + YEAR + late, late) == 1e9 + YEAR + late
    assert not clock.doubting


def test_a_clock_that_is_set_right_again_was_never_believed() -> None:
    """A jump that is taken back leaves nothing behind: the next one is doubted for a day of its own."""
    clock = RetentionClock(1e9, 0.0)
    clock.believed(1e9 + YEAR, 1.0)

    assert clock.believed(1e9 + 2.0, 2.0) == 1e9 + 2.0
    late = 1.0 + BELIEVED_AFTER_SECONDS
    assert clock.believed(1e9 + YEAR + late, late) == 1e9 + late
