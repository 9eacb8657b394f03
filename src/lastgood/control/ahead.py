"""What the reports of one turn add to many releases: folded one by one, saved in one transaction.

A short cut and nothing else: whatever does not work here is left to each release by itself, where it is told.
"""

import logging
from collections.abc import Callable, Iterable

from lastgood.domain.change import Evidence, EvidenceStep
from lastgood.domain.deployment import Deployment
from lastgood.domain.release import Release
from lastgood.domain.traffic import Stratum
from lastgood.errors import LastgoodError
from lastgood.ports import EvidenceStore

logger = logging.getLogger(__name__)
Faults = tuple[LastgoodError, ...]
Folded = tuple[Evidence, Evidence, tuple[Stratum, ...], Faults]
"""The evidence before and after, the strata between, and what cannot be used of the counts."""


class Ahead:
    """The releases that were measured last, and what of the present turn is folded and saved already."""

    def __init__(self, store: EvidenceStore) -> None:
        self._store = store
        self._measured: dict[int, tuple[int, Release]] = {}  # with the revision of the deployment
        self._faults: dict[int, Faults] = {}

    def remember(self, deployment: Deployment, release: Release) -> None:
        """Note that a release is measured, as it was when its deployment had this revision."""
        self._measured[release.id] = (deployment.revision, release)

    def save(
        self, deployments: Iterable[Deployment], fold: Callable[[Release], Folded]
    ) -> dict[int, Evidence]:
        """Fold and save the measured releases of the deployments that nobody has changed since; return what is saved.

        A revision is that of the deployment and its release together, so the release is known without reading it.
        """
        self._faults, steps, done = {}, [], {}
        for deployment in deployments:
            revision, release = self._measured.pop(deployment.release or 0, (None, None))
            if release is None or revision != deployment.revision:
                continue
            try:
                before, after, strata, done[release.id] = fold(release)
            except Exception as error:  # noqa: BLE001 - of one release; it comes again when that one is driven
                logger.debug("release %d is not folded ahead: %s", release.id, error)
                continue
            if strata:
                steps.append(EvidenceStep(before=before.sequence, evidence=after, strata=strata))
        try:
            if steps:
                self._store.save_evidence(*steps)
        except LastgoodError as error:
            logger.debug("%d releases are saved one by one: %s", len(steps), error)
            return {}
        self._faults = done
        return {step.evidence.release: step.evidence for step in steps}

    def taken(self, release: Release) -> Faults | None:
        """Return the faults of a release whose counts of this turn are in its evidence, once; else None."""
        return self._faults.pop(release.id, None)

    def forget(self, release: Release) -> None:
        """Drop what is remembered of a release."""
        self._measured.pop(release.id, None)
        self._faults.pop(release.id, None)
