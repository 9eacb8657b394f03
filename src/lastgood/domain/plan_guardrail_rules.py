"""The rules that span the keys of a plan file's guardrails, and what they become.

What a single key may hold is in :mod:`lastgood.domain.plan_guardrails`.
"""

import re
from typing import Final

import msgspec

from lastgood.domain.placed_yaml import Placed
from lastgood.domain.plan import (
    DEFAULT_PROOF,
    MAX_GUARDRAILS,
    Guardrail,
    LatencyTest,
    Margin,
    MarginKind,
    Metric,
    Strategy,
)
from lastgood.domain.plan_agreement import AgreementGuardrail, read_agreement
from lastgood.domain.plan_built_in import default_guardrails
from lastgood.domain.plan_custom import CustomGuardrail
from lastgood.domain.plan_custom_rules import plain_number, read_custom
from lastgood.domain.plan_drift import DriftGuardrail, PredictionDriftGuardrail
from lastgood.domain.plan_drift_rules import read_drift
from lastgood.domain.plan_guardrails import (
    COUNTER_PATTERN,
    MAX_QUANTILES,
    ComparingDocument,
    CounterGuardrail,
    GuardrailDocument,
    HealthGuardrail,
    LatencyGuardrail,
)
from lastgood.domain.plan_kpi_rules import read_kpi
from lastgood.domain.plan_kpis import KpiGuardrail
from lastgood.domain.plan_shares import shares_of
from lastgood.domain.version import check_name
from lastgood.errors import LastgoodError

_COUNTER: Final = re.compile(COUNTER_PATTERN, re.ASCII)
_COMPARING_KEYS: Final = {"margin": "margin", "proof": "proof_margin", "min_bad": "min_bad", "share": "share"}
_DEFAULT: Final = Guardrail(name="default", metric=Metric.ERRORS)


def read_guardrails(
    placed: Placed, strategy: Strategy, given: list[GuardrailDocument] | None
) -> tuple[Guardrail, ...]:
    """Return the guardrails of a plan, health among them.

    :raises LastgoodError: ``invalid`` with the place of the first rule that is broken.
    """
    defaults = default_guardrails(strategy)
    if given is None:
        return defaults
    if not given:
        message = "The list of guardrails is empty, so nothing would stop a bad version."
        raise placed.refusal("$.guardrails", message, "Remove the key for the built-in guardrails.")
    if len(given) > MAX_GUARDRAILS:
        message = f"There are {len(given)} guardrails; a plan has at most {MAX_GUARDRAILS}."
        raise placed.refusal(f"$.guardrails[{MAX_GUARDRAILS}]", message, "Use fewer.")
    _check_names(placed, given)
    tests = [
        _latency_test(placed, one, f"$.guardrails[{index}]") if isinstance(one, LatencyGuardrail) else None
        for index, one in enumerate(given)
    ]
    compared = [
        not (isinstance(one, HealthGuardrail | DriftGuardrail | AgreementGuardrail) or plain_number(one))
        and test is not LatencyTest.NONE
        for one, test in zip(given, tests, strict=True)
    ]
    shares = shares_of(placed, given, compared)
    found = []
    for index, one in enumerate(given):
        path = f"$.guardrails[{index}]"
        if isinstance(one, HealthGuardrail):
            health = Guardrail(
                name=one.name or "health", metric=Metric.HEALTH, on_fail=one.on_fail, misses=one.misses
            )
            found.append(health)
            continue
        if isinstance(one, KpiGuardrail):
            labelled = read_kpi(placed, one, path, strategy)
            found.append(msgspec.structs.replace(labelled, share=shares[index]))
            continue
        if isinstance(one, DriftGuardrail | PredictionDriftGuardrail):
            drift = read_drift(placed, one, path, strategy)
            found.append(msgspec.structs.replace(drift, share=shares[index]))
            continue
        if isinstance(one, AgreementGuardrail):
            found.append(read_agreement(placed, one, path))
            continue
        if isinstance(one, CustomGuardrail):
            custom = read_custom(placed, one, path, strategy)
            found.append(msgspec.structs.replace(custom, share=shares[index]))
            continue
        guardrail = _comparing(placed, one, path, tests[index] or LatencyTest.NONE)
        guardrail = msgspec.structs.replace(guardrail, share=shares[index])
        found.append(_limited(placed, guardrail, path, strategy, compares=compared[index]))
    written = any(guardrail.metric is Metric.HEALTH for guardrail in found)
    return tuple(found) if written else (defaults[0], *found)


