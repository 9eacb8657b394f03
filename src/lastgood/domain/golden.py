"""Golden requests: what a version is asked before it serves, and what it must answer. Pure."""

import math
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from lastgood.errors import Code, LastgoodError

MOST: Final = 20
"""Golden requests of one version."""

MOST_BYTES: Final = 100_000
"""Of the file they come in."""

RELATIVE: Final = 1e-5
"""How far a number may be from the expected one, relative to the larger of the two."""

ABSOLUTE: Final = 1e-8
"""How far it may be at least: next to zero nothing is relatively near."""


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An Open Inference Protocol V2 request, and the answer that is expected (None: any answer that is no error)."""

    request: dict[str, Any]
    response: dict[str, Any] | None = None


def golden_from(text: bytes) -> tuple[Golden, ...]:
    """Read a file of golden requests: a JSON list of V2 requests, each bare or as ``{"request": ..., "response": ...}``.

    :raises LastgoodError: ``invalid`` naming the request that is wrong, ``too_large`` over the limits.
    """
    if len(text) > MOST_BYTES:
        raise LastgoodError(
            Code.TOO_LARGE,
            f"The golden requests take more than the {MOST_BYTES} bytes that are allowed.",
            "Keep the few that tell a right model from a wrong one.",
        )
    try:
        entries = msgspec.json.decode(text, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"The golden requests are not a JSON list of requests: {error}.") from None
    if not 1 <= len(entries) <= MOST:
        raise _invalid(f"There are {len(entries)} golden requests; 1 to {MOST} are possible.")
    return tuple(_one(number, entry) for number, entry in enumerate(entries, 1))


def _one(number: int, entry: dict[str, Any]) -> Golden:
    given = entry if "request" in entry else {"request": entry}
    try:
        found = msgspec.convert(given, Golden)
    except msgspec.ValidationError as error:
        raise _invalid(f"Golden request {number} cannot be used: {error}.") from None
    if not isinstance(found.request.get("inputs"), list) or not found.request["inputs"]:
        raise _invalid(f"Golden request {number} has no inputs.")
    if found.response is not None:
        for output in _outputs(found.response):
            if not isinstance(output.get("data"), list):
                raise _invalid(f"An expected output of golden request {number} has no data.")
        if not _outputs(found.response):
            raise _invalid(f"The expected response of golden request {number} has no outputs.")
    return found


def difference(expected: dict[str, Any], given: dict[str, Any]) -> str | None:
    """Return where an answer first differs from what is expected of it, None where it does not.

    Only the outputs count, by their names; outputs that nothing is expected of may be there.
    """
    found = {one.get("name"): one for one in _outputs(given)}
    for output in _outputs(expected):
        name = output.get("name")
        if name not in found:
            return f"there is no output {name!r}"
        other = found[name]
        if "shape" in output and output["shape"] != other.get("shape"):
            return f"{name!r} has the shape {other.get('shape')}, not {output['shape']}"
        wanted, values = list(_flat(output["data"])), list(_flat(other.get("data")))
        if len(wanted) != len(values):
            return f"{name!r} has {len(values)} values, not {len(wanted)}"
        for place, (one, two) in enumerate(zip(wanted, values, strict=True)):
            if not _same(one, two):
                return f"{name!r}[{place}] is {two!r}, not {one!r}"
    return None


def _outputs(document: dict[str, Any]) -> list[dict[str, Any]]:
    found = document.get("outputs")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _flat(data: Any) -> Iterator[Any]:
    if isinstance(data, list):
        for one in data:
            yield from _flat(one)
    else:
        yield data


def _same(one: Any, two: Any) -> bool:
    numbers = (int, float)
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, numbers) and isinstance(two, numbers):
        return math.isclose(one, two, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return bool(one == two)


def _invalid(what: str) -> LastgoodError:
    return LastgoodError(
        Code.INVALID, what, 'Write a list of {"request": {"inputs": [...]}, "response": {"outputs": [...]}}.'
    )
