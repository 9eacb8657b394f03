"""Custom metrics out of a dictionary: the port for tests that ask nobody."""

from typing import Any

from lastgood.domain.custom import CustomTerms, Reading, Subject, reading_of
from lastgood.errors import LastgoodError


class ListedMetrics:
    """``answers`` by what is asked; an error is raised, anything else is read as an answer from outside."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[Subject] = []

    def measure(self, terms: CustomTerms, subject: Subject) -> Reading | None:
        """Answer as the test said."""
        self.asked.append(subject)
        answer = self.answers[terms.ask]
        if isinstance(answer, LastgoodError):
            raise answer
        return reading_of(answer, counts=terms.counts)
