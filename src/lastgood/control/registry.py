"""Versions: registering them, finding them, setting two side by side."""

import csv
import getpass
import importlib.metadata
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from lastgood.control.contract import read_contract
from lastgood.control.reference_file import OpenTable, reference_of
from lastgood.control.version_facts import facts_of
from lastgood.domain.data_file import contract_differences
from lastgood.domain.deployment import Failure
from lastgood.domain.event import EventDraft
from lastgood.domain.golden import Golden
from lastgood.domain.sketch import Reference
from lastgood.domain.snapshot import Schema
from lastgood.domain.version import (
    DataReference,
    Format,
    GitState,
    Signature,
    Version,
    check_label,
    check_name,
)
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Blobs, VersionStore
from lastgood.wire.digest import digest_of

_LONGEST_NUMBER = 18
"""Digits; a longer one is no version's number, and would not fit the database's integers."""
_PACKAGES = {
    Format.ONNX: ("onnxruntime", "numpy"),
    Format.SKOPS: ("scikit-learn", "skops", "numpy"),
    Format.CALLABLE: ("numpy",),
    Format.PICKLE: ("scikit-learn", "numpy"),
    Format.JOBLIB: ("joblib", "scikit-learn", "numpy"),
}


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of a version when registering it. ``signature`` None asks the artifact itself.

    ``needs`` are data sources whose schema of today becomes part of the version's data contract. ``reference`` is the
    file that drift is measured from, read without the columns ``without``.
    """

    model: str
    artifact: Path
    format: Format
    label: str | None = None
    factory: str | None = None
    signature: Signature | None = None
    data: Path | str | None = None
    metrics: dict[str, float] = {}
    golden: tuple[Golden, ...] = ()
    needs: tuple[str, ...] = ()
    reference: Path | None = None
    without: tuple[str, ...] = ()
    actor: str = ""


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: the version, whether it is new, and other versions with the same bytes."""

    version: Version
    created: bool
    same_bytes: tuple[int, ...] = ()
    failed: bool = False


