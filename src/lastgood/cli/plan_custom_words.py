"""A plan's custom guardrails in words."""

from typing import TYPE_CHECKING, Final

from lastgood.cli.wording import duration, percent

if TYPE_CHECKING:
    from lastgood.domain.plan import Guardrail

_ASKS: Final = {
    "http": "asks {ask}",
    "python": "calls the function {ask}",
    "sql": "asks the database at {url}",
    "prometheus": "asks Prometheus at {url}",
}


def custom_when(one: "Guardrail") -> list[str]:
    """Say when a guardrail whose numbers come from outside fails, its comparison apart."""
    terms = one.custom
    if terms is None:
        return []
    if terms.counts:
        if terms.maximum is None:
            return []
        bound = percent(round(terms.maximum * 100, 6))
        return [f"the candidate's rate is over {bound} (looked at from {one.min_samples} on)"]
    bounds = [f"over {terms.maximum:g}"] if terms.maximum is not None else []
    bounds += [f"under {terms.minimum:g}"] if terms.minimum is not None else []
    row = f"{terms.failures} measurements in a row" if terms.failures > 1 else "one measurement"
    return [f"its number is {' or '.join(bounds)} in {row}"]


def custom_asks(one: "Guardrail") -> str:
    """Say who is asked, how often, and what one number cannot promise."""
    terms = one.custom
    if terms is None:
        return ""
    asks = _ASKS[terms.kind.value].format(ask=terms.ask, url=terms.url)
    told = f" It {asks} every {duration(terms.every)}, for at most {duration(terms.timeout)}."
    return told if terms.counts else f"{told} One number has no false-alarm rate."
