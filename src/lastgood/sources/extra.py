"""Loading the part of a provider that needs packages of an extra."""

import importlib
from types import ModuleType

from lastgood.errors import Code, LastgoodError


def needing(module: str, extra: str, packages: frozenset[str]) -> ModuleType:
    """Return the module, which imports ``packages``.

    :raises LastgoodError: ``unavailable`` when one of them is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in packages:
            raise
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"The package {error.name!r}, which a data source needs, is not installed.",
            f"Install it: pip install 'lastgood[{extra}]'.",
        ) from None
