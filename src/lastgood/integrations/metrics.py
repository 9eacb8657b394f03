"""Custom metrics: who is asked, once the settings allow it, and what the answer says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lastgood.domain.custom import CustomTerms, Reading, SourceKind, Subject, reading_of
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.metric_http import HttpMetric
from lastgood.integrations.metric_prometheus import PrometheusMetric
from lastgood.integrations.metric_python import PythonMetric
from lastgood.integrations.metric_sql import SqlMetric
from lastgood.settings import Settings
from lastgood.wire.asking import check_may_ask, check_url, is_reference
from lastgood.wire.credentials import BLOT, without_credentials

_BYTES_MAX: Final = 4096
_SHORTEST: Final = 4  # a shorter text is no secret


class OutsideMetrics:
    """The :class:`~lastgood.quality_ports.Metrics` of all four kinds."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._folder = Path(settings.home).parent
        self._http = HttpMetric()
        self._prometheus = PrometheusMetric(self._http)
        self._python = PythonMetric(self._folder, environ)
        self._sql = SqlMetric(self._folder, environ)

    def measure(self, terms: CustomTerms, subject: Subject) -> Reading | None:
        """Ask once. The settings are asked before whether that is allowed, also where a URL comes from a reference.

        :raises LastgoodError: as :class:`lastgood.quality_ports.Metrics` says.
        """
        check_may_ask(terms, self._settings)
        if terms.kind is SourceKind.PYTHON:
            return self._python.ask(terms, subject)
        given = terms.ask if terms.kind is SourceKind.HTTP else terms.url
        url = self._read(given)
        try:
            check_url(terms.kind, url, self._settings)
            return self._asked(terms, url, subject)
        except ValueError:
            raise LastgoodError(
                Code.INVALID, "The metric's URL cannot be used.", "Correct it where the server runs."
            ) from None
        except LastgoodError as error:
            hidden = url if given != url and len(url) >= _SHORTEST else None
            raise LastgoodError(error.code, _shown(error.message, hidden), error.next_step) from None

    def _asked(self, terms: CustomTerms, url: str, subject: Subject) -> Reading | None:
        context = subject.context()
        if terms.kind is SourceKind.SQL:
            return self._sql.ask(url, terms, context)
        ask = self._http.ask if terms.kind is SourceKind.HTTP else self._prometheus.ask
        return reading_of(ask(url, terms, context), counts=terms.counts)

    def _read(self, given: str) -> str:
        """Return a URL, from where it is kept if the plan says where."""
        if not is_reference(given):
            return given
        kind, _, place = given.partition(":")
        try:
            text = self._environ[place] if kind == "env" else _first_line(self._folder / place)
        except (KeyError, OSError, UnicodeDecodeError):
            text = ""
        if not text:
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"The metric's URL is not at {kind}:{place}.",
                "Set it where the server runs.",
            )
        return text


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_BYTES_MAX).decode().partition("\n")[0].strip()


def _shown(message: str, hidden: str | None) -> str:
    told = without_credentials(message)
    return told if hidden is None else told.replace(hidden, BLOT)
