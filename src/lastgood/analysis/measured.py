"""What a release has measured for one guardrail, and what its comparison says so far."""

from collections.abc import Mapping

import msgspec

from lastgood.analysis import comparisons, going_back, latency, trials, watch
from lastgood.analysis.comparisons import ByRanks
from lastgood.analysis.counts import measured_of
from lastgood.analysis.parts import Comparison, Part
from lastgood.analysis.record import Arms
from lastgood.analysis.trials import Trials
from lastgood.analysis.watch import Watch, Watched
from lastgood.domain.plan import Guardrail, Metric
from lastgood.domain.traffic import BUCKETS_PER_OCTAVE, ArmCounts, Units
from lastgood.stats import quantiles


class Measured(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One guardrail's view of the evidence.

    ``alpha`` is its part of the false rollback rate, ``comparison`` None where it compares nothing. ``proving``
    is whether the plan asks for a proof of it, ``only_alerts`` whether its comparison may do no more than alert. ``requests`` is what was measured request by request; of latencies
    none is bad. ``tested`` are the parts that ask whether the candidate is worse, ``lead`` the one of them that is
    nearest to its bound, a failed one first. ``copies`` are those of the measured latencies that copies of a shadow step had,
    ``real`` the candidate's counts without these. ``watched`` is what the guardrail has seen in the watch, ``before`` what the version
    before answered in it, None without pairs.
    """

    guardrail: Guardrail
    units: Units
    alpha: float
    total: Arms
    comparison: Comparison | None
    proving: bool
    only_alerts: bool
    requests: Trials
    tested: tuple[Part, ...]
    lead: Part | None
    real: ArmCounts
    copies: int = 0
    watched: Watched | None = None
    before: ArmCounts | None = None

    def counted(self) -> Trials | None:
        """Return the trials to tell of: those of the part that decides; None where they are no rate."""
        part = self.lead
        if self.guardrail.metric is not Metric.LATENCY:
            return part.trials if part is not None and self.units is Units.KEYS else self.requests
        return None if part is None or isinstance(part.test, ByRanks) or not part.trials.n1 else part.trials

    def reached(self) -> bool:
        """Return whether any test has had enough evidence that the candidate is worse."""
        return any(part.test is not None and comparisons.reached(part.test) for part in self.tested)

    def fails(self) -> bool:
        """Return whether there is enough evidence, and enough bad requests, that the candidate is worse."""
        return self.reached() and any(self._fails(part) for part in self.tested)

    def missing_bad(self) -> int:
        """Return how many bad candidate requests ``min_bad`` still wants of the part that decides."""
        part = self.lead
        return max(0, self.guardrail.min_bad - (0 if part is None else _bad(self.requests, part)))

    def proven(self) -> bool | None:
        """Return whether the candidate is shown not to be worse; None where nothing of the kind is asked."""
        if not self.proving or self.only_alerts or self.comparison is None:
            return None
        asked = [part for part in self.comparison.parts if part.proofs]
        return bool(asked) and all(any(map(comparisons.reached, part.proofs)) for part in asked)

    def no_bet(self) -> str | None:
        """Say why nothing could be compared although both arms answered; None when something was."""
        if self.comparison is None:
            return None
        past = self.comparison.past
        if past is not None and not self.comparison.compared and not latency.known(past):
            return "nothing is compared before 1 000 earlier latencies are known"
        hosts = [part.hosts for part in self.tested if part.hosts is not None]
        if hosts and not any(host.units.n1 for host in hosts):
            return "no minute of both hosts is complete yet"
        return None

    def limited(self) -> tuple[float, bool] | None:
        """Return the rate or seconds that the hard maximum looks at, and whether they are over it.

        None without a maximum or before the candidate has ``min_samples`` measured requests.
        """
        return self._limited(self.shown())

    def shown(self) -> ArmCounts:
        """Return the candidate's counts to tell of: latencies of copies for as long as there are fewer than ``min_samples`` others."""
        enough = self.requests.n1 - self.copies >= max(1, self.guardrail.min_samples)
        return self.real if enough else self.total.candidate

    def beside(self) -> tuple[float, bool] | None:
        """Return the same of what the candidate is held against: the version before in the watch, else stable."""
        known = None if self.before is None else self._limited(self.before)
        return known or self._limited(self.total.stable)

    def no_better(self) -> bool:
        """Return whether the candidate is over the hard maximum and the other version hardly less so.

        Not where a comparison has found the candidate worse.
        """
        limit, beside, maximum = self.limited(), self.beside(), self.guardrail.maximum
        if limit is None or beside is None or maximum is None:
            return False
        alike = going_back.no_better(limit[0], beside[0], maximum)
        return alike and not (self.fails() or self.changed())

    def changed(self) -> bool:
        """Return whether the watch has found the promoted version worse than the one before."""
        if self.watched is None or not watch.reached(self.watched):
            return False
        return self.watched.trials.bad1 >= self.guardrail.min_bad

    def _limited(self, counts: ArmCounts) -> tuple[float, bool] | None:
        guardrail, maximum = self.guardrail, self.guardrail.maximum
        if guardrail.metric is Metric.LATENCY:
            requests, value = quantiles.total(counts.latency), seconds_at(counts, guardrail.quantile) or 0.0
        else:
            requests, bad = measured_of(counts, trials.name_of(guardrail))
            value = bad / requests if requests else 0.0
        if maximum is None or requests < max(1, guardrail.min_samples):
            return None
        return value, value > maximum

    def _fails(self, part: Part) -> bool:
        return _fails(self.guardrail, self.requests, part)


def measured(
    guardrail: Guardrail,
    units: Units,
    total: Arms,
    comparison: Comparison | None,
    *,
    alpha: float,
    proving: bool,
    only_alerts: bool = False,
    copied: Mapping[int, int] = {},
    seen: Watch | None = None,
) -> Measured:
    """Return a guardrail's view of a release's sums, of its comparison and of what was ``seen`` in the watch.

    ``copied`` are the candidate's latencies of copies in shadow steps, those of a host with little to do.
    """
    real, copies = total.candidate, 0
    if guardrail.metric is Metric.LATENCY:
        candidate, stable = quantiles.total(total.candidate.latency), quantiles.total(total.stable.latency)
        requests = Trials(n1=candidate, n0=stable)
        if copied:
            copies = quantiles.total(copied)
            left = {bucket: count - copied.get(bucket, 0) for bucket, count in real.latency.items()}
            real = msgspec.structs.replace(real, latency={one: count for one, count in left.items() if count})
    else:
        requests = trials.by_request(trials.name_of(guardrail), total.candidate, total.stable)
    parts = () if comparison is None else comparison.parts
    tested = tuple(part for part in parts if part.test is not None)
    lead = tested[0] if tested else None
    if len(tested) > 1:
        lead = max(tested, key=lambda part: (_fails(guardrail, requests, part), _nearness(part)))
    return Measured(
        guardrail=guardrail,
        units=units,
        alpha=alpha,
        total=total,
        comparison=comparison,
        proving=proving,
        only_alerts=only_alerts,
        requests=requests,
        tested=tested,
        lead=lead,
        real=real,
        copies=copies,
        watched=None if seen is None else seen.guardrails.get(guardrail.name),
        before=None if seen is None else seen.stable,
    )


def seconds_at(counts: ArmCounts, q: float) -> float | None:
    """Return a quantile of an arm's latencies in seconds; None, never 0, without measurements."""
    if not quantiles.total(counts.latency):
        return None
    return quantiles.quantile(counts.latency, q, BUCKETS_PER_OCTAVE) / 1e6


def _fails(guardrail: Guardrail, requests: Trials, part: Part) -> bool:
    enough = part.test is not None and comparisons.reached(part.test)
    return enough and _bad(requests, part) >= guardrail.min_bad


def _bad(requests: Trials, part: Part) -> int:
    """Return the candidate's bad requests of a part; of a distribution no single one is bad, so all count."""
    return requests.n1 if isinstance(part.test, ByRanks) else part.trials.bad1


def _nearness(part: Part) -> float:
    return 0.0 if part.test is None else comparisons.log_e(part.test) - comparisons.log_bound(part.test)
