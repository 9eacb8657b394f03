"""The rules that span the keys of a plan file's drift guardrails, and what they become."""

from lastgood.domain.drift import DriftTerms
from lastgood.domain.placed_yaml import Placed
from lastgood.domain.plan import Guardrail, Metric, OnFail, Strategy
from lastgood.domain.plan_drift import DriftDocument, DriftGuardrail

_DISTANCE = DriftTerms().distance


def read_drift(placed: Placed, document: DriftDocument, path: str, strategy: Strategy) -> Guardrail:
    """Return the guardrail but for its share of the false rollback rate.

    :raises LastgoodError: ``invalid`` with the place of the first rule that is broken.
    """
    metric = Metric(str(type(document).__struct_config__.tag))
    distance = _DISTANCE if document.distance is None else float(document.distance)
    if not 0.0 < distance < 1.0:
        message = f"A distance of {100.0 * distance:g}% " + (
            "forgives nothing, and no two samples are the same."
            if distance <= 0.0
            else "forgives everything."
        )
        raise placed.refusal(f"{path}.distance", message, "Give one between the two, such as 10%.")
    if isinstance(document, DriftGuardrail):
        terms = _of_inputs(placed, document, path, distance)
    elif strategy is not Strategy.CANARY:
        message = f"The strategy {strategy.value} leaves no traffic on stable for {document.name or metric.value!r} to compare with."
        raise placed.refusal(path, message, "Use canary, or leave this guardrail out.")
    else:
        terms = DriftTerms(output=document.output or "", distance=distance)
    return Guardrail(
        name=document.name or metric.value,
        metric=metric,
        on_fail=document.on_fail,
        proof=(),
        min_samples=document.min_samples,
        no_data=document.no_data,
        dry_run=document.dry_run,
        drift=terms,
    )


def _of_inputs(placed: Placed, document: DriftGuardrail, path: str, distance: float) -> DriftTerms:
    if document.on_fail is OnFail.ROLLBACK:
        message = (
            "Drift of the inputs reaches both versions alike and convicts neither, so it rolls nothing back."
        )
        raise placed.refusal(f"{path}.on_fail", message, "Write 'alert', or 'hold' to let a person decide.")
    features = document.features or []
    twice = next((name for index, name in enumerate(features) if name in features[:index]), None)
    if twice is not None:
        raise placed.refusal(f"{path}.features", f"{twice!r} is listed twice.", "Name each feature once.")
    return DriftTerms(features=tuple(features), distance=distance)
