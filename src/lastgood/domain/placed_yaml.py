"""YAML as plain values, each with its place in the text, and with YAML's traps closed.

Only mappings with text keys, lists, text, plain decimal numbers, ``true`` and ``false`` come out. Refused, each with its line:
tags that would build objects, keys given twice, values left empty, ``yes`` and ``on`` that YAML reads as true,
``010`` that it reads as octal, ``1:30`` that it reads in base 60, dates, values that hold themselves, and
text that is too large, too deep or grows too much through aliases.
"""

import re
from typing import Any, Final, NoReturn

import msgspec
import yaml

from lastgood.errors import Code, LastgoodError

MAX_CHARACTERS: Final = 256 * 1024
MAX_DEPTH: Final = 20
MAX_VALUES: Final = 10_000

_TAG: Final = "tag:yaml.org,2002:"
_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)", re.ASCII)
_FRACTION: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)\.[0-9]*([eE][-+]?[0-9]+)?", re.ASCII)


class Place(msgspec.Struct, frozen=True):
    """A place in the text, counted from 1."""

    line: int
    column: int


class Placed(msgspec.Struct, frozen=True):
    """``value`` and where each part of it stands.

    ``places`` maps a path such as ``$.steps[0].weight`` to its value, ``keys`` to its key.
    """

    source: str
    value: dict[str, Any]
    places: dict[str, Place]
    keys: dict[str, Place]

    def refusal(self, path: str, message: str, next_step: str, *, at_key: bool = False) -> LastgoodError:
        """Return an ``invalid`` error that names the place of ``path``, or of its nearest known parent."""
        known = self.keys if at_key else self.places
        near = path
        while near not in known and near not in self.places and near != "$":
            near = near[: max(near.rfind("."), near.rfind("["))]
        place = known.get(near) or self.places.get(near, Place(1, 1))
        return _refusal(self.source, place, message, next_step, path)


def read_placed_yaml(text: str, source: str, *, least: str = "strategy: canary") -> Placed:
    """Read a document whose top is a mapping; ``least`` is what an empty one should at least say.

    :raises LastgoodError: ``invalid`` with ``source:line:column`` in front, or ``too_large``.
    """
    if len(text) > MAX_CHARACTERS:
        raise LastgoodError(
            Code.TOO_LARGE,
            f"{source} has {len(text)} characters; at most {MAX_CHARACTERS} are read.",
            "Make it smaller.",
        )
    try:
        _check_depth(text, source)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _syntax_refusal(error, text, source) from None
    if root is None:
        raise _refusal(source, Place(1, 1), "The file is empty.", f"Write at least '{least}'.", "$")
    reader = _Reader(source)
    if not isinstance(root, yaml.MappingNode):
        reader.refuse(root, "$", "The file is not a mapping.", f"Start it with '{least}'.")
    value = reader.read(root, "$")
    return Placed(source, value, reader.places, reader.keys)


def _check_depth(text: str, source: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            message = f"More than {MAX_DEPTH} values lie inside each other."
            raise _refusal(source, _place(event.start_mark), message, "Write it flatter.", "$")


class _Reader:
    """Turns nodes into values and remembers places; counts them, because aliases multiply."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.places: dict[str, Place] = {}
        self.keys: dict[str, Place] = {}
        self._open: list[yaml.Node] = []

    def refuse(self, node: yaml.Node, path: str, message: str, next_step: str) -> NoReturn:
        raise _refusal(self.source, _place(node.start_mark), message, next_step, path)

    def read(self, node: yaml.Node, path: str) -> Any:
        self.places[path] = _place(node.start_mark)
        if len(self.places) > MAX_VALUES:
            self.refuse(node, path, f"There are more than {MAX_VALUES} values.", "Use fewer aliases.")
        if any(node is other for other in self._open):
            self.refuse(node, path, "An alias refers to the value that it stands in.", "Remove that alias.")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._open.append(node)
        value = self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._list(node, path)
        self._open.pop()
        return value

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        self._check_tag(node, path, "map")
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
                self.refuse(key, path, "A key is not plain text.", "Write each key as a word.")
            if key.tag == f"{_TAG}merge":
                self.refuse(key, path, "Merge keys ('<<') are not read.", "Write the keys out.")
            if key.value in found:
                message = f"The key {key.value!r} is given twice."
                self.refuse(key, path, message, "Keep one of them.")
            below = f"{path}.{key.value}"
            self.keys[below] = _place(key.start_mark)
            found[key.value] = self.read(value, below)
        return found

    def _list(self, node: yaml.Node, path: str) -> list[Any]:
        self._check_tag(node, path, "seq")
        return [self.read(item, f"{path}[{index}]") for index, item in enumerate(node.value)]

    def _scalar(self, node: yaml.ScalarNode, path: str) -> str | int | float | bool:
        text: str = node.value
        shown = "this value" if path.endswith(".secret") else repr(text)
        match node.tag.removeprefix(_TAG):
            case "str":
                return text
            case "int" if _DECIMAL.fullmatch(text):
                return int(text)
            case "float" if _FRACTION.fullmatch(text):
                return float(text)
            case "int" | "float":
                message = f"YAML reads {shown} as another number than it looks like."
                self.refuse(node, path, message, "Write a plain decimal number, or put it in quotes.")
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "bool":
                message = f"YAML reads {shown} as true or false."
                self.refuse(
                    node, path, message, "Write true or false; if you mean the word, put it in quotes."
                )
            case "null":
                self.refuse(node, path, "A value is missing.", "Give the value, or remove the key.")
            case "timestamp":
                self.refuse(node, path, f"YAML reads {shown} as a date.", "Put it in quotes.")
        self._check_tag(node, path, "str")
        return text

    def _check_tag(self, node: yaml.Node, path: str, expected: str) -> None:
        if node.tag != f"{_TAG}{expected}":
            self.refuse(node, path, f"The tag {node.tag!r} is not read.", "Remove the tag.")


def _syntax_refusal(error: yaml.YAMLError, text: str, source: str) -> LastgoodError:
    place, problem = Place(1, 1), "it cannot be read"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = _place(mark) if mark is not None else place
        problem = error.problem or problem
    elif isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        place = Place(before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1)
        problem = "a character is not allowed in YAML"
    return _refusal(source, place, f"This is not valid YAML: {problem}.", "Correct that line.", "$")


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _refusal(source: str, place: Place, message: str, next_step: str, path: str) -> LastgoodError:
    return LastgoodError(
        Code.INVALID,
        f"{source}:{place.line}:{place.column}: {message}",
        next_step,
        details={"source": source, "line": place.line, "column": place.column, "path": path},
    )