def compares(guardrail: Guardrail) -> bool:
    """Return whether a guardrail compares the candidate with stable."""
    if guardrail.metric is Metric.LATENCY:
        return guardrail.latency_test is not LatencyTest.NONE
    if guardrail.custom is not None:
        return guardrail.custom.counts
    return guardrail.metric not in (Metric.HEALTH, Metric.DRIFT, Metric.AGREEMENT)


# --- one guardrail ------------------------------------------------------------------------------------


def _comparing(placed: Placed, document: ComparingDocument, path: str, test: LatencyTest) -> Guardrail:
    """Return all but the share and the limit that the strategy adds."""
    metric = _metric(document)
    margin = document.margin.margin if document.margin is not None else _DEFAULT.margin
    if metric is Metric.LATENCY and test is not LatencyTest.OBJECTIVE and margin.kind is MarginKind.ABSOLUTE:
        message = "A margin in points is for rates, and here times are compared."
        raise placed.refusal(f"{path}.margin", message, "Write a factor such as 1.2, or give an 'objective'.")
    guardrail = Guardrail(
        name=_name(document),
        metric=metric,
        on_fail=document.on_fail,
        margin=margin,
        proof=_proof(placed, document, path, margin, test),
        min_bad=_DEFAULT.min_bad if document.min_bad is None else document.min_bad,
        maximum=None if document.maximum is None else float(document.maximum),
        min_samples=document.min_samples,
        no_data=document.no_data,
        dry_run=document.dry_run,
    )
    if isinstance(document, CounterGuardrail):
        return msgspec.structs.replace(guardrail, counter=document.counter)
    if isinstance(document, LatencyGuardrail):
        return msgspec.structs.replace(
            guardrail,
            latency_test=test,
            objective=None if document.objective is None else float(document.objective),
            quantiles=_quantiles(placed, document, path),
            quantile=_DEFAULT.quantile if document.quantile is None else float(document.quantile),
        )
    return guardrail


def _latency_test(placed: Placed, document: LatencyGuardrail, path: str) -> LatencyTest:
    ways = [key for key in ("objective", "quantiles", "compare") if getattr(document, key) is not None]
    if len(ways) > 1:
        message = f"Latency is compared in one way only, and here are {' and '.join(ways)}."
        next_step = "Keep one of them; another guardrail with a 'name' of its own may take the other."
        raise placed.refusal(f"{path}.{ways[1]}", message, next_step, at_key=True)
    if document.maximum is not None and document.maximum <= 0:
        raise placed.refusal(
            f"{path}.max", "A latency of no time cannot be kept.", "Give a limit such as 200ms."
        )
    if document.objective is not None and document.objective <= 0:
        message = "An objective of no time cannot be kept."
        raise placed.refusal(f"{path}.objective", message, "Give a time such as 200ms.")
    if document.quantile is not None and document.maximum is None:
        message = "The key 'quantile' says where 'max' applies, and there is no 'max'."
        next_step = "Add a limit such as 'max: 200ms', or write 'quantiles' to compare with stable."
        raise placed.refusal(f"{path}.quantile", message, next_step, at_key=True)
    if ways:
        named = document.compare or ways[0]
        return LatencyTest(str(named))
    if document.maximum is None:
        message = "Nothing says what latency is allowed."
        next_step = (
            "Add a limit such as 'max: 200ms', or compare with stable by 'objective: 200ms', "
            "'quantiles: [p50, p99]' or 'compare: distribution'."
        )
        raise placed.refusal(path, message, next_step)
    for field, key in _COMPARING_KEYS.items():
        if getattr(document, field) is not None:
            message = (
                f"The key {key!r} belongs to a comparison with stable, and 'max' alone compares nothing."
            )
            next_step = "Remove it, or add 'objective', 'quantiles' or 'compare'."
            raise placed.refusal(f"{path}.{key}", message, next_step, at_key=True)
    return LatencyTest.NONE


