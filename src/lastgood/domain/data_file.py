"""A version's data contract and training reference as a person writes them: ``lastgood.yaml`` beside the artifact, or in its folder.

::

    data:
      features:                                # a table [data.features] of lastgood.toml
        tables:
          customers: {id: integer, age: integer}   # the columns that the version reads, with their types
    reference: train.parquet                   # what it was trained on, which drift is measured from
    without: [label]                           # columns of that file that are no input
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lastgood.domain.placed_yaml import Placed, read_placed_yaml
from lastgood.domain.snapshot import Column, Schema, misfits, schema_of
from lastgood.errors import LastgoodError

DATA_FILE: Final = "lastgood.yaml"
SOURCE_NAME_PATTERN: Final = "^[a-z0-9_]{1,40}$"
SOURCE_NAME_HINT: Final = "A source is named by 1 to 40 small letters, digits and underscores."
_KEYS: Final = ("data", "reference", "without")
_SOURCE_NAME: Final = re.compile(SOURCE_NAME_PATTERN)
_TABLE_HINT: Final = "Write its columns and their types: {id: integer, age: integer}."


class ReferenceFile(NamedTuple):
    """The file that a version was trained on, as it is written, and the columns of it that are no input."""

    file: str
    without: tuple[str, ...] = ()


class DataFile:
    """What the file says a version needs, by source, what it was trained on, and where it says so."""

    def __init__(self, placed: Placed) -> None:
        self._placed = placed
        _check_keys(placed)
        self.has_needs = "data" in placed.value
        self.needs = _needs(placed) if self.has_needs else {}
        self.reference = _reference(placed)

    def outside(self) -> LastgoodError:
        """Return the refusal of a reference that lies elsewhere."""
        message = "The reference is not in the folder of this file."
        next_step = "Put it there, or name it to 'lastgood register' with --reference."
        return self._placed.refusal("$.reference", message, next_step)

    def check_fits(self, source: str, live: Schema) -> None:
        """Refuse a contract that the live data of today does not fulfil.

        :raises LastgoodError: ``invalid``, naming each table and column, with the line of the source.
        """
        found = misfits(self.needs[source], live)
        if found:
            message = f"{source} as it is today does not fit: {'; '.join(found)}."
            next_step = f"Correct the file, or leave out --needs {source} for data that comes later."
            raise self._placed.refusal(f"$.data.{source}", message, next_step, at_key=True)


def parse_data_file(text: str, *, source: str = DATA_FILE) -> DataFile:
    """Return the contract that ``text`` (YAML) states; ``source`` names it in errors.

    :raises LastgoodError: ``invalid``, the message beginning with ``source:line:column``; ``too_large``.
    """
    return DataFile(read_placed_yaml(text, source, least="data: {}"))


def is_source_name(name: str) -> bool:
    """Whether a data source may be called so."""
    return _SOURCE_NAME.fullmatch(name) is not None


def contract_facts(needs: Mapping[str, Schema]) -> dict[str, str]:
    """Return the contract flat: each source's schema id, each table's columns and their types, by their names."""
    facts = {}
    for source, schema in sorted(needs.items()):
        facts[source] = schema.id
        for table, columns in sorted(schema.tables.items()):
            if not columns:
                facts[f"{source}.{table}"] = "any columns"
            facts.update({f"{source}.{table}.{column.name}": column.type for column in columns})
    return facts


def contract_differences(known: Mapping[str, Schema], given: Mapping[str, Schema]) -> tuple[str, ...]:
    """Say what ``given`` asks for otherwise than ``known``; in which order they name columns is no matter."""
    old, new = _parts(known), _parts(given)
    found = []
    for part in sorted({*old, *new}):
        above, name = part[:-1], ".".join(part)
        if above and (above not in new or above not in old):
            continue  # it came or went with what it is in
        if part not in new:
            found.append(f"{name} is no longer needed")
        elif part not in old:
            found.append(f"{name} is new")
        elif old[part] != new[part]:
            found.append(f"{name} is {new[part]}, not {old[part]}")
    return tuple(found)


def _parts(needs: Mapping[str, Schema]) -> dict[tuple[str, ...], str]:
    """Return every source, table and column by its whole path; a column with its type."""
    parts: dict[tuple[str, ...], str] = {}
    for source, schema in needs.items():
        parts[(source,)] = ""
        for table, columns in schema.tables.items():
            parts[(source, table)] = ""
            parts.update({(source, table, column.name): column.type for column in columns})
    return parts


def _check_keys(placed: Placed) -> None:
    for key in placed.value:
        if key not in _KEYS:
            message, next_step = f"The key {key!r} is not known.", f"Known here: {', '.join(_KEYS)}."
            raise placed.refusal(f"$.{key}", message, next_step, at_key=True)
    if "data" not in placed.value and "reference" not in placed.value:
        raise placed.refusal("$", "The key 'data' is missing.", "Write what the version reads under 'data:'.")


def _reference(placed: Placed) -> ReferenceFile | None:
    file, without = placed.value.get("reference"), placed.value.get("without", [])
    if "reference" in placed.value and not (isinstance(file, str) and file and file.isprintable()):
        raise placed.refusal("$.reference", "'reference' names no file.", "Write: reference: train.parquet")
    if not isinstance(without, list) or not all(isinstance(one, str) for one in without):
        message = "'without' is not a list of columns."
        raise placed.refusal("$.without", message, "Write: without: [label]")
    if without and file is None:
        message = "'without' is of a reference, and there is none."
        raise placed.refusal("$.without", message, "Write: reference: train.parquet", at_key=True)
    return None if file is None else ReferenceFile(file, tuple(without))


def _needs(placed: Placed) -> dict[str, Schema]:
    data = placed.value["data"]
    found = {}
    for source, given in _mapping(placed, data, "$.data", "Name each source and its tables.").items():
        path = f"$.data.{source}"
        if not is_source_name(source):
            message = f"{source[:60]!r} cannot name a data source."
            raise placed.refusal(path, message, SOURCE_NAME_HINT, at_key=True)
        tables = _only(placed, given, path, "tables", "Write 'tables:' with the name of each table.")
        named = _mapping(placed, tables, f"{path}.tables", "Name each table and its columns.")
        found[source] = schema_of(
            {table: _columns(placed, columns, f"{path}.tables.{table}") for table, columns in named.items()}
        )
    return found


def _columns(placed: Placed, given: object, path: str) -> tuple[Column, ...]:
    columns = []
    for name, kind in _mapping(placed, given, path, _TABLE_HINT).items():
        if not isinstance(kind, str) or not kind.strip():
            message = f"The type of the column {name!r} is not a text."
            next_step = "Write the type as the source calls it, such as integer; 'any' where it has none."
            raise placed.refusal(f"{path}.{name}", message, next_step)
        columns.append(Column(name=name, type=" ".join(kind.lower().split())))
    return tuple(columns)


def _only(placed: Placed, given: object, path: str, key: str, next_step: str) -> object:
    """Return what stands under the one key that is known here."""
    mapping = _mapping(placed, given, path, next_step)
    for other in mapping:
        if other != key:
            message = f"The key {other!r} is not known."
            raise placed.refusal(f"{path}.{other}", message, f"Known here: {key}.", at_key=True)
    if key not in mapping:
        raise placed.refusal(path, f"The key {key!r} is missing.", next_step)
    return mapping[key]


def _mapping(placed: Placed, given: object, path: str, next_step: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise placed.refusal(path, f"{_called(path)} is not a mapping.", next_step)
    return given


def _called(path: str) -> str:
    return "The file" if path == "$" else repr(path.removeprefix("$."))
