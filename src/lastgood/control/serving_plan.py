"""The plan by which a deployment came to serve what it serves: it goes on saying who hears of what, and what is rehearsed."""

from lastgood.domain.deployment import Deployment
from lastgood.domain.plan import Plan
from lastgood.domain.release import Kind
from lastgood.ports import ReleaseStore

_LOOKED_AT = 100
"""History entries."""


class ServingPlans:
    """Finds these plans; each is looked up again only when its deployment has changed. Safe from any thread."""

    def __init__(self, releases: ReleaseStore) -> None:
        self._releases = releases
        self._known: dict[str, tuple[int, Plan | None]] = {}

    def of(self, deployment: Deployment) -> Plan | None:
        """Return the plan of the newest release that made a version stable here; None before the first.

        A rollback keeps it in force: what is wanted of the deployment did not change with it.
        """
        known = self._known.get(deployment.name)
        if known is None or known[0] != deployment.revision:
            known = self._known[deployment.name] = (deployment.revision, self._found(deployment))
        return known[1]

    def _found(self, deployment: Deployment) -> Plan | None:
        for entry in self._releases.history(deployment.name, limit=_LOOKED_AT):
            release = self._releases.release(entry.release)
            if release is not None and release.kind is Kind.RELEASE:
                return release.plan
        return None
