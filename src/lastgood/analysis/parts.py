"""A guardrail's comparison as parts: which tests it runs, on which trials, and what a stratum makes of them.

What is judged how
    =================================== ==================================== =====================================
    guardrail                           worse than stable?                   shown not to be worse? (any margin)
    =================================== ==================================== =====================================
    errors, timeouts, invalid output,   one test, by odds or difference      by odds or difference
    counter
    latency, objective                  the same on "slower than it"         the same on "slower than it"
    latency, quantiles                  the same on "slower than q of the    the same, for each q given, else
                                        past", each at its part of alpha     0.5, 0.9 and 0.98; all must show
    latency, distribution               by ranks, the candidate taken to be  as for quantiles
                                        quicker by the margin
    =================================== ==================================== =====================================
    Units: ``keys`` are for the first row alone, as a key has no first slow request; latencies take requests then.
    With ``hosts`` every part counts host-minutes, and a distribution becomes its four default quantiles: ranks
    know no hosts.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from lastgood.analysis import comparisons, hostunits, latency
from lastgood.analysis.budget import proof_alpha
from lastgood.analysis.comparisons import ByRanks, Proof, Test, Worse
from lastgood.analysis.hostunits import HostMinutes
from lastgood.analysis.latency import Past
from lastgood.analysis.trials import Trials
from lastgood.domain.plan import DEFAULT_QUANTILES, Guardrail, LatencyTest, Margin, Metric, Plan
from lastgood.domain.traffic import Baseline, Stratum, Units
from lastgood.stats import ranks

DRAWS: Final = 200
"""Tables drawn to boost a rank test near its bound."""

_SAME: Final = Margin(value=1.0)


class Part(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One stream of trials and the tests on it.

    ``test`` asks whether the candidate is worse (None where only the proof looks), ``proofs`` whether it is shown not
    to be, one for each proof margin. ``bucket`` is the first that is too slow, ``quantile`` the one of the past that
    sets it, ``shift`` by how many buckets the candidate is taken to be quicker. ``trials`` sums what was counted,
    without thinning; ``hosts`` is set where host-minutes are the units.
    """

    name: str
    test: Test | None = None
    proofs: tuple[Proof, ...] = ()
    bucket: int | None = None
    quantile: float | None = None
    shift: int = 0
    trials: Trials = Trials()
    hosts: HostMinutes | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of one guardrail's comparison. ``compared`` candidate trials had trials of stable beside them.

    ``too_large`` strata held more trials than any bet is computed for: nothing in them was compared.
    """

    parts: tuple[Part, ...]
    past: Past | None = None
    compared: int = 0
    too_large: int = 0


def only_alerts(guardrail: Guardrail, baseline: Baseline) -> bool:
    """Return whether nothing but an alert may follow from a guardrail's comparison in a release with this baseline.

    Where keys are the units each caller stays on one arm and has speeds of its own: the few on the candidate may be
    slow ones, which no number of their requests shows.
    """
    compares = guardrail.latency_test is not LatencyTest.NONE
    return guardrail.metric is Metric.LATENCY and compares and baseline.units is Units.KEYS


def units_of(guardrail: Guardrail, baseline: Baseline) -> Units:
    """Return the units that a guardrail counts in a release with this baseline."""
    if guardrail.metric is Metric.LATENCY and baseline.units is Units.KEYS:
        return Units.REQUESTS
    return baseline.units


def initial(plan: Plan, baseline: Baseline, guardrail: Guardrail, alpha: float) -> Comparison:
    """Return the comparison before any data; ``alpha`` above 0 is the guardrail's part of the false rollback rate."""
    hosts = HostMinutes() if baseline.units is Units.HOSTS else None
    proof = None if only_alerts(guardrail, baseline) else proof_alpha(plan, guardrail)
    proofs = (
        () if proof is None else tuple(comparisons.not_worse(margin, proof) for margin in guardrail.proof)
    )
    parts = tuple(
        msgspec.structs.replace(part, hosts=hosts) for part in _parts(guardrail, baseline, alpha, proofs)
    )
    past = None
    if guardrail.latency_test in (LatencyTest.QUANTILES, LatencyTest.DISTRIBUTION):
        past = Past(baseline.latency, baseline.latency)
    return Comparison(parts=parts, past=past)


def _parts(
    guardrail: Guardrail, baseline: Baseline, alpha: float, proofs: tuple[Proof, ...]
) -> Iterator[Part]:
    if guardrail.metric is not Metric.LATENCY:
        yield Part(name=guardrail.name, test=comparisons.worse(guardrail.margin, alpha), proofs=proofs)
    elif guardrail.latency_test is LatencyTest.OBJECTIVE and guardrail.objective is not None:
        bucket = latency.objective_bucket(guardrail.objective)
        test = comparisons.worse(guardrail.margin, alpha)
        yield Part(name="slower than the objective", test=test, proofs=proofs, bucket=bucket)
    elif guardrail.latency_test is LatencyTest.QUANTILES:
        tested = guardrail.quantiles or DEFAULT_QUANTILES
        shown = guardrail.quantiles or latency.PROOF_QUANTILES
        for q in dict.fromkeys((*tested, *(shown if proofs else ()))):
            own = comparisons.worse(guardrail.margin, alpha / len(tested)) if q in tested else None
            yield _quantile(q, own, proofs if q in shown else ())
    elif guardrail.latency_test is LatencyTest.DISTRIBUTION:
        yield from _distribution(guardrail, baseline, alpha)
        if proofs:
            yield from (_quantile(q, None, proofs) for q in guardrail.quantiles or latency.PROOF_QUANTILES)


