"""A version as facts with names, so that two can be set side by side."""

from typing import Any

from lastgood.domain.data_file import contract_facts
from lastgood.domain.sketch import Feature, middle_of
from lastgood.domain.version import Version

_CLASSES_TOLD = 5


def facts_of(version: Version) -> dict[str, Any]:
    """Return every fact of a version by its name, as far as it has them."""
    facts: dict[str, Any] = {
        "number": version.number,
        "label": version.label,
        "format": version.format.value,
        "artifact": version.digest,
        "bytes": version.size_bytes,
        "factory": version.factory,
        "data": None if version.data is None else version.data.uri,
        "data digest": None if version.data is None else version.data.digest,
        "data rows": None if version.data is None else version.data.rows,
        "git": None
        if version.git is None
        else version.git.commit + (" (dirty)" if version.git.dirty else ""),
    }
    facts.update({f"metric {name}": value for name, value in sorted(version.metrics.items())})
    if version.golden:
        facts["golden requests"] = len(version.golden)
    if version.reference is not None:
        facts["reference rows"] = version.reference.rows
        facts.update({f"feature {one.shown}": _feature(one) for one in version.reference.features})
    if version.signature is not None:
        for way, tensors in (("input", version.signature.inputs), ("output", version.signature.outputs)):
            facts.update({f"{way} {one.name}": f"{one.datatype} {list(one.shape)}" for one in tensors})
    facts.update({f"needs {name}": text for name, text in contract_facts(version.needs).items()})
    facts.update({f"package {name}": text for name, text in sorted(version.dependencies.items())})
    return facts


def _feature(feature: Feature) -> str:
    """Say in short how a feature lay: its commonest classes, or the middle of its numbers."""
    missing = f", {feature.missing:.2%} missing" if feature.missing else ""
    if feature.categorical:
        ranked = zip(feature.values[:_CLASSES_TOLD], feature.shares, strict=False)
        return ", ".join(f"{value} {share:.2%}" for value, share in ranked) + missing
    if not feature.cuts:
        return "no values"
    low, middle, high = (
        f"{middle_of(feature.cuts[len(feature.cuts) * part // 4]):.3g}" for part in (1, 2, 3)
    )
    return f"median {middle}, quartiles {low} and {high}{missing}"