def _quantiles(placed: Placed, document: LatencyGuardrail, path: str) -> tuple[float, ...]:
    if document.quantiles is None:
        return ()  # none given: those of the test, DEFAULT_QUANTILES
    found = tuple(map(float, document.quantiles))
    if not 1 <= len(found) <= MAX_QUANTILES or len(set(found)) != len(found):
        message = f"There are {len(found)} quantiles here, {len(set(found))} of them different."
        next_step = f"Give 1 to {MAX_QUANTILES}, each once, such as [p50, p99]."
        raise placed.refusal(f"{path}.quantiles", message, next_step)
    return found


def _proof(
    placed: Placed, document: ComparingDocument, path: str, margin: Margin, test: LatencyTest
) -> tuple[Margin, ...]:
    in_time = test is LatencyTest.DISTRIBUTION  # its margin is a factor of time, which no proof margin is
    narrow = [
        one
        for one in _given_proof(document)
        if not in_time and one.kind is margin.kind and one.value <= margin.value
    ]
    if document.proof is None:
        return tuple(one for one in DEFAULT_PROOF if one not in narrow)
    if narrow:
        message = f"The proof margin {_shown(narrow[0])} is not wider than the margin {_shown(margin)}."
        next_step = "Give a wider one, or narrow 'margin': what may be promoted must not yet be rolled back."
        raise placed.refusal(f"{path}.proof_margin", message, next_step)
    if Margin(MarginKind.ODDS, 1.0) in document.proof.margins:
        message = "Odds of 1 leave no room in which anything could be shown."
        raise placed.refusal(f"{path}.proof_margin", message, "Give odds above 1, such as 2.")
    return document.proof.margins


def _given_proof(document: ComparingDocument) -> tuple[Margin, ...]:
    return DEFAULT_PROOF if document.proof is None else document.proof.margins


def _limited(
    placed: Placed, guardrail: Guardrail, path: str, strategy: Strategy, *, compares: bool
) -> Guardrail:
    """Return the guardrail with the hard limit that it needs where stable keeps no traffic to compare with."""
    if strategy is Strategy.CANARY or not compares or guardrail.maximum is not None:
        return guardrail
    if guardrail.metric not in (Metric.LATENCY, Metric.COUNTER):
        limit = next(one.maximum for one in default_guardrails(strategy) if one.metric is Metric.ERRORS)
        return msgspec.structs.replace(guardrail, maximum=limit)
    message = (
        f"The strategy {strategy.value} leaves no traffic on stable for {guardrail.name!r} to compare with."
    )
    raise placed.refusal(path, message, "Add a hard limit ('max'), or use canary.")


# --- all of them --------------------------------------------------------------------------------------


def _metric(document: GuardrailDocument) -> Metric:
    return Metric(str(type(document).__struct_config__.tag))


def _name(document: GuardrailDocument) -> str:
    if document.name is not None:
        return document.name
    return document.counter if isinstance(document, CounterGuardrail) else _metric(document).value


def _check_names(placed: Placed, given: list[GuardrailDocument]) -> None:
    seen = set()
    for index, one in enumerate(given):
        path = f"$.guardrails[{index}]"
        if isinstance(one, CounterGuardrail) and not _COUNTER.fullmatch(one.counter):
            message = f"{one.counter[:40]!r} cannot name a counter."
            next_step = "A counter has small letters, digits and '_', at most 32, and starts with a letter."
            raise placed.refusal(f"{path}.counter", message, next_step)
        name = _name(one)
        try:
            check_name(name, "guardrail")
        except LastgoodError as error:
            next_step = "Choose a name such as 'errors' or 'slow-answers'."
            raise placed.refusal(f"{path}.name", error.message, next_step) from None
        if name in seen:
            message = f"Two guardrails are called {name!r}."
            raise placed.refusal(f"{path}.name", message, "Give this one a 'name' of its own.")
        seen.add(name)
    if all(_name(one) != "health" or isinstance(one, HealthGuardrail) for one in given):
        return
    message = "The name 'health' belongs to the guardrail that is part of every plan."
    raise placed.refusal("$.guardrails", message, "Choose another name.")


def _shown(margin: Margin) -> str:
    return f"{100 * margin.value:g}pp" if margin.kind is MarginKind.ABSOLUTE else f"{margin.value:g}"