def _distribution(guardrail: Guardrail, baseline: Baseline, alpha: float) -> Iterator[Part]:
    shift = latency.shift_of(guardrail.margin)
    if baseline.units is not Units.HOSTS:
        whole = ranks.initial(alpha, baseline.latency, draws=DRAWS)
        yield Part(name="distribution", test=ByRanks(whole), shift=shift)
        return
    for q in DEFAULT_QUANTILES:
        test = comparisons.worse(_SAME, alpha / len(DEFAULT_QUANTILES))
        yield msgspec.structs.replace(_quantile(q, test, ()), shift=shift)


def _quantile(q: float, test: Worse | None, proofs: tuple[Proof, ...]) -> Part:
    return Part(name=f"slower than p{100.0 * q:g}", test=test, proofs=proofs, quantile=q)


def with_rates(comparison: Comparison, guardrail: Guardrail, stratum: Stratum, trials: Trials) -> Comparison:
    """Return the comparison of a bad/total metric after one more stratum, from which it takes ``trials``."""
    parts = tuple([_with(part, guardrail, stratum, trials) for part in comparison.parts])
    return _counted(comparison, parts, trials)


def with_latencies(
    comparison: Comparison, guardrail: Guardrail, stratum: Stratum, *, copies: bool = False
) -> Comparison:
    """Return the comparison of latencies after one more stratum.

    The candidate's of ``copies`` are those of a host with little to do. Where it is slower even so it may fail; that it is
    not proves nothing, and such requests are not among those that were compared.
    """
    candidate, stable = stratum.candidate.latency, stratum.stable.latency
    past = None if comparison.past is None else latency.about_to_use(comparison.past)
    told = past is None or latency.known(past)
    parts = []
    for part in comparison.parts:
        quicker = latency.shifted(candidate, part.shift)
        if isinstance(part.test, ByRanks):
            name = f"{stratum.release}:{guardrail.name}:{stratum.sequence}"
            state = ranks.update(part.test.state, quicker, stable, stratum=name)
            parts.append(msgspec.structs.replace(part, test=ByRanks(state)))
            continue
        bucket = part.bucket
        if past is not None and part.quantile is not None and told:
            bucket = latency.past_bucket(past.ranked, part.quantile)
        if bucket is None:
            parts.append(part)
            continue
        trials = latency.slower(quicker, stable, bucket)
        own = msgspec.structs.replace(part, bucket=bucket)
        parts.append(_with(own, guardrail, stratum, trials))
    counted = latency.slower(candidate, stable, 0) if told else Trials()
    following = _counted(comparison, tuple(parts), counted)
    if copies:
        pairs = zip(following.parts, comparison.parts, strict=True)
        unproven = tuple(msgspec.structs.replace(part, proofs=before.proofs) for part, before in pairs)
        following = msgspec.structs.replace(following, parts=unproven, compared=comparison.compared)
    if past is None:
        return following
    return msgspec.structs.replace(following, past=latency.after(past, candidate, stable))


def _counted(comparison: Comparison, parts: tuple[Part, ...], trials: Trials) -> Comparison:
    if comparisons.too_large(trials) and any(
        part.hosts is None and not isinstance(part.test, ByRanks) for part in parts
    ):
        return msgspec.structs.replace(comparison, parts=parts, too_large=comparison.too_large + 1)
    beside = trials.n1 if trials.n0 else 0
    return msgspec.structs.replace(comparison, parts=parts, compared=comparison.compared + beside)


def _with(part: Part, guardrail: Guardrail, stratum: Stratum, trials: Trials) -> Part:
    """Return a part after one more stratum of trials, as host-minutes where these are the units."""
    sums = part.trials.plus(trials)
    if part.hosts is None:
        return _tested(part, trials, sums)
    minute = int(stratum.closed_at // 60.0)
    seed = f"{stratum.release}:{guardrail.name}:{part.name}:{part.shift}"
    hosts, closed = hostunits.add(part.hosts, minute, trials, seed)
    part = msgspec.structs.replace(part, trials=sums, hosts=hosts)
    return part if closed is None else _tested(part, closed, sums)


def _tested(part: Part, trials: Trials, sums: Trials) -> Part:
    """Return the part with these sums, and its tests after these trials; one that is enough keeps the evidence it had."""
    test = part.test
    if test is not None and not isinstance(test, ByRanks):
        test = comparisons.with_worse(test, trials)
    proofs = tuple([comparisons.with_proof(proof, trials) for proof in part.proofs])
    return msgspec.structs.replace(part, test=test, proofs=proofs, trials=sums)
