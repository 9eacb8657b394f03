"""The options of one data source, read one by one; what nobody asked for is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lastgood.errors import Code, LastgoodError


class Options:
    """The ``options`` of the source ``name``. Each reader raises ``invalid`` naming the option; call :meth:`end` last."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._name = name
        self._left = dict(options)

    def text(self, option: str, default: str | None = None) -> str:
        """Return a text that is not empty; without a default it must be there."""
        value = self._left.pop(option, default)
        if value is None:
            raise self.wrong(option, "is missing")
        if not isinstance(value, str) or not value or "\0" in value:
            raise self.wrong(option, "is not a text")
        return value

    def path(self, option: str) -> Path:
        """Return an absolute path; ``~`` is the home folder."""
        return Path(self.text(option)).expanduser().absolute()

    def seconds(self, option: str, default: float) -> float:
        """Return seconds above 0 and at most 3600."""
        value = self._left.pop(option, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 3600:
            raise self.wrong(option, "is not a number of seconds above 0 and at most 3600")
        return float(value)

    def flag(self, option: str) -> bool:
        """Return true or false; false when it is not there."""
        value = self._left.pop(option, False)
        if not isinstance(value, bool):
            raise self.wrong(option, "is neither true nor false")
        return value

    def texts(self, option: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return a list of texts; without a default it must be there and hold at least one."""
        value = self._left.pop(option, default)
        if value is None:
            raise self.wrong(option, "is missing")
        if not isinstance(value, list | tuple) or (not value and default is None):
            raise self.wrong(option, "is not a list of texts")
        if not all(isinstance(each, str) and each and "\0" not in each for each in value):
            raise self.wrong(option, "is not a list of texts")
        return tuple(value)

    def mapping(self, option: str) -> dict[str, Any]:
        """Return values by name; empty when it is not there."""
        value = self._left.pop(option, {})
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise self.wrong(option, "is not a mapping of names to values")
        return dict(value)

    def end(self) -> None:
        """Refuse options that nothing read."""
        if self._left:
            raise self.wrong(min(self._left), "is unknown")

    def wrong(self, option: str, why: str) -> LastgoodError:
        """Return the error for an option. Values are not shown: one may be a secret in the wrong place."""
        return LastgoodError(
            Code.INVALID,
            f"The option {option!r} of the data source {self._name!r} {why}.",
            "Correct the source in the settings.",
        )
