"""Loads pickle and joblib files, which run any code that is in them: only where the operator says so."""

import importlib
import pickle
from pathlib import Path
from typing import Any

from lastgood.domain.version import Format
from lastgood.errors import Code, LastgoodError
from lastgood.host.model import Model
from lastgood.host.sklearn_model import wrap
from lastgood.wire.fleet import HostSpec


def load(spec: HostSpec) -> Model:
    """Load a fitted estimator, or any callable of a dict of arrays.

    :raises LastgoodError: ``untrusted`` unless the settings trust pickle, ``unavailable`` without joblib,
        ``invalid`` if the file cannot be loaded.
    """
    if not spec.trust_pickle:
        raise LastgoodError(
            Code.UNTRUSTED,
            f"A {spec.format} file runs whatever code is in it when it is loaded, and the settings do not "
            "trust that.",
            "Export the model to ONNX or save it with skops; or set trust_pickle = true in lastgood.toml if "
            "you trust everyone who can write such a file.",
        )
    found = _read(spec)
    if not hasattr(found, "predict") and callable(found):
        return Model(platform=f"python_{spec.format}", signature=None, predict=found)
    return wrap(found, f"sklearn_{spec.format}")


def _read(spec: HostSpec) -> Any:
    try:
        if spec.format is Format.JOBLIB:
            return importlib.import_module("joblib").load(spec.artifact)
        with Path(spec.artifact).open("rb") as file:
            return pickle.load(file)  # noqa: S301 -- the operator trusts it
    except ModuleNotFoundError as error:
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"The model needs the module {error.name!r}, which is not installed.",
            "Install it: pip install 'lastgood[pickle,sklearn]', or what the model was trained with.",
        ) from None
    except Exception as error:  # a pickle may raise anything  # noqa: BLE001
        raise LastgoodError(
            Code.INVALID,
            f"The {spec.format} file cannot be loaded: {type(error).__name__}: {str(error)[:300]}",
            "Save it again with the installed versions of the libraries it needs.",
        ) from None