class Registry:
    """What a user may ask of models and versions."""

    def __init__(
        self,
        *,
        versions: VersionStore,
        blobs: Blobs,
        inspect: Callable[[Path, Format, str | None], Signature | None],
        git_state: Callable[[Path], GitState | None],
        schema: Callable[[str], Schema],
        open_table: OpenTable,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._versions = versions
        self._blobs = blobs
        self._inspect = inspect
        self._git_state = git_state
        self._schema = schema
        self._open_table = open_table
        self._now = now

    def register(self, draft: Draft) -> Registered:
        """Make an immutable version; the same bytes under the same label are the version that is there.

        :raises LastgoodError: ``invalid`` for a bad name, label, artifact, metric, data contract or reference, ``conflict`` when
            the label belongs to other bytes or the version to other facts, ``storage`` when the disk is full; or what
            a source that is needed says.
        """
        check_name(draft.model)
        if draft.label is not None:
            check_label(draft.label)
        if not draft.artifact.exists():
            raise LastgoodError(
                Code.INVALID,
                f"There is no file or folder {draft.artifact}.",
                "Give the path of the model's artifact.",
            )
        digest, _ = digest_of(draft.artifact)
        twins = self._versions.versions_of_digest(draft.model, digest)
        needs = read_contract(draft.artifact, draft.needs, self._schema)
        known = self._already(draft, digest, twins, needs)
        failed = self._failing(digest) is not None
        if known is not None:
            others = tuple(twin.number for twin in twins if twin.number != known.number)
            return Registered(version=known, created=False, same_bytes=others, failed=failed)
        version = self._describe(draft, needs or {})
        stored = self._versions.add_version(version, self._event(version))
        others = tuple(twin.number for twin in twins)
        return Registered(version=stored, created=True, same_bytes=others, failed=failed)

    def resolve(self, model: str, reference: str) -> Version:
        """Return the version that a number or a label names.

        :raises LastgoodError: ``not_found``, naming the versions there are.
        """
        found = None
        if reference.isascii() and reference.isdigit() and len(reference) <= _LONGEST_NUMBER:
            found = self._versions.version(model, int(reference))
        if found is None:
            found = self._versions.version_by_label(model, reference)
        if found is None:
            raise self._unknown(model, reference)
        return found

    def versions(self, model: str, *, limit: int = 100, before: int | None = None) -> list[Version]:
        """Return versions newest first.

        :raises LastgoodError: ``not_found`` when there is no such model.
        """
        found = self._versions.versions(model, limit=limit, before=before)
        if not found and before is None:
            raise self._unknown(model, None)
        return found

    def models(self) -> list[str]:
        """Return the names of all models."""
        return self._versions.models()

    def failures(self, versions: list[Version]) -> dict[str, Failure]:
        """Return the failure mark of each digest that has one, lifted ones included."""
        return self._versions.failures(version.digest for version in versions)

    def diff(self, model: str, first: str, second: str) -> list[tuple[str, Any, Any]]:
        """Return (what, first, second) for every fact of two versions, those that differ and those that do not."""
        one, two = self.resolve(model, first), self.resolve(model, second)
        left, right = facts_of(one), facts_of(two)
        return [(key, left.get(key), right.get(key)) for key in dict.fromkeys((*left, *right))]

    def _already(
        self, draft: Draft, digest: str, twins: list[Version], needs: dict[str, Schema] | None
    ) -> Version | None:
        """Return the version that these bytes and this label already are.

        :raises LastgoodError: ``conflict`` when the label names other bytes, or the facts given differ.
        """
        if draft.label is not None:
            holder = self._versions.version_by_label(draft.model, draft.label)
            if holder is not None and holder.digest != digest:
                raise LastgoodError(
                    Code.CONFLICT,
                    f"{draft.model} {draft.label} is version {holder.number} already, with other bytes "
                    f"({holder.digest[:19]}); a version never changes.",
                    "Register under the next label.",
                )
        known = next((twin for twin in twins if twin.label == draft.label or draft.label is None), None)
        if known is None:
            return None
        differing = [
            name
            for name, differs in (
                ("metrics", bool(draft.metrics) and draft.metrics != known.metrics),
                ("factory", draft.factory is not None and draft.factory != known.factory),
                ("signature", draft.signature is not None and draft.signature != known.signature),
                ("format", draft.format is not known.format),
                ("golden requests", bool(draft.golden) and draft.golden != known.golden),
                ("reference", self._reference(draft, known.signature) not in (None, known.reference)),
            )
            if differs
        ]
        if needs is not None and (found := contract_differences(known.needs, needs)):
            differing.append(f"needs of data ({'; '.join(found)})")
        if differing:
            raise LastgoodError(
                Code.CONFLICT,
                f"These bytes are {draft.model} {known.full_display} already, with other {' and '.join(differing)}; "
                "a version never changes.",
                "Register them under a label of their own: --label.",
            )
        return known

    def _describe(self, draft: Draft, needs: dict[str, Schema]) -> Version:
        signature = draft.signature or self._inspect(draft.artifact, draft.format, draft.factory)
        data = None if draft.data is None else _data(draft.data)
        reference = self._reference(draft, signature)
        digest, size = self._blobs.put(draft.artifact)
        return Version(
            model=draft.model,
            number=0,
            label=draft.label,
            digest=digest,
            size_bytes=size,
            format=draft.format,
            factory=draft.factory,
            signature=signature,
            data=data,
            git=self._git_state(draft.artifact.resolve().parent),
            metrics=dict(draft.metrics),
            golden=draft.golden,
            reference=reference,
            dependencies=_dependencies(draft.format),
            needs=needs,
            created_at=self._now(),
            created_by=draft.actor or getpass.getuser(),
        )

    def _reference(self, draft: Draft, signature: Signature | None) -> Reference | None:
        file = (draft.reference, draft.without)
        return reference_of(draft.artifact, *file, signature=signature, open_table=self._open_table)

    def _event(self, version: Version) -> EventDraft:
        return EventDraft(
            type="lastgood.version.registered",
            at=version.created_at,
            actor=version.created_by,
            model=version.model,
            data={
                "label": version.label,
                "digest": version.digest,
                "metrics": version.metrics,
                "needs": {source: schema.id for source, schema in version.needs.items()},
                **({} if version.reference is None else {"reference": version.reference.rows}),
            },
        )

    def _failing(self, digest: str) -> Failure | None:
        failure = self._versions.failures([digest]).get(digest)
        return None if failure is None or failure.lifted_by is not None else failure

    def _unknown(self, model: str, reference: str | None) -> LastgoodError:
        known = self._versions.versions(model, limit=10)
        if not known:
            models = self._versions.models()
            listed = ", ".join(models) or "none yet"
            return LastgoodError(
                Code.NOT_FOUND,
                f"There is no model {model!r}; known models: {listed}.",
                f"Register its first version: lastgood register {model} PATH --label v1.0",
            )
        listed = ", ".join(version.full_display for version in known)
        return LastgoodError(
            Code.NOT_FOUND,
            f"{model} has no version {reference!r}; known versions: {listed}.",
            f"See 'lastgood versions {model}'.",
        )


def _data(data: Path | str) -> DataReference:
    """Read a training-data reference: a local file or folder is digested, and a CSV's rows counted."""
    path = Path(data)
    if not path.exists():
        raise LastgoodError(
            Code.INVALID,
            f"There is no training data at {data}.",
            "Give the path of the file or folder that was used.",
        )
    digest, _ = digest_of(path)
    rows = None
    if path.suffix.lower() == ".csv":
        with path.open(newline="", encoding="utf-8", errors="replace") as lines:
            rows = max(sum(1 for _ in csv.reader(lines)) - 1, 0)
    return DataReference(uri=str(data), digest=digest, rows=rows)


def _dependencies(kind: Format) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES[kind]:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed here: the host that loads it may live elsewhere
    return found
