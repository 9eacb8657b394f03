"""A custom metric from a function: an entry point of the group ``lastgood.metrics``, or module:function.

As a program (``python -m lastgood.integrations.metric_python``) it is the child that calls the function, so that a
function that hangs, crashes or fills its memory does that to itself.
"""

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from lastgood.domain.custom import CustomTerms, Reading, Subject, reading_of
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.metric_child import ANSWER_BYTES_MAX, ChildAnswer, answer_with, hear, run_child
from lastgood.wire.credentials import without_credentials

GROUP: Final = "lastgood.metrics"
_MODULE: Final = "lastgood.integrations.metric_python"
_SHOWN_CHARACTERS: Final = 200


class _Asked(msgspec.Struct):
    function: str
    counts: bool
    context: dict[str, Any]


class PythonMetric:
    """Calls functions in processes of their own. Safe from any thread."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ

    def ask(self, terms: CustomTerms, subject: Subject) -> Reading | None:
        """Return what the function says about ``subject``.

        :raises LastgoodError: as :class:`lastgood.quality_ports.Metrics` says.
        """
        asked = {"function": terms.ask, "counts": terms.counts, "context": subject.context()}
        return run_child(
            _MODULE,
            asked,
            what=f"The function {terms.ask!r}",
            folder=self._folder,
            environ=self._environ,
            seconds=terms.timeout,
        )


def _function(name: str) -> Callable[[dict[str, Any]], object]:
    if ":" in name:
        module, _, path = name.partition(":")
        sys.path.append(str(Path.cwd()))  # last: the project's own modules, where nothing else is called so
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    else:
        known = {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
        if name not in known:
            raise LastgoodError(
                Code.INVALID,
                f"No entry point {name!r} of the group {GROUP} is installed (known: {', '.join(sorted(known)) or 'none'}).",
                "Install it where the server runs.",
            )
        found = known[name].load()
    if not callable(found):
        raise LastgoodError(Code.INVALID, f"{name!r} is no function.", "Name one.")
    return found  # type: ignore[no-any-return]


def _called(asked: _Asked) -> ChildAnswer:
    try:
        answer = _function(asked.function)(asked.context)
        if len(repr(answer)) > ANSWER_BYTES_MAX:
            message = f"The function {asked.function!r} answered more than {ANSWER_BYTES_MAX} bytes."
            return ChildAnswer(code=Code.TOO_LARGE.value, error=message)
        return ChildAnswer(reading=reading_of(answer, counts=asked.counts))
    except LastgoodError as error:
        return ChildAnswer(code=error.code.value, error=error.message)
    except Exception as error:  # noqa: BLE001 - whatever somebody's function does is told, never raised on
        said = " ".join(without_credentials(str(error)).split())[:_SHOWN_CHARACTERS]
        why = f"{type(error).__name__}{f': {said}' if said else ''}"
        return ChildAnswer(
            code=Code.UNAVAILABLE.value, error=f"The function {asked.function!r} raised {why}."
        )


def main() -> None:
    """Call the function that standard input names, and answer."""
    answer_with(_called(hear(_Asked)))


if __name__ == "__main__":
    main()
