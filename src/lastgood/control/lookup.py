"""Finding a deployment by its name, with an error that names the ones there are; and what is under way."""

from lastgood.domain.deployment import Deployment
from lastgood.domain.release import Release
from lastgood.errors import Code, LastgoodError
from lastgood.ports import ReleaseStore


def deployment_named(releases: ReleaseStore, name: str) -> Deployment:
    """Return the deployment called ``name``.

    :raises LastgoodError: ``not_found``, naming the known ones.
    """
    found = releases.deployment(name)
    if found is None:
        known = ", ".join(one.name for one in releases.deployments()) or "none yet"
        raise LastgoodError(
            Code.NOT_FOUND,
            f"There is no deployment {name!r}; known deployments: {known}.",
            "Check the name. A deployment is made by releasing a first version: lastgood release MODEL --version 1",
        )
    return found


def under_way(releases: ReleaseStore) -> list[Release]:
    """Return the releases under way of all deployments."""
    found = (None if one.release is None else releases.release(one.release) for one in releases.deployments())
    return [release for release in found if release is not None]
