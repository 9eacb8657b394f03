"""What a table format with a history of its own has to tell and to do, for :mod:`lastgood.sources.lake`."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from lastgood.domain.snapshot import Column


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One state of a table: where the format finds it, its columns, its files with their bytes, and what else tells.

    ``also`` is what must agree besides the files (deleted rows, partitions). ``divisible`` says that files can be read
    one by one; else the rows are those of all of them together.
    """

    place: dict[str, Any]
    columns: tuple[Column, ...]
    files: dict[str, int]
    also: str = ""
    divisible: bool = True

    def is_like(self, other: "State") -> bool:
        """Whether both are the same content, made of the same files."""
        return (self.columns, self.files, self.also) == (other.columns, other.files, other.also)


class Swap(msgspec.Struct, frozen=True):
    """The commit of a restore: the places of what it replaced and of what it made."""

    before: dict[str, Any]
    after: dict[str, Any]


class LakeTable(Protocol):
    """One table of one format. Errors are those of the port."""

    provider: str
    table: str

    def live(self) -> State:
        """Return the newest state."""

    def at(self, place: dict[str, Any]) -> State:
        """Return the state at a place; ``not_found`` when the table does not keep it any more."""

    def batches(self, state: State, only: frozenset[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows; of some files only, when the state is divisible."""

    def file_digests(self, state: State, besides: Collection[str] = ()) -> Iterator[tuple[str, str | None]]:
        """Yield each file but ``besides`` with the SHA-256 of its bytes, None when it is not there."""

    def pin(self, token: str, state: State) -> None:
        """Ask the format to keep the state, as far as it can. Idempotent."""

    def unpin(self, token: str) -> None:
        """Take the pin away. Idempotent."""

    def put_back(self, state: State, token: str, reached: Callable[[str], None]) -> Swap:
        """Make the state the newest in one commit that names the token; whatever was committed before is ``before``."""

    def find_swap(self, token: str, target: State | None) -> Swap | None:
        """Look for the commit that names the token; with ``target``, one that did not bring it back is none."""
