"""Sketches out of a list: the port for tests that need no log."""

from functools import reduce

from lastgood.domain.sketch import Sketch, SketchRow

_DAY = 86_400.0


class ListedSketches:
    """Whatever a test appends to ``listed``, in the order of ``seq``."""

    def __init__(self) -> None:
        self.listed: list[SketchRow] = []

    def since(self, release: int, after: int, limit: int) -> tuple[list[SketchRow], int]:
        """Return what is new."""
        last = max((one.seq for one in self.listed), default=0)
        known = min(after, last)  # as in a log that was begun anew
        found = [one for one in self.listed if one.release == release and one.seq > known][:limit]
        return found, found[-1].seq if len(found) == limit else last

    def before(self, deployment: str, version: int, at: float) -> dict[str, Sketch]:
        """Return the sums over the day before ``at``."""
        rows = [
            one
            for one in self.listed
            if (one.deployment, one.version) == (deployment, version) and at - _DAY <= one.at < at
        ]
        names = sorted({name for one in rows for name in one.outputs})
        return {
            name: reduce(Sketch.plus, (one.outputs[name] for one in rows if name in one.outputs))
            for name in names
        }
