"""The rules that span the keys of a plan file's custom guardrails, and what they become."""

import math
import re
from typing import Any, Final
from urllib.parse import urlsplit

from lastgood.domain.custom import CustomTerms, SourceKind
from lastgood.domain.custom_names import unknown_names
from lastgood.domain.placed_yaml import Placed
from lastgood.domain.plan import DEFAULT_PROOF, Guardrail, Margin, MarginKind, Metric, Strategy
from lastgood.domain.plan_custom import CustomGuardrail, CustomSource
from lastgood.domain.quantity import parse_percent
from lastgood.errors import LastgoodError

MIN_EVERY: Final = 1.0
MAX_TIMEOUT: Final = 600.0

_DEFAULT: Final = Guardrail(name="default", metric=Metric.CUSTOM)
_OF_COUNTS: Final = {
    "margin": "margin",
    "proof": "proof_margin",
    "min_bad": "min_bad",
    "min_samples": "min_samples",
    "share": "share",
}
_REFERENCE: Final = re.compile(r"(env|file):.+", re.DOTALL)
_PASSWORD: Final = re.compile("@|password=", re.IGNORECASE)  # after the host: a driver ends a password at '@'
_STATEMENT: Final = re.compile(r"\s*(select|with)\b", re.IGNORECASE)
_FUNCTION: Final = re.compile(r"[A-Za-z_][\w.-]*(:[A-Za-z_][\w.]*)?", re.ASCII)


def plain_number(document: object) -> bool:
    """Return whether a guardrail of a plan file is about a number from outside, which is compared with nothing."""
    return isinstance(document, CustomGuardrail) and document.compare is None


def read_custom(placed: Placed, document: CustomGuardrail, path: str, strategy: Strategy) -> Guardrail:
    """Return the guardrail but for its share of the false rollback rate.

    :raises LastgoodError: ``invalid`` with the place of the first rule that is broken.
    """
    comparing = document.compare is not None
    if not comparing:
        for field, key in _OF_COUNTS.items():
            if getattr(document, field) is not None:
                message = f"The key {key!r} is for counts, and here is one number."
                next_step = "Remove it, or add 'compare: counts'."
                raise placed.refusal(f"{path}.{key}", message, next_step, at_key=True)
    terms = _terms(placed, document, path, strategy)
    margin = _DEFAULT.margin if document.margin is None else document.margin.margin
    return Guardrail(
        name=document.name or Metric.CUSTOM.value,
        metric=Metric.CUSTOM,
        on_fail=document.on_fail,
        margin=margin,
        proof=_proof(placed, document, path, margin) if comparing else (),
        min_bad=_DEFAULT.min_bad if document.min_bad is None else document.min_bad,
        min_samples=_DEFAULT.min_samples if document.min_samples is None else document.min_samples,
        no_data=document.no_data,
        dry_run=document.dry_run,
        custom=terms,
    )


def _terms(placed: Placed, document: CustomGuardrail, path: str, strategy: Strategy) -> CustomTerms:
    comparing = document.compare is not None
    every = 60.0 if document.every is None else float(document.every)
    timeout = 10.0 if document.timeout is None else float(document.timeout)
    if every < MIN_EVERY:
        raise placed.refusal(f"{path}.every", "It would be asked all the time.", "Give 1s or more.")
    if not 0.0 < timeout <= MAX_TIMEOUT:
        message = "An answer takes some time, and is not waited for longer than 10m."
        raise placed.refusal(f"{path}.timeout", message, "Give a time such as 10s.")
    high = _bound(placed, document.maximum, f"{path}.max")
    low = _bound(placed, document.minimum, f"{path}.min")
    if comparing and low is not None:
        message = "Counts are of bad ones, so a 'min' is no limit on them."
        raise placed.refusal(f"{path}.min", message, "Give 'max', or leave it out.", at_key=True)
    if comparing and high is not None and not 0.0 <= high <= 1.0:
        message = f"Of counts 'max' is a rate, and {high:g} is none."
        raise placed.refusal(f"{path}.max", message, "Give a rate such as 5%.")
    if not comparing and high is None and low is None:
        message = "Nothing says which numbers are allowed."
        next_step = "Add 'max' or 'min'; or 'compare: counts' to compare counts with stable's."
        raise placed.refusal(path, message, next_step)
    if high is not None and low is not None and low > high:
        message = f"No number is over {low:g} and under {high:g}."
        raise placed.refusal(f"{path}.min", message, "Give a 'min' that is not above 'max'.")
    if comparing and high is None and strategy is not Strategy.CANARY:
        message = f"The strategy {strategy.value} leaves no traffic on stable to compare with."
        raise placed.refusal(path, message, "Add a hard limit ('max'), or use canary.")
    return CustomTerms(
        **_source(placed, document.source, f"{path}.source", comparing=comparing),
        every=every,
        timeout=timeout,
        maximum=high,
        minimum=low,
        failures=document.failures,
        counts=comparing,
    )


