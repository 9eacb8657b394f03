"""The seams of model quality: labels, looks at inputs and outputs, numbers from outside, and tables in files.

What :mod:`lastgood.ports` says of times, errors and threads holds here too.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from lastgood.domain.agreement import PairRow
from lastgood.domain.custom import CustomTerms, Reading, Subject
from lastgood.domain.kpi import Awaited, Cursor, Outcome
from lastgood.domain.sketch import Sketch, SketchRow

PAIR_ROWS: Final = 5_000
"""Rows of copied requests after which one look ends: they are compared between two turns that others wait for."""


class Outcomes(Protocol):
    """Predictions of releases that have met their labels."""

    def outcomes(
        self, release: int, since: Cursor, *, made_until: float, limit: int
    ) -> tuple[list[Outcome], Cursor]:
        """Return at most ``limit`` outcomes of both arms that come after ``since``, and how far has been read with them.

        Only those whose predictions were made until ``made_until``: the others are found when it has passed them. Read
        on from what is returned, each outcome comes once.

        :raises LastgoodError: ``storage``, ``corrupt`` or ``conflict`` when they cannot be read.
        """

    def awaited(self, release: int) -> dict[str, Awaited]:
        """Return how many predictions each arm of a release has, and how many of them have a label."""

    def pairs(self, release: int, since: int, limit: int) -> tuple[list[PairRow], int]:
        """Return the rows of at most ``limit`` copied requests of a release that come after ``since``, and how far that is.

        Read on from what is returned, each request comes once. A request has at most 1 000 rows here, and none comes after
        :data:`PAIR_ROWS`.

        :raises LastgoodError: ``storage``, ``corrupt`` or ``conflict`` when they cannot be read.
        """


class Sketches(Protocol):
    """What requests and answers looked like: counts in bounded memory, from a sample of the traffic."""

    def since(self, release: int, after: int, limit: int) -> tuple[list[SketchRow], int]:
        """Return at most ``limit`` rows of a release with a ``seq`` above ``after``, in order, and how far that is.

        Read on from what is returned, each row comes once.

        :raises LastgoodError: ``storage``, ``corrupt`` or ``conflict`` when they cannot be read.
        """

    def before(self, deployment: str, version: int, at: float) -> dict[str, Sketch]:
        """Return what a version answered in the day before ``at``, by output; empty where nothing is known.

        Of very much, an even part is returned.

        :raises LastgoodError: as :meth:`since`.
        """


class Metrics(Protocol):
    """Numbers from outside: somebody's function, database, web address or Prometheus."""

    def measure(self, terms: CustomTerms, subject: Subject) -> Reading | None:
        """Ask once, as ``terms`` say, about ``subject``; None is the answer that there is no data.

        Takes ``terms.timeout`` seconds at most, and is called by several threads at once. No error holds a secret.

        :raises LastgoodError: ``unavailable``, ``timeout``, ``too_large``, ``invalid`` (an answer of another shape) or
            ``untrusted`` (somebody whom the settings do not let a plan ask).
        """


class Table(Protocol):
    """An open file with a table, which can be read once."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, all of them different."""

    @property
    def batches(self) -> Callable[[Sequence[int]], Iterator[list[Sequence[Any]]]]:
        """Gives the columns at some places (at least one), some thousand rows at a time, values in the order of the rows.

        Values are texts, numbers, truth values, or None.

        :raises LastgoodError: ``invalid`` where the file cannot be read.
        """
