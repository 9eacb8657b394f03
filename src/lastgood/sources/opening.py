"""From the settings' tables ``[data.NAME]`` to sources, by the providers that are installed."""

import functools
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lastgood.data_ports import DataSource
from lastgood.errors import Code, LastgoodError
from lastgood.settings import Settings
from lastgood.sources.own_tokens import OwnTokens, home_mark
from lastgood.sources.same_data import check_one_name
from lastgood.sources.tokens import checked
from lastgood.wire import private

GROUP: Final = "lastgood.sources"


def openers(settings: Settings) -> dict[str, Callable[[], DataSource]]:
    """Return what opens each source of the settings, by its name; nothing is opened or loaded yet."""
    return {
        name: functools.partial(_open, settings, name, options) for name, options in settings.data.items()
    }


def _open(settings: Settings, name: str, options: Mapping[str, Any]) -> DataSource:
    checked(name)
    project = Path(settings.home).parent
    given = _resolved(options, project)
    check_one_name(name, {one: _resolved(found, project) for one, found in settings.data.items()})
    provider = given.pop("provider", None)
    found = {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
    if not isinstance(provider, str) or provider not in found:
        raise LastgoodError(
            Code.INVALID,
            f"The data source {name!r} has the provider {provider!r}; known: {', '.join(sorted(found))}.",
            f"Correct the table [data.{name}] in lastgood.toml.",
        )
    kept = settings.kept_data / name
    private.make_folder(settings.kept_data)
    private.make_folder(kept)
    try:
        create = found[provider].load()
    except ModuleNotFoundError as error:
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"Sources of the provider {provider!r} need {error.name!r}, which is not installed.",
            f"Install it: pip install 'lastgood[{provider}]'.",
        ) from None
    source: DataSource = create(name, given, kept)
    return OwnTokens(source, home_mark(settings.kept_data))


def _resolved(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the options with a relative ``path`` taken from the project's folder."""
    path = options.get("path")
    if isinstance(path, str) and path and not path.startswith("~"):
        return {**options, "path": str(folder / path)}
    return dict(options)
