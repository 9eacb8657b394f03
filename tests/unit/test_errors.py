"""Errors: one code each, mapped once, and the same on the other side of the control API."""

import json

import pytest

from lastgood.errors import (
    EXIT_ERROR,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_ROLLED_BACK,
    EXIT_STATUS,
    EXIT_STUCK,
    EXIT_USAGE,
    HTTP_STATUS,
    Code,
    LastgoodError,
    from_data,
)


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_an_exit_status_and_an_http_status(code):
    """No error can reach a transport that does not know it, and none reads as success."""
    assert EXIT_STATUS[code] not in (EXIT_OK, EXIT_ROLLED_BACK)
    assert 400 <= HTTP_STATUS[code] < 600


def test_the_exit_statuses_are_the_documented_ones():
    """Scripts depend on these numbers."""
    assert (EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_REFUSED, EXIT_ROLLED_BACK, EXIT_STUCK) == (0, 1, 2, 3, 4, 5)
    assert EXIT_STATUS[Code.INVALID] == EXIT_USAGE
    assert EXIT_STATUS[Code.REFUSED] == EXIT_STATUS[Code.UNTRUSTED] == EXIT_REFUSED
    assert EXIT_STATUS[Code.STUCK] == EXIT_STATUS[Code.TIMEOUT] == EXIT_STUCK


def test_only_a_fault_of_ours_reads_as_a_server_error():
    """What the caller can change is a 4xx; 5xx is for what he cannot."""
    callers = {Code.INVALID, Code.NOT_FOUND, Code.CONFLICT, Code.REFUSED, Code.UNTRUSTED, Code.TOO_LARGE}
    assert {code for code in Code if HTTP_STATUS[code] < 500} == callers


@pytest.mark.parametrize("table", [EXIT_STATUS, HTTP_STATUS])
def test_the_tables_cannot_be_written_to(table):
    """The mapping is made once."""
    with pytest.raises(TypeError):
        table[Code.INVALID] = 0


@pytest.mark.parametrize("code", list(Code))
def test_an_error_is_the_same_after_the_control_api(code):
    """Code, both sentences and details survive JSON."""
    error = LastgoodError(
        code, "It did not work.", "Try the other way.", details={"known": [1, 2], "of": "churn"}
    )
    back = from_data(json.loads(json.dumps(error.as_data())))
    assert (back.code, back.message, back.next_step, back.details) == (
        code,
        "It did not work.",
        "Try the other way.",
        {"known": [1, 2], "of": "churn"},
    )
    assert str(back) == "It did not work. Try the other way."


@pytest.mark.parametrize(
    "data", [{}, {"code": "of a later release", "error": "x"}, {"code": None, "details": "no mapping"}]
)
def test_what_an_unknown_server_says_reads_as_internal(data):
    """A body that another release of Lastgood wrote still becomes an error with a sentence."""
    error = from_data(data)
    assert error.code is Code.INTERNAL
    assert error.message
    assert error.details == {}


def test_details_belong_to_one_error():
    """The mapping that was given is copied, so two errors never share their details."""
    given = {"line": 1}
    error = LastgoodError(Code.INVALID, "x", details=given)
    error.details["line"] = 2
    assert given == {"line": 1}
