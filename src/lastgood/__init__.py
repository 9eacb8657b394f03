"""Keeps a deployed machine-learning model on its last good version.

The command ``lastgood`` and its HTTP APIs do the work; these names are for Python programs beside them: reading
settings, checking a plan before it is used, reading what the control API answers, and counting what a model in Python
knows of its own answers (:func:`count`).

    from pathlib import Path

    import lastgood

    plan = lastgood.parse_plan(Path("plan.yaml").read_text(), source="plan.yaml")
    for step in plan.steps:
        print(step.kind, step.weight)

    try:
        lastgood.load_settings()
    except lastgood.LastgoodError as error:
        print(error.code, error.message, error.next_step)

Each name is imported when it is first used, so that importing a part of Lastgood costs only that part.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lastgood.domain.deployment import Deployment, Role
    from lastgood.domain.plan import Plan, Step, Strategy
    from lastgood.domain.plan_built_in import built_in
    from lastgood.domain.plan_file import parse_plan
    from lastgood.domain.plan_schema import plan_schema
    from lastgood.domain.release import TRANSITIONS, Event, Phase, Release
    from lastgood.domain.verdict import Finding, Verdict
    from lastgood.domain.version import Format, Signature, Tensor, Version
    from lastgood.errors import Code, LastgoodError
    from lastgood.host.counting import count
    from lastgood.settings import Settings, load_settings

    __version__: str

_HOMES: Final = {
    "errors": ("Code", "LastgoodError"),
    "settings": ("Settings", "load_settings"),
    "domain.version": ("Format", "Signature", "Tensor", "Version"),
    "domain.plan": ("Plan", "Step", "Strategy"),
    "domain.plan_built_in": ("built_in",),
    "domain.plan_file": ("parse_plan",),
    "domain.plan_schema": ("plan_schema",),
    "domain.release": ("Event", "Phase", "Release", "TRANSITIONS"),
    "domain.deployment": ("Deployment", "Role"),
    "domain.verdict": ("Finding", "Verdict"),
    "host.counting": ("count",),
}
_MODULE_OF: Final = {name: f"lastgood.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "TRANSITIONS",
    "Code",
    "Deployment",
    "Event",
    "Finding",
    "Format",
    "LastgoodError",
    "Phase",
    "Plan",
    "Release",
    "Role",
    "Settings",
    "Signature",
    "Step",
    "Strategy",
    "Tensor",
    "Verdict",
    "Version",
    "__version__",
    "built_in",
    "count",
    "load_settings",
    "parse_plan",
    "plan_schema",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - the heaviest import here, for the rarest use

        value: Any = version("lastgood")
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module 'lastgood' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
