"""From observations to verdicts with evidence, as pure functions.

Belongs here: how gateways' counts become strata, how strata become evidence, what a guardrail says of it.
Does not belong here: what follows from a verdict (control), and where anything is kept (store).
"""
