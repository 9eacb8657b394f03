"""Do units fall into groups with the shares they were meant to have? Looked at after every batch, for ever.

Hypothesis
    Each unit falls into group ``a`` with chance ``shares[a]``, independently of the others. A unit is what was drawn: the
    user, where all of a user's requests go the same way.
Guarantee
    When the hypothesis holds, the chance that :func:`reached` is ever true is at most ``alpha`` (Ville's inequality).
Formula
    With counts ``N`` and the prior ``a = 100 shares``, the evidence is the likelihood of the counts under shares drawn from
    Dirichlet(a) over that under ``shares``: ``log E = log B(a + N) - log B(a) - sum_a N_a log shares_a``, ``B`` the
    multivariate beta function. It depends on the sums alone, so order and batches do not matter.
Source
    Lindon and Malek, Anytime-valid inference for multinomial count data (2022).

A fault found here means that groups cannot be compared: it says nothing about any of them being worse.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

CONCENTRATION: Final = 100.0
"""The weight of the prior, in units: how close to the meant shares a fault is expected to be."""


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """The state: plain numbers. ``counts`` are those since ``shares`` last changed, ``log_before`` the evidence until then."""

    alpha: float
    shares: tuple[float, ...]
    counts: tuple[int, ...]
    log_before: float = 0.0
    stopped: bool = False


def initial(alpha: float, shares: Sequence[float]) -> Shares:
    """Return the state before any data.

    ``alpha`` between 0 and 1; at least two ``shares``, each above 0, with sum 1. Raises ValueError otherwise.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"impossible settings: alpha {alpha}")
    return Shares(alpha=alpha, shares=_checked(shares), counts=(0,) * len(shares))


def with_shares(state: Shares, shares: Sequence[float]) -> Shares:
    """Return the state for units that come from now on with other ``shares``; evidence so far is kept.

    The change must not depend on units not yet counted. Raises ValueError as :func:`initial` does, or for another
    number of groups.
    """
    if len(shares) != len(state.shares):
        raise ValueError(f"{len(shares)} shares for {len(state.shares)} groups")
    return msgspec.structs.replace(
        state, shares=_checked(shares), counts=(0,) * len(shares), log_before=log_e(state)
    )


def update(state: Shares, counts: Sequence[int]) -> Shares:
    """Return the state after one batch, units by group; once reached it stays as it is.

    An empty batch changes nothing. Raises ValueError for negative counts or another number of groups.
    """
    if len(counts) != len(state.counts) or min(counts) < 0:
        raise ValueError(f"impossible counts: {list(counts)} in {len(state.counts)} groups")
    if state.stopped or not any(counts):
        return state
    sums = tuple(known + new for known, new in zip(state.counts, counts, strict=True))
    state = msgspec.structs.replace(state, counts=sums)
    return msgspec.structs.replace(state, stopped=log_e(state) >= -math.log(state.alpha))


def log_e(state: Shares) -> float:
    """Return the natural logarithm of the evidence against the hypothesis; 0 before any data."""
    terms = [state.log_before, math.lgamma(CONCENTRATION), -math.lgamma(CONCENTRATION + sum(state.counts))]
    for share, count in zip(state.shares, state.counts, strict=True):
        prior = CONCENTRATION * share
        terms += [math.lgamma(prior + count), -math.lgamma(prior), -count * math.log(share)]
    return math.fsum(terms) if any(state.counts) else state.log_before


def reached(state: Shares) -> bool:
    """Return whether the evidence has ever been enough to reject the hypothesis at ``alpha``."""
    return state.stopped


def _checked(shares: Sequence[float]) -> tuple[float, ...]:
    if len(shares) < 2 or min(shares) <= 0.0 or not math.isclose(math.fsum(shares), 1.0, rel_tol=1e-9):
        raise ValueError(f"shares must be positive numbers with sum 1, not {list(shares)}")
    return tuple(shares)