def _bound(placed: Placed, given: float | str | None, path: str) -> float | None:
    if given is None:
        return None
    try:
        value = parse_percent(given) if isinstance(given, str) else given
    except (LastgoodError, ValueError):
        raise placed.refusal(
            path,
            f"{given[:20]!r} is no number." if isinstance(given, str) else "It is no number.",
            "Write 0.05 or 5%.",
        ) from None
    if not math.isfinite(value):
        raise placed.refusal(path, "It is not a finite number.", "Write a number such as 0.05.")
    return float(value)


def _source(placed: Placed, source: CustomSource, path: str, *, comparing: bool) -> dict[str, Any]:
    kinds = [kind for kind in SourceKind if getattr(source, kind.value) is not None]
    if len(kinds) != 1:
        found = f"This source has {' and '.join(kinds)} at once." if kinds else "This source asks nobody."
        raise placed.refusal(path, found, f"Give exactly one of: {', '.join(SourceKind)}.")
    kind = kinds[0]
    ask = str(getattr(source, kind.value))
    needs_url = kind in (SourceKind.SQL, SourceKind.PROMETHEUS)
    if needs_url and source.url is None:
        raise placed.refusal(
            path, f"Nothing says where {kind.value} is.", "Add 'url', such as env:ORDERS_URL."
        )
    if not needs_url and source.url is not None:
        message = f"With {kind.value!r} there is no 'url'."
        raise placed.refusal(f"{path}.url", message, "Remove it.", at_key=True)
    if kind is not SourceKind.HTTP and source.value is not None:
        message = "The key 'value' says where in a document the answer is, and only 'http' answers one."
        raise placed.refusal(f"{path}.value", message, "Remove it.", at_key=True)
    _check_asked(placed, kind, ask, f"{path}.{kind.value}", comparing=comparing)
    if needs_url:
        _check_url(placed, source.url or "", f"{path}.url", web=kind is SourceKind.PROMETHEUS)
    return {"kind": kind, "ask": ask, "url": source.url or "", "value": source.value or ""}


def _check_asked(placed: Placed, kind: SourceKind, ask: str, path: str, *, comparing: bool) -> None:
    if kind is SourceKind.PROMETHEUS and comparing:
        message = "A query gives one value, and counts are four."
        raise placed.refusal(path, message, "Take 'max' or 'min'; or http, sql or python for counts.")
    if kind is SourceKind.SQL and (not _STATEMENT.match(ask) or ";" in ask):
        message = "Only one statement is run, and it reads: this is not one SELECT."
        raise placed.refusal(path, message, "Begin with SELECT or WITH, and leave ';' out.")
    if kind is SourceKind.PYTHON and not _FUNCTION.fullmatch(ask):
        message = f"{ask[:40]!r} names no function."
        raise placed.refusal(path, message, "Name an entry point, or write module:function.")
    if kind is SourceKind.HTTP:
        _check_url(placed, ask, path, web=True)
    if kind in (SourceKind.HTTP, SourceKind.PROMETHEUS) and (unknown := unknown_names(ask, kind)):
        message = f"Nothing is called {{{unknown[0]}}}."
        next_step = "There are model, deployment, release, candidate.version, candidate.label, stable.version, stable.label, since and now."
        raise placed.refusal(path, message, next_step)


def _check_url(placed: Placed, url: str, path: str, *, web: bool) -> None:
    if _REFERENCE.fullmatch(url):
        return
    try:
        parts = urlsplit(url)
        whole = bool(parts.scheme) and (bool(parts.hostname) or not web) and parts.port != 0
    except ValueError:
        raise placed.refusal(path, "This is not a URL.", "Correct it.") from None
    if not whole or (web and parts.scheme not in ("http", "https")):
        wanted = "http://127.0.0.1:9090" if web else "sqlite:///orders.db or env:ORDERS_URL"
        raise placed.refusal(path, "This is not a URL that can be asked.", f"Write {wanted}.")
    rest = f"{parts.path}?{parts.query}#{parts.fragment}"
    told = "@" in parts.netloc and (parts.password is not None or web)
    if told or (parts.scheme.startswith("postgres") and _PASSWORD.search(rest)):
        message = "The URL has a password in it, and a plan is kept and shown."
        raise placed.refusal(path, message, "Put the whole URL into the environment, and write env:NAME.")
    if "{" in parts.netloc:
        message = "Who is asked cannot depend on the release."
        raise placed.refusal(path, message, "Use names in braces in the path and the query alone.")


def _proof(placed: Placed, document: CustomGuardrail, path: str, margin: Margin) -> tuple[Margin, ...]:
    given = DEFAULT_PROOF if document.proof is None else document.proof.margins
    narrow = [one for one in given if one.kind is margin.kind and one.value <= margin.value]
    if document.proof is None:
        return tuple(one for one in DEFAULT_PROOF if one not in narrow)
    if narrow:
        message = "The proof margin is not wider than the margin."
        next_step = "Give a wider one, or narrow 'margin': what may be promoted must not yet be rolled back."
        raise placed.refusal(f"{path}.proof_margin", message, next_step)
    if Margin(MarginKind.ODDS, 1.0) in given:
        message = "Odds of 1 leave no room in which anything could be shown."
        raise placed.refusal(f"{path}.proof_margin", message, "Give odds above 1, such as 2.")
    return given
