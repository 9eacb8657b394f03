"""``lastgood.count``: a Python model says of the rows it predicts what was good and what was bad.

The model's own code imports this, in training and tests too, so it costs no import and does nothing outside a host.
"""

from collections.abc import Sequence
from typing import Any

Said = list[tuple[str, Any]]


class _Ear:
    """What was said since a host last looked. A host predicts in one thread, and so looks in one."""

    listens = False
    said: Said = []  # noqa: RUF012 - one for the process: a host serves one version


def count(name: str, bad: bool | Sequence[bool]) -> None:
    """Count the requests that are being predicted, and as bad those with a row for which ``bad`` is true.

    Call it within ``predict``, in any thread of it. ``name`` is a small letter, then at most 31 of ``a-z``, ``0-9``
    and ``_``; a version has at most 16 counters. ``bad`` is one value for all rows of the batch, or a sequence or
    array with one for each row. Said twice of a row, bad stays bad. It raises nothing: a wrong name or number of
    values is refused at the warm-up, and left out and told in the host's log later.
    """
    if _Ear.listens:
        _Ear.said.append((name, bad))


def listen() -> Said:
    """From now on keep what is said, and return the list it is kept in: always the same one."""
    _Ear.listens = True
    return _Ear.said
