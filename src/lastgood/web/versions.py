"""Models and their versions."""

from typing import Any

import msgspec

from lastgood.bootstrap import Services
from lastgood.domain.deployment import Failure
from lastgood.domain.version import Version
from lastgood.web.bodies import DiffQuery, VersionsQuery
from lastgood.web.endpoint import PREFIX, Endpoint


class VersionDocument(Version, frozen=True, kw_only=True):
    """A version, the mark on its bytes (None when they are not failed), and what it does in deployments now."""

    failed: Failure | None = None
    serving: tuple[str, ...] = ()


class ModelList(msgspec.Struct, frozen=True):
    """The names of all models, sorted."""

    models: list[str]


class VersionList(msgspec.Struct, frozen=True):
    """Versions, newest first."""

    versions: list[VersionDocument]


class Fact(msgspec.Struct, frozen=True):
    """One fact of two versions, and whether they differ in it."""

    name: str
    first: Any
    second: Any
    differs: bool


class Diff(msgspec.Struct, frozen=True):
    """Two versions side by side."""

    first: VersionDocument
    second: VersionDocument
    facts: list[Fact]


def models(services: Services) -> ModelList:
    """Return the names of all models."""
    return ModelList(services.registry.models())


def versions(services: Services, *, model: str, query: VersionsQuery) -> VersionList:
    """Return a model's versions."""
    found = services.registry.versions(model, limit=query.limit, before=query.before)
    return VersionList(_documents(services, found))


def version(services: Services, *, model: str, ref: str) -> VersionDocument:
    """Return one version."""
    return _documents(services, [services.registry.resolve(model, ref)])[0]


def diff(services: Services, *, model: str, query: DiffQuery) -> Diff:
    """Return two versions side by side."""
    pair = [services.registry.resolve(model, query.first), services.registry.resolve(model, query.second)]
    first, second = _documents(services, pair)
    facts = services.registry.diff(model, query.first, query.second)
    return Diff(first, second, [Fact(name, one, two, one != two) for name, one, two in facts])


def _documents(services: Services, found: list[Version]) -> list[VersionDocument]:
    failures = services.registry.failures(found)
    serving = _serving(services, found[0].model) if found else {}
    documents = []
    for one in found:
        failure = failures.get(one.digest)
        if failure is not None and failure.lifted_by is not None:
            failure = None
        fields = msgspec.structs.asdict(one)
        documents.append(
            VersionDocument(**fields, failed=failure, serving=tuple(serving.get(one.number, ())))
        )
    return documents


def _serving(services: Services, model: str) -> dict[int, list[str]]:
    """Return what each version of ``model`` does now: ``stable in churn``, ``progressing in churn-eu``."""
    roles: dict[int, list[str]] = {}
    for view in services.views.deployments():
        if view.model != model:
            continue
        if view.stable is not None:
            roles.setdefault(view.stable.number, []).append(f"stable in {view.deployment}")
        if view.release is not None and view.release.version.number != (view.stable and view.stable.number):
            phase = view.release.phase.replace("_", " ")
            roles.setdefault(view.release.version.number, []).append(f"{phase} in {view.deployment}")
    return roles


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=f"{PREFIX}/models",
        call=models,
        answer=ModelList,
        summary="The names of all models",
    ),
    Endpoint(
        method="GET",
        path=f"{PREFIX}/models/{{model}}/versions",
        call=versions,
        query=VersionsQuery,
        answer=VersionList,
        summary="A model's versions, newest first",
    ),
    Endpoint(
        method="GET",
        path=f"{PREFIX}/models/{{model}}/versions/{{ref}}",
        call=version,
        answer=VersionDocument,
        summary="One version, by number or label",
    ),
    Endpoint(
        method="GET",
        path=f"{PREFIX}/models/{{model}}/diff",
        call=diff,
        query=DiffQuery,
        answer=Diff,
        summary="Two versions side by side",
    ),
)
