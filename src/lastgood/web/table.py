"""Every endpoint of the control API, and the OpenAPI document made from them."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lastgood.bootstrap import Services
from lastgood.errors import Code, LastgoodError
from lastgood.web import audit, deployments, feedback, predictions, quarantine, readiness, releases, versions
from lastgood.web.endpoint import Endpoint

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *versions.ENDPOINTS,
    *deployments.ENDPOINTS,
    *releases.ENDPOINTS,
    *quarantine.ENDPOINTS,
    *readiness.ENDPOINTS,
    *audit.ENDPOINTS,
    *predictions.ENDPOINTS,
    *feedback.ENDPOINTS,
)


class Problem(msgspec.Struct, frozen=True):
    """Every error: what happened and why, a code for machines, and what to do ``next``."""

    error: str
    code: Code
    next: str
    details: dict[str, Any]


def dispatch(
    services: Services, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes = b""
) -> Any:
    """Answer in this process what the control API would answer, as plain data.

    :raises LastgoodError: what the API would answer as a problem.
    """
    for endpoint in ENDPOINTS:
        found = endpoint.match(path) if endpoint.method == method else None
        if found is not None:
            return msgspec.to_builtins(endpoint.run(services, found, query or {}, body))
    raise LastgoodError(Code.NOT_FOUND, f"The control API has no {method} {path}.", "Check the path.")


def openapi(version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the control API."""
    kinds = [endpoint.answer for endpoint in ENDPOINTS]
    kinds += [endpoint.body for endpoint in ENDPOINTS if endpoint.body is not None]
    _, components = msgspec.json.schema_components(
        [*kinds, Problem], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lastgood control API", "version": version},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in endpoint.parameters
    ]
    parameters += _query_parameters(endpoint)
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.call.__module__.rpartition('.')[2]}_{endpoint.call.__name__}",
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": {
            str(endpoint.status): _content("Done", endpoint.answer.__name__),
            "default": _content("A problem", "Problem"),
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, **_content("", endpoint.body.__name__)}
        if endpoint.many:
            content = operation["requestBody"]["content"]["application/json"]
            one = content["schema"]
            content["schema"] = {"anyOf": [one, {"type": "array", "items": one}]}
    return operation


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    (_,), components = msgspec.json.schema_components([endpoint.query])
    schema = components[endpoint.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": part}
        for name, part in schema["properties"].items()
    ]


def _content(description: str, name: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    }
    return {"description": description, **body} if description else body
