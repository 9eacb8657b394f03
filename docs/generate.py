# ruff: noqa: INP001 - a script beside the pages that it writes, not a package
"""Write the pages of docs/ that are made from the code; with --check, say which are stale and exit 1.

A page is a function that returns its text, listed in :data:`PAGES`. The command reference has a script of its
own beside this one.
"""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import yaml

from lastgood.domain.plan_document import STEP_KINDS
from lastgood.domain.plan_guardrails import GUARDRAIL_KINDS
from lastgood.domain.plan_schema import EXAMPLES, plan_schema
from lastgood.domain.release import TERMINAL, TRANSITIONS, Event, Phase
from lastgood.settings import FILE_NAME, Described, described

HERE: Final = Path(__file__).parent
_NOTE: Final = "<!-- Written by docs/generate.py from the code: change it there. -->"
_PATTERN_WORDS: Final = (
    ("ms|s|m|h|d", "duration"),
    ("%", "percentage"),
    ("pp$", "points"),
    ("^p", "quantile"),
)


def plan_reference() -> str:
    """Return the page on plan files, from their JSON Schema."""
    schema = plan_schema()
    parts = schema["$defs"]
    sections = [
        _NOTE,
        "# Plan files",
        (
            f"{schema['description']} It is YAML; `lastgood plan schema` prints its JSON Schema for editors. Every key "
            "may be left out. A key that is not listed here is refused, with its line."
        ),
        (
            "Durations are a number and a unit (`250ms`, `30s`, `5m`, `1h`, `2d`, `1h30m`), percentages have their "
            "sign (`5%`, `0.5%`), quantiles are percentiles (`p99`, `p99.9`). A bare number is none of these. A margin is "
            "a number (odds: `1.2` is up to 1.2 times stable's) or percentage points (`0.5pp`)."
        ),
        "## Keys",
        _table(schema, parts),
        "## Steps",
        "Each step is exactly one of these. Guardrails are judged all the time, also during pauses.",
        *(_part(kind.__name__, f"`{key}`", parts) for key, kind in STEP_KINDS.items()),
        "## Guardrails",
        (
            "Each names its `metric`. `errors`, `timeouts`, `invalid_output`, `counter`, and `latency` with an "
            "`objective`, `quantiles` or `compare`, compare the candidate with stable by tests that may be looked at "
            "all the time; together they roll a harmless candidate back with a chance of at most "
            "`false_rollback_rate`. `health` and every `max` are plain limits, outside that promise: "
            "`lastgood plan lint` says how often a `max` would have been broken by stable's own recent traffic. "
            "`accuracy`, `precision`, `recall`, `f1`, `mean` and `mae` compare too, once labels say what was right: see "
            "[feedback.md](feedback.md). `drift` and `prediction_drift` look at inputs and outputs: see [drift.md](drift.md). "
            "`agreement` looks at what both versions say to copied requests: see [shadow.md](shadow.md). "
            "`custom` asks outside: see [custom-metrics.md](custom-metrics.md)."
        ),
        *(_part(kind.__name__, f"`metric: {metric}`", parts) for metric, kind in GUARDRAIL_KINDS.items()),
        _part("CustomSource", "`source` of a custom metric", parts),
        "## Data",
        _part("DataDocument", "`data`", parts),
        "## Drills",
        _part("DrillDocument", "`drill`", parts),
        "## Notifications",
        _part("ChannelDocument", "`notify`", parts),
        "## Examples",
        *(
            f"```yaml\n{yaml.safe_dump(example, sort_keys=False, width=100).rstrip()}\n```"
            for example in EXAMPLES
        ),
        "More, with comments, in [examples/plans](../examples/plans).",
    ]
    return "\n\n".join(sections) + "\n"


def _part(name: str, heading: str, parts: dict[str, Any]) -> str:
    part = parts[name]
    return f"### {heading}\n\n{part['description']}\n\n{_table(part, parts)}"


