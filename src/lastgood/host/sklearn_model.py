"""Wraps a fitted estimator (anything with ``predict`` and ``n_features_in_``) as a model."""

import warnings
from typing import Any

import numpy as np

from lastgood.domain.version import Signature, Tensor
from lastgood.errors import Code, LastgoodError
from lastgood.host.model import Model, observed_tensors
from lastgood.host.tensors import Array


def wrap(estimator: Any, platform: str) -> Model:
    """Return the model: input "input" FP64 [-1, features], outputs "label" and perhaps "probabilities".

    An estimator of the author's own may return its outputs by name.

    :raises LastgoodError: ``invalid`` if this is no fitted estimator, ``refused`` if it cannot predict zeros.
    """
    features = getattr(estimator, "n_features_in_", None)
    if not callable(getattr(estimator, "predict", None)) or not isinstance(features, int):
        raise LastgoodError(
            Code.INVALID,
            f"The artifact holds a {type(estimator).__name__}, not a fitted estimator with predict and "
            "n_features_in_.",
            "Fit the model before saving it, or serve it as a callable.",
        )
    probabilities = callable(getattr(estimator, "predict_proba", None))

    def predict(inputs: dict[str, Array]) -> dict[str, Any]:
        rows = inputs["input"]
        answer = estimator.predict(rows)
        outputs = dict(answer) if isinstance(answer, dict) else {"label": answer}
        if probabilities and "probabilities" not in outputs:
            outputs["probabilities"] = estimator.predict_proba(rows)
        return outputs

    warnings.filterwarnings("ignore", message=".*valid feature names.*", category=UserWarning)
    try:
        seen = predict({"input": np.zeros((1, features))})
    except Exception as error:  # the model's own code  # noqa: BLE001
        raise LastgoodError(
            Code.REFUSED,
            f"The model cannot predict a row of zeros: {type(error).__name__}: {str(error)[:300]}",
            "Models that need named columns or texts: export to ONNX, or serve a callable.",
        ) from None
    signature = Signature((Tensor("input", "FP64", (-1, features)),), observed_tensors(seen))
    return Model(platform=platform, signature=signature, predict=predict)
