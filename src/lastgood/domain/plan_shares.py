"""How the guardrails of a plan file divide its false-alarm rate."""

from lastgood.domain.placed_yaml import Placed
from lastgood.domain.plan_agreement import AgreementGuardrail
from lastgood.domain.plan_drift import DriftGuardrail
from lastgood.domain.plan_guardrails import GuardrailDocument, HealthGuardrail


def shares_of(placed: Placed, given: list[GuardrailDocument], compared: list[bool]) -> list[float]:
    """Return each guardrail's part of the rate: what is given stays, the rest is split evenly, the sum is 1.

    ``compared`` says which of them compare; the others and dry runs have none.

    :raises LastgoodError: ``invalid`` with the place of the first share that cannot be.
    """
    shares = [0.0] * len(given)
    open_ones, taking = [], []
    for index, one in enumerate(given):
        if isinstance(one, HealthGuardrail | DriftGuardrail | AgreementGuardrail) or not compared[index]:
            continue
        path = f"$.guardrails[{index}].share"
        if one.dry_run:
            if one.share is not None:
                message = "A dry run takes no share of false_rollback_rate."
                raise placed.refusal(path, message, "Remove 'share' or 'dry_run'.", at_key=True)
            continue
        taking.append(index)
        if one.share is None:
            open_ones.append(index)
        elif one.share <= 0:
            message = "A share of 0% would never let this guardrail fail."
            raise placed.refusal(path, message, "Give it more than 0%.")
        else:
            shares[index] = float(one.share)
    rest = 1.0 - sum(shares)
    too_much, too_little = rest < -1e-9, bool(taking) and not open_ones and rest > 1e-9
    if too_much or too_little or (open_ones and rest <= 1e-9):
        path = f"$.guardrails[{taking[-1]}].share"
        message = f"The shares given come to {100 * sum(shares):g}% of false_rollback_rate."
        next_step = "Together they are 100%; leave a share out to give that guardrail the rest."
        raise placed.refusal(path, message, next_step)
    for index in open_ones:
        shares[index] = rest / len(open_ones)
    return shares