def _table(schema: dict[str, Any], parts: dict[str, Any]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, found in schema["properties"].items():
        if key == "metric":
            continue
        default = "required" if key in schema["required"] else _default(found)
        meaning = found["description"] + _range(found) + _example(found)
        rows.append(f"| `{key}` | {_type(found, parts)} | {default} | {meaning} |")
    return "\n".join(rows)


def _type(found: dict[str, Any], parts: dict[str, Any]) -> str:
    if "$ref" in found:
        choices = parts[found["$ref"].rpartition("/")[2]].get("enum")
        return ", ".join(f"`{choice}`" for choice in choices) if choices else "mapping"
    if "anyOf" in found and "type" not in found:
        return " or ".join(dict.fromkeys(_type(option, parts) for option in found["anyOf"]))
    if "const" in found:
        return f"`{found['const']}`"
    if "enum" in found:
        return ", ".join(f"`{choice}`" for choice in found["enum"])
    if found["type"] == "array":
        return "list of texts" if found.get("items") == {"type": "string"} else "list"
    words = {"integer": "whole number", "number": "number", "object": "mapping", "boolean": "true or false"}
    pattern = found.get("pattern", "")
    named = next((word for mark, word in _PATTERN_WORDS if mark in pattern and "env" not in pattern), "text")
    return words.get(found["type"], named)


def _default(found: dict[str, Any]) -> str:
    default = found.get("default", "")
    return "" if default in ("", []) else f"`{_inline(default)}`"


def _range(found: dict[str, Any]) -> str:
    if "minimum" not in found:
        return ""
    return f" From {found['minimum']:,} to {found['maximum']:,}.".replace(",", " ")


def _example(found: dict[str, Any]) -> str:
    shown = ", ".join(f"`{_inline(example)}`" for example in found.get("examples", ()))
    return f" Example: {shown}." if shown else ""


def _inline(example: Any) -> str:
    return str(yaml.safe_dump(example, default_flow_style=True, width=200)).removesuffix("...\n").strip()


def release_machine() -> str:
    """Return the page on the release machine, from its transition table."""
    sections = [
        _NOTE,
        "# The release machine",
        (
            "A release is always in one phase, and only an event of this table changes it. An event that has no entry "
            "for a phase is refused and changes nothing. `roll_back` has an entry in every phase that is not over."
        ),
        _diagram(),
        "## Every phase and every event",
        _matrix(),
        "Over, with no way out: " + ", ".join(f"`{phase}`" for phase in Phase if phase in TERMINAL) + ".",
    ]
    return "\n\n".join(sections) + "\n"


def _diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Phase.PENDING}"]
    for phase, row in TRANSITIONS.items():
        goals: dict[Phase, list[str]] = {}
        for event, goal in row.items():
            goals.setdefault(goal, []).append(event.value)
        lines += [f"    {phase} --> {goal}: {', '.join(events)}" for goal, events in goals.items()]
    lines += [f"    {phase} --> [*]" for phase in Phase if phase in TERMINAL]
    return "\n".join([*lines, "```"])


def _matrix() -> str:
    rows = ["| phase | " + " | ".join(f"`{event}`" for event in Event) + " |"]
    rows.append("|---" * (len(Event) + 1) + "|")
    for phase, row in TRANSITIONS.items():
        cells = [f"{row[event]}" if event in row else "" for event in Event]
        rows.append(f"| **{phase}** | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def settings() -> str:
    """Return the page on settings, from the fields of Settings and what is said beside them."""
    sections = [
        _NOTE,
        "# Settings",
        (
            f"They stand in `{FILE_NAME}`, which `lastgood init` writes with every default. What wins: a command's "
            "flag, then the environment variable, then the file, then the default. Durations are seconds, sizes are "
            "bytes. An unknown name or a wrong type is refused when a command starts."
        ),
        (
            "`LASTGOOD_HOME` (or `--home FOLDER`) says where the store, the artifacts and the run folder are; by "
            f"default `.lastgood` beside the nearest `{FILE_NAME}` at or above the working folder."
        ),
    ]
    rows: dict[str, list[str]] = {}
    for one in described():
        rows.setdefault(
            one.section, ["| name | type | default | environment | meaning |", "|---|---|---|---|---|"]
        )
        environ = f"`{one.environ}`" if one.environ else "only in the file"
        meaning = one.meaning[0].upper() + one.meaning[1:]
        default = f"`{json.dumps(one.default)}`"
        rows[one.section].append(f"| `{one.name}` | {_kind(one)} | {default} | {environ} | {meaning}. |")
    for section, table in rows.items():
        sections += [f"## {section[0].upper()}{section[1:]}", "\n".join(table)]
    sections += [_CHANNELS]
    return "\n\n".join(sections) + "\n"


def _kind(one: Described) -> str:
    words = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    tables = {"notify": "list of tables", "data": "tables by name", "feedback": "tables by name"}
    if get_origin(one.type) is Literal:
        return " or ".join(f"`{option}`" for option in get_args(one.type))
    return words.get(one.type, tables.get(one.name, "list of texts"))


_CHANNELS: Final = """\
```toml
[[notify]]
webhook = "https://example.org/hook"
secret = "env:HOOK_SECRET"     # where the signing key is: env:NAME or file:PATH, never the key itself

[[notify]]
command = ["notify-send", "lastgood"]

[data.features]                # a source of live data; docs/data-sources.md says which providers there are
provider = "sqlite"
path = "features.db"           # from this file's folder

[feedback.chargebacks]         # labels in a database: lastgood feedback --from chargebacks
url = "env:ORDERS_URL"         # or the URL itself, where it holds no password
query = "SELECT order_id AS id, is_fraud AS value FROM chargebacks"
```"""


PAGES: Final[dict[str, Callable[[], str]]] = {
    "plan-reference.md": plan_reference,
    "release-machine.md": release_machine,
    "cli-reference.md": runpy.run_path(str(HERE / "generate_cli.py"))["cli_reference"],
    "settings.md": settings,
}


def main(arguments: list[str]) -> int:
    """Write every page that differs, or with ``--check`` only name it."""
    stale = [name for name, page in PAGES.items() if _present(HERE / name) != page()]
    if "--check" in arguments:
        for name in stale:
            sys.stdout.write(f"docs/{name} is stale: run 'make docs'\n")
        return 1 if stale else 0
    for name in stale:
        (HERE / name).write_text(PAGES[name](), encoding="utf-8")
        sys.stdout.write(f"wrote docs/{name}\n")
    return 0


def _present(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
