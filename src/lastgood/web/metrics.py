"""``/metrics`` for Prometheus: what the gateways counted, the releases, the hosts.

Counters add up every worker life's last report. What a life counted is kept after its report is gone, so
a counter goes back only when this process restarts, which Prometheus knows how to read.
"""

import threading
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from lastgood.bootstrap import Services
from lastgood.domain.traffic import BUCKETS_PER_OCTAVE, ArmCounts, Counter
from lastgood.errors import LastgoodError
from lastgood.web.label_metrics import labels_waiting, predictions_pending
from lastgood.wire.fleet import HostState, read_desired
from lastgood.wire.predictions import waiting_bytes
from lastgood.wire.reports import VersionTotals, WorkerReport

_Key = tuple[str, str, int, str]
_LABELS: Final = ("deployment", "model", "version", "role")
_PLAIN: Final = {
    "bad_requests": ("lastgood_bad_requests", "Requests refused for what they asked: no version's fault."),
    "unanswered": ("lastgood_unanswered_requests", "Requests that got an error because no version answered."),
    "recorded": ("lastgood_predictions_recorded", "Answers that were left for the prediction log."),
    "unrecorded": ("lastgood_predictions_dropped", "Answers in no log, because something was full."),
    "copies_dropped": ("lastgood_copies_dropped", "Copies for a shadow that were due and not made."),
}
_OCTAVES: Final = (8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 22, 23)
"""Histogram bounds are 2**octave microseconds, 256 us to 8.4 s: where the gateways' buckets end exactly."""


class Totals:
    """The counts of every worker life, by deployment, model, version and role. For one thread at a time.

    A life whose report is gone has ended: it becomes part of one sum, so that restarts cost no memory.
    """

    def __init__(self) -> None:
        self._lives: dict[tuple[int, int], WorkerReport] = {}
        self._ended: dict[_Key, VersionTotals] = {}
        self._ended_plain = dict.fromkeys(_PLAIN, 0)
        self._last_ended: dict[int, int] = {}

    @property
    def lives(self) -> int:
        """How many lives are still remembered one by one."""
        return len(self._lives)

    def add(self, reports: Iterable[WorkerReport]) -> list[VersionTotals]:
        """Take the newest reports and return the sums over all lives, living and ended."""
        present = set()
        for report in reports:
            life = (report.slot, report.epoch)
            known = self._lives.get(life)
            if known is None and report.epoch <= self._last_ended.get(report.slot, -1):
                continue  # it is in the sum already
            present.add(life)
            if known is None or report.sequence >= known.sequence:
                self._lives[life] = report
        for life in self._lives.keys() - present:
            self._end(self._lives.pop(life))
        sums = {key: _copied(part) for key, part in self._ended.items()}
        for report in self._lives.values():
            _add_all(sums, report.totals)
        return [sums[key] for key in sorted(sums)]

    def plain(self, name: str) -> int:
        """Return the sum of one plain count of the reports, which belongs to no version."""
        living: int = sum(getattr(life, name) for life in self._lives.values())
        return self._ended_plain[name] + living

    def _end(self, report: WorkerReport) -> None:
        _add_all(self._ended, report.totals)
        for name in _PLAIN:
            self._ended_plain[name] += getattr(report, name)
        last = self._last_ended.get(report.slot, -1)
        self._last_ended[report.slot] = max(last, report.epoch)


