"""The names in braces that a URL or a query of a custom metric may hold, and what they become."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from lastgood.domain.custom import SourceKind
from lastgood.errors import Code, LastgoodError

NAMES: Final = (
    "model",
    "deployment",
    "release",
    "candidate.version",
    "candidate.label",
    "stable.version",
    "stable.label",
    "since",
    "now",
)
_BRACED: Final = re.compile(r"\{([A-Za-z_][\w.]*)\}", re.ASCII)


def unknown_names(text: str, kind: SourceKind) -> list[str]:
    """Return the names in braces that mean nothing; in a query, which has braces of its own, only those with a dot."""
    found = [name for name in _BRACED.findall(text) if name not in NAMES]
    return [name for name in found if "." in name] if kind is SourceKind.PROMETHEUS else found


def in_url(text: str, context: Mapping[str, Any]) -> str:
    """Return a URL with each name's value in it, URL-encoded.

    :raises LastgoodError: ``invalid`` for a name that means nothing: nobody has looked at a URL out of the environment.
    """
    if unknown := unknown_names(text, SourceKind.HTTP):
        raise LastgoodError(
            Code.INVALID,
            f"Nothing is called {{{unknown[0]}}}, which the URL has.",
            f"There are {', '.join(NAMES)}.",
        )
    return _BRACED.sub(lambda found: quote(_value(found[1], context), safe=""), text)


def in_query(text: str, context: Mapping[str, Any]) -> str:
    """Return a Prometheus query with each name's value in it, escaped for a place between double quotes."""

    def put(found: re.Match[str]) -> str:
        if found[1] not in NAMES:
            return found[0]
        value = _value(found[1], context)
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'").replace("\n", "\\n")

    return _BRACED.sub(put, text)


def parameters(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names and values that a statement may bind."""
    return {
        "model": context["model"],
        "deployment": context["deployment"],
        "release": context["release"],
        "candidate": context["candidate"]["version"],
        "candidate_label": context["candidate"]["label"],
        "stable": context["stable"]["version"],
        "stable_label": context["stable"]["label"],
        "since": context["since"],
        "now": context["now"],
    }


def _value(name: str, context: Mapping[str, Any]) -> str:
    found: Any = context
    for part in name.split("."):
        found = found[part]
    return "" if found is None else f"{found:.3f}" if isinstance(found, float) else str(found)
