"""Counters of the version's own: outputs named ``lastgood.<name>`` and what was said by ``lastgood.count``.

They say of each row whether it was bad, and are no outputs: callers never see them among those.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from lastgood.domain.traffic import MAX_COUNTERS
from lastgood.domain.version import Signature
from lastgood.errors import Code, LastgoodError
from lastgood.host.counting import Said
from lastgood.wire.frames import COUNTER_NAME, pack_counts

log = logging.getLogger("lastgood.host")
PREFIX: Final = "lastgood."
Rows = dict[str, list[bool]]
HOW_TO_COUNT: Final = f"Name at most {MAX_COUNTERS} by a small letter and then up to 31 of a-z, 0-9 and _; give one value for each row."


class CounterError(Exception):
    """A counter that cannot be counted, told in a sentence."""


class Counters:
    """The counters of one model, kept to :data:`MAX_COUNTERS` names over its whole life."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._left_out = 0

    def take(self, raw: Any, rows: int, said: Said) -> tuple[Any, Rows]:
        """Return the model's own outputs, and for each counter whether each row is bad. Empties ``said``.

        What cannot be counted is left out; the host's log says so, and how often.
        """
        raw, given = split(raw, said)
        found: Rows = {}
        for name, value in given:
            try:
                self._add(found, name, value, rows)
            except CounterError as error:
                self._left_out += 1
                if self._left_out & (self._left_out - 1) == 0:  # 1, 2, 4, 8 ...: a log must not fill the disk
                    log.warning("a counter was left out (%d so far): %s", self._left_out, error)
        return raw, found

    def _add(self, found: Rows, name: object, value: Any, rows: int) -> None:
        name, bad = _checked(name, value, rows)
        if name not in self._names:
            if len(self._names) >= MAX_COUNTERS:
                raise CounterError(
                    f"{name!r} is more than the {MAX_COUNTERS} counters that a version may have"
                )
            self._names.add(name)
        before = found.get(name)
        found[name] = bad if before is None else [old or new for old, new in zip(before, bad, strict=True)]


def split(raw: Any, said: Said) -> tuple[Any, Said]:
    """Part the outputs of a model from its counters, those said among them. Empties ``said``."""
    given: Said = []
    if isinstance(raw, dict):
        names = [name for name in raw if isinstance(name, str) and name.startswith(PREFIX)]
        if names:
            given = [(name.removeprefix(PREFIX), raw[name]) for name in names]
            raw = {name: value for name, value in raw.items() if name not in names}
    if said:
        given += said
        said.clear()
    return raw, given


def check(given: Said, rows: int) -> None:
    """Look at the counters of one predict call with care.

    :raises CounterError: naming the first one that cannot be counted.
    """
    names = {_checked(name, value, rows)[0] for name, value in given}
    if len(names) > MAX_COUNTERS:
        raise CounterError(f"{len(names)} counters are more than the {MAX_COUNTERS} that a version may have")


def of_request(counted: Rows, first: int, rows: int) -> bytes:
    """Return the answer's name field for the request whose rows begin at ``first``: bad if any row is."""
    return pack_counts([(name, any(bad[first : first + rows])) for name, bad in counted.items()])


def without_counters(signature: Signature) -> Signature:
    """Return the signature as callers see it.

    :raises LastgoodError: ``refused`` for a counter with a wrong name, too many, or nothing but counters.
    """
    names = [one.name for one in signature.outputs if one.name.startswith(PREFIX)]
    if not names:
        return signature
    wrong = [name for name in names if not COUNTER_NAME.fullmatch(name.removeprefix(PREFIX))]
    if wrong or len(names) > MAX_COUNTERS:
        told = f"{wrong[0]!r} is no name of a counter" if wrong else f"there are {len(names)} of them"
        raise LastgoodError(
            Code.REFUSED, f"The model's counters ({PREFIX}...) cannot be counted: {told}.", HOW_TO_COUNT
        )
    outputs = tuple(one for one in signature.outputs if one.name not in names)
    if not outputs:
        raise LastgoodError(
            Code.REFUSED,
            "The model has counters and no output that a caller could get.",
            f"Give it at least one output whose name does not begin with {PREFIX!r}.",
        )
    return Signature(signature.inputs, outputs)


def _checked(name: object, value: Any, rows: int) -> tuple[str, list[bool]]:
    if not isinstance(name, str) or not COUNTER_NAME.fullmatch(name):
        raise CounterError(f"{name!r} is no name of a counter")
    return name, _by_row(name, value, rows)


def _by_row(name: str, value: Any, rows: int) -> list[bool]:
    try:
        array = np.asarray(value)
        values: Sequence[Any] = [array.item()] * rows if array.ndim == 0 else array.ravel().tolist()
        bad = [bool(one) for one in values]
    except (ValueError, TypeError) as error:
        raise CounterError(f"{name!r} holds no values: {error}") from None
    if len(bad) != rows or (array.ndim and array.shape[0] != rows):
        raise CounterError(f"{name!r} has {list(array.shape)} values for {rows} rows: give one for each row")
    return bad