class Collector:
    """Reads everything anew for each scrape."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._totals = Totals()
        self._lock = threading.Lock()

    def describe(self) -> list[Metric]:
        """Return nothing: the registry must not scrape on registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric. A store that cannot be read takes only its own metrics away."""
        with self._lock:  # reading too: an older list must not come after a newer one
            totals = self._totals.add(self._services.reports.read())
            plain = {name: self._totals.plain(name) for name in _PLAIN}
        yield from _requests(totals)
        for name, (metric, meaning) in _PLAIN.items():
            yield CounterMetricFamily(metric, meaning, value=plain[name])
        yield GaugeMetricFamily(
            "lastgood_predictions_waiting_bytes",
            "What gateways left for the prediction log and is not in it yet.",
            value=waiting_bytes(self._services.settings.incoming_predictions),
        )
        yield from labels_waiting(self._services.predictions)
        yield from self._routes()
        yield from self._hosts()
        yield from self._store()

    def _routes(self) -> Iterator[Metric]:
        router = self._services.router
        yield GaugeMetricFamily(
            "lastgood_route_generation", "The route generation in force.", value=router.generation()
        )
        yield GaugeMetricFamily(
            "lastgood_gateway_workers", "Gateway workers that live.", value=len(router.workers())
        )

    def _hosts(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "lastgood_host_up", "Whether the model host of a version is ready.", labels=("model", "version")
        )
        memory = GaugeMetricFamily(
            "lastgood_host_rss_bytes", "Resident memory of a model host.", labels=("model", "version")
        )
        observed = self._services.fleet.observe().hosts
        for spec in read_desired(self._services.settings.run).hosts:
            status = observed.get(spec.key)
            labels = (spec.model, str(spec.version))
            up.add_metric(labels, float(status is not None and status.state is HostState.READY))
            memory.add_metric(labels, 0.0 if status is None else status.rss_bytes)
        yield from (up, memory)

    def _store(self) -> Iterator[Metric]:
        phase = GaugeMetricFamily(
            "lastgood_release_phase",
            "1 for the phase of the release under way.",
            labels=("deployment", "phase", "release"),
        )
        weight = GaugeMetricFamily(
            "lastgood_release_weight_ratio",
            "The candidate's share of the traffic, 0 to 1.",
            labels=("deployment", "release"),
        )
        events = CounterMetricFamily("lastgood_events", "Events in the audit record.")
        ready = GaugeMetricFamily(
            "lastgood_ready", "Whether the way back is open; absent while unknown.", labels=("deployment",)
        )
        drill = GaugeMetricFamily(
            "lastgood_drill_duration_seconds",
            "How long the last drill took; absent before the first and when it failed.",
            labels=("deployment",),
        )
        works, under_way = 1.0, []
        try:
            for view in self._services.views.deployments():
                if view.release is not None:
                    under_way.append(view.release)
                    release = str(view.release.id)
                    phase.add_metric((view.deployment, view.release.phase, release), 1)
                    weight.add_metric((view.deployment, release), view.release.weight_percent / 100)
                if view.readiness is not None:
                    ready.add_metric((view.deployment,), float(view.readiness.ready))
                done = self._services.drills.last(view.deployment)
                if done is not None and done.ok:
                    drill.add_metric((view.deployment,), done.seconds)
            last = self._services.views.events(limit=1, newest_first=True)
            events.add_metric((), last[0].sequence if last else 0)
        except LastgoodError:
            works = 0.0  # said by the next metric; the gateways' counts above do not need the store
        yield GaugeMetricFamily("lastgood_store_up", "Whether the store answered this scrape.", value=works)
        if works:
            yield from (phase, weight, ready, drill, events, predictions_pending(under_way))


def registry(services: Services) -> CollectorRegistry:
    """Return a registry of its own, so that nothing else in the process gets into it."""
    found = CollectorRegistry()
    found.register(Collector(services))
    return found


def _requests(totals: list[VersionTotals]) -> Iterator[Metric]:
    requests = CounterMetricFamily("lastgood_requests", "Requests sent to a version.", labels=_LABELS)
    keyed = CounterMetricFamily("lastgood_keyed_requests", "Those that came with a key.", labels=_LABELS)
    errors = CounterMetricFamily("lastgood_errors", "Requests that a version failed.", labels=_LABELS)
    invalid = CounterMetricFamily(
        "lastgood_invalid_outputs", "Answers with NaN, infinity or a wrong shape.", labels=_LABELS
    )
    timeouts = CounterMetricFamily(
        "lastgood_timeouts", "Requests that a version did not answer in time.", labels=_LABELS
    )
    fallbacks = CounterMetricFamily(
        "lastgood_fallbacks",
        "Requests of a version that another one answered.",
        labels=(*_LABELS, "reason"),
    )
    duration = HistogramMetricFamily(
        "lastgood_request_duration_seconds",
        "From gateway to host and back. The sum is made from narrow buckets, within 2.2 %.",
        labels=_LABELS,
    )
    for part in totals:
        labels = (part.deployment, part.model, str(part.version), part.role)
        requests.add_metric(labels, part.counts.requests)
        keyed.add_metric(labels, part.counts.keyed)
        errors.add_metric(labels, part.counts.errors)
        invalid.add_metric(labels, part.counts.invalid)
        timeouts.add_metric(labels, part.counts.timeouts)
        for reason, count in sorted(part.fallbacks.items()):
            fallbacks.add_metric((*labels, reason), count)
        buckets, total = histogram(part.counts.latency)
        duration.add_metric(labels, buckets, total)
    yield from (requests, keyed, errors, invalid, timeouts, fallbacks, duration, *_counters(totals))


def _counters(totals: list[VersionTotals]) -> Iterator[Metric]:
    labels = (*_LABELS, "counter")
    total = CounterMetricFamily(
        "lastgood_counter", "Requests that reported a counter of the version's own.", labels=labels
    )
    bad = CounterMetricFamily(
        "lastgood_counter_bad", "Requests that a counter of the version's own calls bad.", labels=labels
    )
    for part in totals:
        for name, counter in sorted(part.counts.counters.items()):
            values = (part.deployment, part.model, str(part.version), part.role, name)
            total.add_metric(values, counter.total)
            bad.add_metric(values, counter.bad)
    yield from (total, bad)


def histogram(latency: dict[int, int]) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative buckets in seconds and the approximate sum, from log2 buckets of microseconds."""
    buckets: list[tuple[str, float]] = []
    for octave in _OCTAVES:
        below = sum(count for bucket, count in latency.items() if bucket < octave * BUCKETS_PER_OCTAVE)
        buckets.append((repr(2**octave / 1e6), float(below)))
    buckets.append(("+Inf", float(sum(latency.values()))))
    total = sum(count * 2 ** ((bucket + 0.5) / BUCKETS_PER_OCTAVE) / 1e6 for bucket, count in latency.items())
    return buckets, float(total)


