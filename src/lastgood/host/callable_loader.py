"""Loads any Python callable by ``package.module:factory``: the model's author writes the prediction."""

import ast
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from lastgood.errors import Code, LastgoodError
from lastgood.host.model import Model
from lastgood.wire.fleet import HostSpec


def load(spec: HostSpec) -> Model:
    """Import the factory, from the artifact if it is there and from the environment if not, and call it.

    The artifact is a source file (whatever its name), a folder that becomes the first on ``sys.path``, or any
    file that the factory reads. A factory with a parameter gets the artifact's path. It returns a callable
    that takes arrays by input name and returns arrays by output name, or one array.

    :raises LastgoodError: ``untrusted``, ``invalid`` for a wrong factory, ``refused`` if it raises.
    """
    if not spec.trust_callable:
        raise LastgoodError(
            Code.UNTRUSTED,
            "A callable runs its author's code, and the settings do not trust that.",
            "Export the model to ONNX, or set trust_callable = true in lastgood.toml.",
        )
    module_name, _, attribute = (spec.factory or "").partition(":")
    if not module_name or not attribute.isidentifier():
        raise LastgoodError(
            Code.INVALID,
            f"{spec.factory!r} names no factory.",
            "Give it as package.module:function, with --factory.",
        )
    artifact = Path(spec.artifact)
    try:
        factory = getattr(_module(module_name, attribute, artifact), attribute)
        model = factory(artifact) if _takes_path(factory) else factory()
    except Exception as error:  # the author's own code  # noqa: BLE001
        traceback.print_exc()
        raise LastgoodError(
            Code.REFUSED,
            f"The factory {spec.factory} failed: {type(error).__name__}: {str(error)[:300]}",
            "See the host's log for the whole trace.",
        ) from None
    if not callable(model):
        raise LastgoodError(
            Code.INVALID,
            f"The factory {spec.factory} returned a {type(model).__name__}, not a callable.",
            "Return a function that takes a dict of numpy arrays.",
        )
    return Model(platform="python_callable", signature=None, predict=model)


def _module(name: str, attribute: str, artifact: Path) -> ModuleType:
    if artifact.is_dir():
        sys.path.insert(0, str(artifact))
    elif _defines(artifact, attribute):
        # Stored artifacts are named by their digest, so a source file is known by what it defines.
        loader = SourceFileLoader(name, str(artifact))
        found = importlib.util.spec_from_loader(name, loader)
        if found is not None:
            module = importlib.util.module_from_spec(found)
            sys.modules[name] = module
            loader.exec_module(module)
            return module
    return importlib.import_module(name)


def _defines(path: Path, attribute: str) -> bool:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return path.suffix == ".py"  # import it, so that its own error is shown
    return any(attribute in _bound(statement) for statement in tree.body)


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def _takes_path(factory: Callable[..., Any]) -> bool:
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return any(one.kind in positional for one in inspect.signature(factory).parameters.values())
