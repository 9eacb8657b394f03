"""Loads scikit-learn models saved by skops: only types that are safe or that the operator trusts."""

import zipfile
from pathlib import Path

import msgspec
import skops.io

from lastgood.errors import Code, LastgoodError
from lastgood.host.model import Model
from lastgood.host.sklearn_model import wrap
from lastgood.wire.fleet import HostSpec


def load(spec: HostSpec) -> Model:
    """Load a ``.skops`` file.

    :raises LastgoodError: ``untrusted`` naming the types in it that the settings do not trust, ``invalid`` if
        it is not a skops file of a fitted estimator.
    """
    path = Path(spec.artifact)
    if not zipfile.is_zipfile(path):
        raise LastgoodError(
            Code.INVALID,
            "This is not a skops file.",
            "Save the model with skops.io.dump(model, 'model.skops').",
        )
    try:
        _check_types(path, spec.trusted_types)
        estimator = skops.io.load(path, trusted=list(spec.trusted_types))
    except LastgoodError:
        raise
    except Exception as error:  # skops raises what reading a broken file raises  # noqa: BLE001
        raise LastgoodError(
            Code.INVALID,
            f"The skops file cannot be loaded: {type(error).__name__}: {str(error)[:300]}",
            "Save it again with the installed versions of skops and scikit-learn.",
        ) from None
    return wrap(estimator, "sklearn_skops")


def _check_types(path: Path, trusted: tuple[str, ...]) -> None:
    unknown = sorted(set(skops.io.get_untrusted_types(file=path)) - set(trusted))
    if unknown:
        raise LastgoodError(
            Code.UNTRUSTED,
            f"The model holds types that are not trusted: {', '.join(unknown)}.",
            f"If you trust them, set trusted_types = {msgspec.json.encode(unknown).decode()} in lastgood.toml.",
            details={"types": unknown},
        )
