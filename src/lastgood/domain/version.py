"""A version: an immutable entry of a model, and the rules for its name and label."""

import re
from enum import StrEnum
from typing import Final

import msgspec

from lastgood.domain.golden import Golden
from lastgood.domain.sketch import Reference
from lastgood.domain.snapshot import Schema
from lastgood.errors import Code, LastgoodError

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_WORD: Final = re.compile(r"[a-z]+")
VAGUE_WORDS: Final = frozenset(
    "backup bak best copy current deploy final good last latest live new newest newer old older ok prod "
    "production real stable stage staging temp test tmp todo use working wip".split()
)


class Format(StrEnum):
    """How an artifact's bytes become a model."""

    ONNX = "onnx"
    SKOPS = "skops"
    CALLABLE = "callable"
    PICKLE = "pickle"
    JOBLIB = "joblib"


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One named input or output. ``datatype`` is the Open Inference Protocol's; -1 in ``shape`` varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes in and what comes out. The first dimension of every tensor is the batch."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class DataReference(msgspec.Struct, frozen=True):
    """The training data of a version: where it lay, the sha256 of its bytes, how many rows it had."""

    uri: str
    digest: str
    rows: int | None = None


class GitState(msgspec.Struct, frozen=True):
    """The commit of the working tree at registration, and whether it had uncommitted changes."""

    commit: str
    dirty: bool


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable version. ``number`` counts 1, 2, 3 within its model; ``digest`` is ``sha256:<hex>``.

    ``needs`` is its data contract: by source, the tables and columns that it reads while it serves. ``golden`` is what it
    must answer before it serves, and for as long as somebody may go back to it. ``reference`` is what drift is measured
    from.
    """

    model: str
    number: int
    label: str | None = None
    digest: str
    size_bytes: int
    format: Format
    factory: str | None = None
    signature: Signature | None = None
    data: DataReference | None = None
    git: GitState | None = None
    metrics: dict[str, float] = {}
    dependencies: dict[str, str] = {}
    needs: dict[str, Schema] = {}
    golden: tuple[Golden, ...] = ()
    reference: Reference | None = None
    created_at: float
    created_by: str

    @property
    def display(self) -> str:
        """What a person calls it: the label, or ``version 3`` where there is none."""
        return self.label or f"version {self.number}"

    @property
    def full_display(self) -> str:
        """Number and label together, for lists and errors."""
        return f"{self.number} ({self.label})" if self.label else str(self.number)


def input_differences(served: Signature, offered: Signature) -> list[str]:
    """Say where callers of ``served`` would send what ``offered`` does not take; empty when they would not.

    Datatypes of one kind fit each other (JSON numbers carry no width), and so does a size that varies.
    """
    found = []
    theirs = {tensor.name: tensor for tensor in offered.inputs}
    for tensor in served.inputs:
        other = theirs.pop(tensor.name, None)
        if other is None:
            found.append(f"there is no input {tensor.name!r}")
        elif not _fits(tensor, other):
            found.append(f"{tensor.name!r} is {_shown(other)}, not {_shown(tensor)}")
    found += [f"the input {name!r} is new" for name in theirs]
    return found


def _fits(one: Tensor, other: Tensor) -> bool:
    return (
        one.datatype.rstrip("0123456789") == other.datatype.rstrip("0123456789")
        and len(one.shape) == len(other.shape)
        and all(size == its or -1 in (size, its) for size, its in zip(one.shape, other.shape, strict=True))
    )


def _shown(tensor: Tensor) -> str:
    return f"{tensor.datatype} {list(tensor.shape)}"


def check_name(name: str, what: str = "model") -> str:
    """Return ``name`` if a model or deployment may be called so; raise ``invalid`` otherwise."""
    if not _NAME.fullmatch(name):
        raise LastgoodError(
            Code.INVALID,
            f"{name!r} cannot name a {what}: a name starts with a letter and has at most 63 letters, "
            "digits, '-' and '_'.",
            "Choose a name such as 'churn' or 'churn-eu'.",
        )
    return name


def check_label(label: str) -> str:
    """Return ``label`` if it names an order; raise ``invalid`` for vague or malformed ones.

    A label is refused when one of its words says nothing about order (``final``, ``latest``,
    ``new`` ...), when it is a bare number (that is what version numbers are for), or when it holds
    characters that do not survive a URL.
    """
    if not _LABEL.fullmatch(label):
        raise LastgoodError(
            Code.INVALID,
            f"{label!r} cannot be a label: letters, digits, '.', '_', '+' and '-' only, at most 64.",
            "Use something like v1.3 or 2026-11-21.",
        )
    vague = [word for word in _WORD.findall(label.lower()) if word in VAGUE_WORDS]
    if vague:
        raise LastgoodError(
            Code.INVALID,
            f"The label {label!r} is refused: {vague[0]!r} names no order, and next month nobody will know "
            "what it meant.",
            "Use a number or a date that sorts, such as v1.3 or 2026-11-21. What is live is the "
            "deployment's business, not the label's.",
        )
    if label.isdigit():
        raise LastgoodError(
            Code.INVALID,
            f"The label {label!r} is a bare number and would be taken for a version number.",
            f"Use v{label}.",
        )
    return label
