"""What stable answered lately, as shown to a person or a program."""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from lastgood.analysis.counts import without_firsts
from lastgood.control.lookup import deployment_named
from lastgood.domain.traffic import TrafficMinute
from lastgood.ports import ReleaseStore, TrafficStore

RECENT_MINUTES: Final = 24 * 60


class TrafficView(msgspec.Struct, frozen=True, kw_only=True):
    """The minutes that a deployment's stable ``version`` answered from ``since`` (epoch seconds // 60) on, oldest first.

    ``version`` is None before the first one is stable. The minutes hold counts only, without the hashes of keys.
    """

    deployment: str
    version: int | None
    since: int
    minutes: list[TrafficMinute]


class TrafficViews:
    """Read-only answers from the recorded minutes."""

    def __init__(
        self, *, releases: ReleaseStore, traffic: TrafficStore, now: Callable[[], float] = time.time
    ) -> None:
        self._releases = releases
        self._traffic = traffic
        self._now = now

    def recent(self, name: str) -> TrafficView:
        """Return the last 24 hours of the version that is stable now.

        :raises LastgoodError: ``not_found``, naming the known deployments.
        """
        stable = deployment_named(self._releases, name).stable
        since = int(self._now() // 60) - RECENT_MINUTES
        found = [] if stable is None else self._traffic.traffic(name, since=since, version=stable)
        return TrafficView(
            deployment=name, version=stable, since=since, minutes=[_without_keys(one) for one in found]
        )


def _without_keys(one: TrafficMinute) -> TrafficMinute:
    return msgspec.structs.replace(one, counts=without_firsts(one.counts))
