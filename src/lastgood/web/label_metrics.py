"""What ``/metrics`` says of labels: those that wait, and predictions of releases under way that have none."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from lastgood.control.views import ReleaseView
from lastgood.errors import LastgoodError
from lastgood.predictions.log import PredictionLog


def labels_waiting(log: PredictionLog) -> Iterator[Metric]:
    """Yield how many labels wait for their predictions; nothing where that is unknown. Takes no longer in a larger log."""
    if not log.path.exists():
        return  # looking makes none
    try:
        waiting = log.counts().labels_waiting
    except LastgoodError:
        return  # the recorder and whoever gives labels say what is wrong with it
    yield GaugeMetricFamily(
        "lastgood_labels_waiting",
        "Labels whose predictions are not in the prediction log yet.",
        value=waiting,
    )


def predictions_pending(releases: Iterable[ReleaseView]) -> Metric:
    """Return how many predictions of each arm have no label, of releases whose guardrails need labels."""
    pending = GaugeMetricFamily(
        "lastgood_predictions_pending",
        "Predictions without a label, of a release under way whose guardrails need labels.",
        labels=("deployment", "release", "arm"),
    )
    for release in releases:
        # The same for every guardrail: it is told of predictions, not of what a guardrail makes of them.
        told: dict[str, int] = next((one["pending"] for one in release.findings if one.get("pending")), {})
        for arm, number in sorted(told.items()):
            pending.add_metric((release.deployment, str(release.id), arm), number)
    return pending
