"""The JSON Schema of a plan file, for editors, for the reference page and for whoever writes plans by program."""

from typing import Any, Final

import msgspec

from lastgood.domain.plan_document import STEP_KINDS, PlanDocument
from lastgood.domain.plan_meaning import DEFAULT_KEY
from lastgood.domain.plan_quantity import UNTIL_RESUMED, quantity_schema

EXAMPLES: Final[tuple[dict[str, Any], ...]] = (
    {
        "strategy": "canary",
        "steps": [
            {"weight": "5%", "for": "10m", "samples": 200},
            {"pause": "10m"},
            {"approve": "Ask the fraud team"},
            {"weight": "50%", "for": "30m"},
        ],
        "guardrails": [
            {"metric": "health", "misses": 3},
            {"metric": "errors", "margin": 1.2, "min_bad": 2, "on_fail": "rollback"},
            {"metric": "latency", "objective": "200ms", "proof_margin": "1pp"},
            {"metric": "latency", "name": "limit", "quantile": "p99", "max": "2s", "min_samples": 100},
        ],
        "false_rollback_rate": "1%",
        "promote_when": "proven",
        "soak": "15m",
        "watch": "10m",
        "deadline": "2h",
        "on_deadline": "hold",
        "notify": [{"webhook": "https://example.org/hook", "secret": "env:HOOK_SECRET"}],
    },
    {
        "strategy": "blue_green",
        "steps": [{"pause": UNTIL_RESUMED}, {"weight": "100%", "for": "10m", "samples": 500}],
        "guardrails": [{"metric": "errors", "max": "2%"}, {"metric": "invalid_output", "max": "1%"}],
    },
    {
        "strategy": "all_at_once",
        "watch": "1h",
        "notify": [{"command": ["notify-send", "lastgood"]}],
        "data": {
            "source": "features",
            "on_rollback": "restore",
            "migrate": ["python", "migrate.py"],
            "migrate_timeout": "10m",
            "hold": True,
        },
        "drill": {"every": "24h"},
    },
)


def plan_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a plan file, with every default and its meaning."""
    kinds = [PlanDocument, *STEP_KINDS.values()]
    _, definitions = msgspec.json.schema_components(
        kinds, schema_hook=quantity_schema, ref_template="#/$defs/{name}"
    )
    for definition in definitions.values():
        for key, schema in definition.get("properties", {}).items():
            definition["properties"][key] = _readable(schema)
    definitions["ChannelDocument"]["oneOf"] = [{"required": ["webhook"]}, {"required": ["command"]}]
    definitions["DataDocument"] |= {
        "dependentRequired": {"migrate_timeout": ["migrate"]},
        "if": {"properties": {"hold": {"const": True}}, "required": ["hold"]},
        "then": {"required": ["migrate"]},
    }
    ways = ("max", "objective", "quantiles", "compare")
    definitions["LatencyGuardrail"]["anyOf"] = [{"required": [key]} for key in ways]
    top = definitions.pop("PlanDocument")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **top,
        "title": "Lastgood plan",
        "examples": list(EXAMPLES),
        "$defs": definitions,
    }


def _readable(schema: dict[str, Any]) -> dict[str, Any]:
    """Show a key that may be left out as its type and its default, not as "type or null"."""
    shown = dict(schema)
    options = [option for option in shown.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != len(shown.get("anyOf", ())):
        del shown["anyOf"]
        shown = {**options[0], **shown} if len(options) == 1 else {**shown, "anyOf": options}
    if shown.get("default", "") is None:
        del shown["default"]
    if DEFAULT_KEY in shown:
        shown["default"] = shown.pop(DEFAULT_KEY)
    return shown
