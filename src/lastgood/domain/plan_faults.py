"""What is wrong with a part of a plan file, in words, with its line and what was probably meant."""

import difflib
import re
from typing import Any, Final, TypeVar

import msgspec

from lastgood.domain.placed_yaml import Placed
from lastgood.domain.plan import (
    Metric,
    NoData,
    OnDeadline,
    OnFail,
    OnRollback,
    PromoteWhen,
    Strategy,
    UnitsChoice,
)
from lastgood.domain.plan_custom import CustomSource
from lastgood.domain.plan_data import DataDocument
from lastgood.domain.plan_drill import DrillDocument
from lastgood.domain.plan_guardrails import GUARDRAIL_KINDS, Compare
from lastgood.domain.plan_quantity import decode_quantity
from lastgood.errors import LastgoodError

_Document = TypeVar("_Document")
_PATH: Final = re.compile(r"^(?P<message>.*?)(?: - at `(?P<path>\$[^`]*)`)?$", re.DOTALL)
_UNKNOWN_KEY: Final = re.compile(r"^Object contains unknown field `(?P<key>.*)`$", re.DOTALL)
_MISSING_KEY: Final = re.compile(r"^Object missing required field `(?P<key>.*)`$")
_WRONG_VALUE: Final = re.compile(r"^Invalid (?:enum )?value (?P<value>.*)$", re.DOTALL)
_WRONG_TYPE: Final = re.compile(r"^Expected `(?P<wanted>[^`]*)`(?P<bound>.*?)(?:, got `(?P<got>[^`]*)`)?$")
_TYPE_WORDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "strategy": tuple(map(str, Strategy)),
    "metric": tuple(map(str, Metric)),
    "on_fail": tuple(map(str, OnFail)),
    "on_deadline": tuple(map(str, OnDeadline)),
    "no_data": tuple(map(str, NoData)),
    "compare": tuple(map(str, Compare)),
    "promote_when": tuple(map(str, PromoteWhen)),
    "units": tuple(map(str, UnitsChoice)),
    "on_rollback": tuple(map(str, OnRollback)),
}
_PARTS: Final[dict[str, type]] = {"$.data": DataDocument, "$.drill": DrillDocument}


def decode_part(placed: Placed, value: object, kind: type[_Document], path: str) -> _Document:
    """Return ``value``, which stands at ``path``, as a ``kind``.

    :raises LastgoodError: ``invalid`` with the place, what is wrong there, and what is accepted.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=decode_quantity)
    except msgspec.ValidationError as error:
        raise _explained(placed, kind, path, str(error)) from None


def _explained(placed: Placed, kind: type, base: str, text: str) -> LastgoodError:
    found = _PATH.fullmatch(text)
    message, below = (found["message"], found["path"] or "$") if found else (text, "$")
    path = base + below.removeprefix("$")
    if unknown := _UNKNOWN_KEY.fullmatch(message):
        return unknown_key(placed, path, unknown["key"], _known_keys(placed, kind, path))
    if missing := _MISSING_KEY.fullmatch(message):
        key = missing["key"]
        return placed.refusal(path, f"The key {key!r} is missing.", _add(key, path), at_key=False)
    if wrong := _WRONG_VALUE.fullmatch(message):
        return _wrong_choice(placed, path, wrong["value"])
    if wrong_type := _WRONG_TYPE.fullmatch(message):
        plain = wrong_type["wanted"].removesuffix(" | null")
        wanted = _TYPE_WORDS.get(plain, plain) + wrong_type["bound"]
        got = wrong_type["got"]
        but = f", not {_TYPE_WORDS.get(got, got)}" if got else ""
        return placed.refusal(path, f"{_last_key(path)} takes {wanted}{but}.", "Correct the value.")
    what, _, next_step = message.partition("\n")
    return placed.refusal(path, what, next_step)


def _known_keys(placed: Placed, kind: type, path: str) -> list[str]:
    """Return the keys of the mapping at ``path``, which is the document itself or one of its parts."""
    if path.endswith(".source"):
        return _encoded_names(CustomSource)
    if path.startswith("$.guardrails["):
        metric = _value_at(placed, path).get("metric")
        return ["metric", *_encoded_names(GUARDRAIL_KINDS[str(metric)])]
    if path.startswith("$.notify["):
        return ["webhook", "command", "secret"]
    if path in _PARTS:
        return _encoded_names(_PARTS[path])
    return _encoded_names(kind)


def _encoded_names(kind: type) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _value_at(placed: Placed, path: str) -> dict[str, Any]:
    index = int(path[path.index("[") + 1 : path.index("]")])
    value = placed.value[path[2 : path.index("[")]][index]
    return value if isinstance(value, dict) else {}


def unknown_key(placed: Placed, path: str, key: str, known: list[str]) -> LastgoodError:
    """Return the error for a key that does not belong where it stands, with the nearest one that does."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    next_step = f"{meant}Known here: {', '.join(known)}."
    return placed.refusal(f"{path}.{key}", f"The key {key!r} is not known.", next_step, at_key=True)


def _wrong_choice(placed: Placed, path: str, value: str) -> LastgoodError:
    choices = _CHOICES.get(_last_key(path), ())
    if path.endswith(".compare") and _value_at(placed, path).get("metric") == Metric.CUSTOM:
        choices = ("counts",)
    close = difflib.get_close_matches(value.strip("'"), choices, n=1, cutoff=0.6)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    next_step = f"{meant}Possible: {', '.join(choices)}."
    return placed.refusal(path, f"{_last_key(path)} cannot be {value}.", next_step)


def _last_key(path: str) -> str:
    if path == "$":
        return "the plan"
    key = path.rpartition(".")[2]
    return (
        key if "[" not in key else f"item {int(key[key.index('[') + 1 : -1]) + 1} of {key[: key.index('[')]}"
    )


def _add(key: str, path: str) -> str:
    if key == "metric":
        return f"Add it, one of: {', '.join(Metric)}."
    if key == "counter":
        return "Add the counter that the version reports, such as 'counter: low_confidence'."
    if key == "source" and path.startswith("$.guardrails"):
        return "Say who is asked, such as 'source: {python: complaints}'."
    if key == "source":
        return "Add the name of a data source of lastgood.toml, such as 'source: features'."
    if key == "every":
        return "Say how often, such as 'every: 24h'."
    return "Add it."
