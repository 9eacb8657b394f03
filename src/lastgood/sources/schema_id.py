"""The digest that tells one schema from another."""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from lastgood.domain.snapshot import Column, Schema


def schema_of(tables: Mapping[str, Iterable[Column]]) -> Schema:
    """Return the schema of these tables; its id is over table names, and each one's columns in their order."""
    shape = {table: tuple(tables[table]) for table in sorted(tables)}
    said = [[table, [[column.name, column.type] for column in shape[table]]] for table in shape]
    return Schema(id=f"sha256:{hashlib.sha256(msgspec.json.encode(said)).hexdigest()}", tables=shape)
