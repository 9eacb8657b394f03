"""From a host's specification to a loaded model: verify the bytes, choose the loader, check the signature."""

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Final

from lastgood.domain.version import Format, Signature
from lastgood.errors import Code, LastgoodError
from lastgood.host.counters import without_counters
from lastgood.host.model import Model, agreed
from lastgood.wire.digest import digest_of
from lastgood.wire.fleet import HostSpec

_LOADERS: Final = {
    Format.ONNX: ("onnx_loader", "onnx"),
    Format.SKOPS: ("skops_loader", "sklearn"),
    Format.CALLABLE: ("callable_loader", ""),
    Format.PICKLE: ("pickle_loader", "pickle"),
    Format.JOBLIB: ("pickle_loader", "pickle"),
}


def verify(spec: HostSpec) -> None:
    """Read the artifact's bytes and compare them with the version's digest.

    :raises LastgoodError: ``corrupt`` if they differ, and as :func:`lastgood.wire.digest.digest_of`.
    """
    digest, _ = digest_of(Path(spec.artifact))
    if digest != spec.digest:
        raise LastgoodError(
            Code.CORRUPT,
            f"The bytes at {spec.artifact} are not those of {spec.model} version {spec.version}: their digest "
            f"is {digest}, registered is {spec.digest}.",
            "Put the artifact back from a copy; until then this version cannot be served.",
        )


def load_model(spec: HostSpec) -> Model:
    """Load the artifact, which was verified before; the result carries the signature agreed upon, less counters.

    :raises LastgoodError: ``unavailable`` if an extra is missing, ``refused`` for counters that cannot be counted,
        else as the loader of the format.
    """
    module, extra = _LOADERS[spec.format]
    sys.dont_write_bytecode = True  # a cache written beside a model's source would change its digest
    try:
        loader = importlib.import_module(f"lastgood.host.{module}")
    except ModuleNotFoundError as error:
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"Models of the format {spec.format} need {error.name!r}, which is not installed.",
            f"Install it: pip install 'lastgood[{extra}]'.",
        ) from None
    model: Model = loader.load(spec)
    own, given = _seen_by_callers(model.signature), _seen_by_callers(spec.signature)
    return dataclasses.replace(model, signature=agreed(own, given))


def _seen_by_callers(signature: Signature | None) -> Signature | None:
    return None if signature is None else without_counters(signature)
