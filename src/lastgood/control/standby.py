"""Who stands in when stable's host is away: the last good version, while it finds in the live data what it needs."""

from collections.abc import Callable

from lastgood.domain.version import Version


class Standbys:
    """The last good version of each deployment, and whether it was in the route. ``fits`` says whether it may be; it waits for nothing."""

    def __init__(self) -> None:
        self.fits: Callable[[Version], bool] = lambda _: True
        self._chosen: dict[str, tuple[Version, bool]] = {}

    def choose(self, deployment: str, last_good: Version | None) -> int | None:
        """Return the number of the version that stands in, None where none may: asked, it would fail its callers."""
        self._chosen.pop(deployment, None)
        if last_good is None:
            return None
        fitting = self.fits(last_good)
        self._chosen[deployment] = (last_good, fitting)
        return last_good.number if fitting else None

    def outdated(self) -> list[str]:
        """Return the deployments whose choice would be another one now, each once until it is made again."""
        names = [name for name, (version, fitted) in self._chosen.items() if self.fits(version) is not fitted]
        for name in names:
            del self._chosen[name]
        return names