def _copied(part: VersionTotals) -> VersionTotals:
    sums: dict[_Key, VersionTotals] = {}
    _add_all(sums, [part])
    return sums[part.deployment, part.model, part.version, part.role]


def _add_all(sums: dict[_Key, VersionTotals], parts: Iterable[VersionTotals]) -> None:
    for part in parts:
        key = (part.deployment, part.model, part.version, part.role)
        if key not in sums:
            deployment, model, version, role = key
            sums[key] = VersionTotals(
                deployment=deployment,
                model=model,
                version=version,
                role=role,
                counts=ArmCounts(latency={}),
                fallbacks={},
            )
        _add(sums[key], part)


def _add(total: VersionTotals, part: VersionTotals) -> None:
    counts, more = total.counts, part.counts
    counts.requests += more.requests
    counts.errors += more.errors
    counts.invalid += more.invalid
    counts.timeouts += more.timeouts
    counts.keyed += more.keyed
    for name, counter in more.counters.items():
        known = counts.counters.setdefault(name, Counter())
        known.total += counter.total
        known.bad += counter.bad
    for bucket, count in more.latency.items():
        counts.latency[bucket] = counts.latency.get(bucket, 0) + count
    for reason, count in part.fallbacks.items():
        total.fallbacks[reason] = total.fallbacks.get(reason, 0) + count
