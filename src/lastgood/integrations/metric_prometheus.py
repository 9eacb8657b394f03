"""A custom metric from Prometheus: an instant query that gives one value.

An empty vector and NaN are no data; more than one series is an error, for nobody can say which one is meant.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lastgood.domain.custom import CustomTerms
from lastgood.domain.custom_names import in_query
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.metric_http import HttpMetric, origin_of

_SHOWN_CHARACTERS: Final = 200
_KIND_CHARACTERS: Final = 40


class PrometheusMetric:
    """Asks ``/api/v1/query``. Safe from any thread."""

    def __init__(self, http: HttpMetric) -> None:
        self._http = http

    def ask(self, url: str, terms: CustomTerms, context: Mapping[str, Any]) -> float | None:
        """Return the value of the query, None where there is none.

        :raises LastgoodError: as :class:`lastgood.quality_ports.Metrics` says.
        """
        base = url.partition("#")[0].partition("?")[0]  # nothing but this path is ever posted to
        form = {"query": in_query(terms.ask, context)}
        status, body = self._http.fetch("POST", f"{base.rstrip('/')}/api/v1/query", terms.timeout, form=form)
        origin = origin_of(url)
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            answer = None
        if not isinstance(answer, dict) or "status" not in answer:
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"{origin} answered {status}, and not as Prometheus does.",
                "Give the address of Prometheus.",
            )
        if answer["status"] != "success":
            why = " ".join(str(answer.get("error", "it says not why")).split())[:_SHOWN_CHARACTERS]
            kind = str(answer.get("errorType", status))[:_KIND_CHARACTERS]
            raise LastgoodError(
                Code.INVALID,
                f"{origin} refused the query ({kind}): {why}.",
                "Correct it.",
            )
        return _value(answer.get("data"), origin)


def _value(data: Any, origin: str) -> float | None:
    kind = data.get("resultType") if isinstance(data, dict) else None
    result = data.get("result") if isinstance(data, dict) else None
    if kind == "vector" and isinstance(result, list):
        if not result:
            return None
        if len(result) > 1:
            raise LastgoodError(
                Code.INVALID,
                f"The query gives {len(result)} series, and one is needed.",
                "Add them up, such as with sum(), or name one.",
            )
        sample = result[0].get("value") if isinstance(result[0], dict) else None
    elif kind == "scalar":
        sample = result
    else:
        raise LastgoodError(
            Code.INVALID,
            f"The query gives a {str(kind or 'result without a type')[:_KIND_CHARACTERS]}, and one value is needed.",
            "Correct it.",
        )
    try:
        _, text = sample if isinstance(sample, list) else (None, None)
        value = float(str(text))
    except ValueError:
        raise LastgoodError(
            Code.INVALID, f"{origin} answered a sample that holds no value.", "Correct the query."
        ) from None
    return None if math.isnan(value) else value
