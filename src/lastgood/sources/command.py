"""Data that the user's own programs capture and put back: one program, or one for each step.

A step gets ``{"step", "source", "token", "snapshot", "exports"}`` as JSON on its standard input and answers JSON on its
standard output. What each step answers, and which exit status means what, is in ``docs/data-sources.md``. The programs
keep the promises of :class:`~lastgood.data_ports.DataSource` themselves; this module runs them and believes no answer
that does not fit: a capture is read back through ``verify``, and a swap is asked for through ``swapped``.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec

from lastgood.domain.snapshot import Column, Gained, Quarantine, Schema, Snapshot
from lastgood.errors import Code, LastgoodError
from lastgood.sources.command_process import Ended, run
from lastgood.sources.digest import schema_of
from lastgood.sources.hidden_texts import HiddenTexts
from lastgood.sources.notes import Notes
from lastgood.sources.options import Options
from lastgood.sources.tokens import checked

LIMITS: Final[Mapping[str, float]] = {
    "schema": 30.0,
    "capture": 3600.0,
    "verify": 3600.0,
    "stage": 3600.0,
    "swap": 30.0,
    "swapped": 30.0,
    "quarantine": 3600.0,
    "release": 600.0,
    "room": 10.0,
}
_OPTIONAL: Final = "room"
_PASSED_ON: Final = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ")
_SHOWN_CHARACTERS: Final = 200
_T = TypeVar("_T")
_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_MEANINGS: Final[Mapping[int, tuple[Code, str]]] = {
    10: (Code.NOT_FOUND, "It says that something is missing."),
    11: (Code.CORRUPT, "It says that what is kept is damaged; capture again."),
    12: (Code.STORAGE, "It says that there is no room; make some."),
    13: (Code.TIMEOUT, "It says that somebody's lock did not let go; it can be tried again."),
}


class _Shape(msgspec.Struct, frozen=True):
    tables: dict[str, tuple[Column, ...]]


class _Captured(msgspec.Struct, frozen=True):
    digest: Annotated[str, msgspec.Meta(min_length=1)]
    size_bytes: _Number
    rows: dict[str, _Number]
    tables: dict[str, tuple[Column, ...]] = {}
    place: dict[str, Any] = {}


class _Verified(msgspec.Struct, frozen=True):
    digest: str


class _Answered(msgspec.Struct, frozen=True):
    """Nothing to say but that it is done."""


class _Told(msgspec.Struct, frozen=True):
    swapped: bool


class _Replaced(msgspec.Struct, frozen=True):
    kept: _Captured
    tables: dict[str, Gained]


class _Bytes(msgspec.Struct, frozen=True):
    bytes: _Number | None = None


def create(name: str, options: Mapping[str, Any], kept: Path) -> "Command":
    """Return the source ``name``; ``kept`` holds notes only, the programs keep data where they like."""
    return Command(name, options, kept)


class Command:
    """The :class:`~lastgood.data_ports.DataSource` over programs. Safe from any thread."""

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        kept: Path,
        *,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        given = Options(name, options)
        program = given.texts("program", ())
        self._argv: dict[str, tuple[str, ...]] = {}
        for step in LIMITS:
            argv = given.texts(step, ()) or (program and (*program, step))
            if argv:
                self._argv[step] = argv
            elif step != _OPTIONAL:
                raise given.wrong(step, "is missing, and there is no 'program' for all steps")
        limits = Options(name, given.mapping("timeouts"))
        self._limits = {step: limits.seconds(step, seconds) for step, seconds in LIMITS.items()}
        limits.end()
        self._folder = Path(given.text("folder", "."))
        self._environment = HiddenTexts(name, given.mapping("environment"))
        given.end()
        self._name = name
        self._notes = Notes(kept)
        self._reached = reached

    def schema(self) -> Schema:
        """See the port. The program answers ``{"tables": {table: [{"name", "type"}]}}``."""
        return schema_of(self._ask("schema", _Shape).tables)

    def capture(self, token: str) -> Snapshot:
        """See the port. The program answers digest, size_bytes, rows, tables, and a place of its own."""
        noted = self._notes.read(token, "snapshot", Snapshot)
        if noted is not None:
            return noted
        began, taken_at = time.monotonic(), time.time()
        self._reached("capture.begin")
        answer = self._ask("capture", _Captured, token=token)
        self._reached("capture.answered")
        snapshot = self._snapshot(token, answer, taken_at, time.monotonic() - began)
        self._verified(snapshot)
        self._notes.write(token, "snapshot", snapshot)
        self._reached("capture.noted")
        return snapshot

    def verify(self, snapshot: Snapshot) -> None:
        """See the port. The program reads its data and answers the digest that it finds."""
        self._verified(snapshot)

    def stage_restore(self, snapshot: Snapshot, token: str) -> None:
        """See the port. Not called any more once the swap of ``token`` has happened."""
        checked(token)
        if self.swapped(token):
            return
        self._verified(snapshot)
        self._reached("stage.verified")
        self._ask("stage", _Answered, token=token, snapshot=snapshot)
        self._reached("stage.done")

    def swap(self, token: str) -> None:
        """See the port. A program that exits well but answers ``swapped: false`` afterwards has failed."""
        if self._notes.swap_of(token, _Told) is not None:
            return  # requests are held: what the program can tell by itself is not asked first
        self._reached("swap.begin")
        self._ask("swap", _Answered, token=token)
        self._reached("swap.done")
        if not self._ask("swapped", _Told, token=token).swapped:
            raise LastgoodError(
                Code.CORRUPT,
                f"The swap program of data source {self._name!r} ended well, but the data is not swapped.",
                "Look at the program and at the data.",
            )
        self._notes.note_swap(token, _Told(swapped=True))

    def swapped(self, token: str) -> bool:
        """See the port. Asked of the program until it first says yes; remembered from then on."""
        if self._notes.swap_of(token, _Told) is not None:
            return True
        swapped = self._ask("swapped", _Told, token=token).swapped
        if swapped:
            self._notes.note_swap(token, _Told(swapped=True))
        return swapped

    def quarantine(self, snapshot: Snapshot, token: str, exports: Path) -> Quarantine:
        """See the port. The program answers ``kept`` as for a capture, and ``tables`` with its counts and file names."""
        noted = self._notes.read(token, "quarantine", Quarantine)
        if noted is not None and noted.since == snapshot.token:
            return noted
        began, taken_at = time.monotonic(), time.time()
        exports.mkdir(parents=True, exist_ok=True)
        answer = self._ask("quarantine", _Replaced, token=token, snapshot=snapshot, exports=exports)
        self._reached("quarantine.answered")
        for gained in answer.tables.values():
            if gained.added < 0 or gained.removed < 0:
                raise self._odd("quarantine", "a number of rows that is below 0")
            if gained.export is not None and not _is_file_in(exports, gained.export):
                raise self._odd("quarantine", "an export that is no file in the folder for them")
        kept = self._snapshot(token, answer.kept, taken_at, time.monotonic() - began)
        quarantine = Quarantine(token=token, since=snapshot.token, kept=kept, tables=answer.tables)
        self._notes.write(token, "quarantine", quarantine)
        return quarantine

    def release(self, token: str) -> int:
        """See the port. The program answers ``{"bytes": n}``."""
        checked(token)
        freed = self._ask("release", _Bytes, token=token).bytes or 0
        self._reached("release.answered")
        self._notes.remove(token)
        return freed

    def room(self) -> int | None:
        """See the port. None without a program for it."""
        return self._ask("room", _Bytes).bytes if "room" in self._argv else None

    def size(self) -> int | None:
        """See the port. Only the programs know what their copies take."""
        return None

    def _snapshot(self, token: str, answer: _Captured, taken_at: float, seconds: float) -> Snapshot:
        return Snapshot(
            token=token,
            source=self._name,
            provider="command",
            taken_at=taken_at,
            seconds=seconds,
            size_bytes=answer.size_bytes,
            rows=answer.rows,
            schema=schema_of(answer.tables),
            digest=answer.digest,
            place=answer.place,
        )

    def _verified(self, snapshot: Snapshot) -> None:
        found = self._ask("verify", _Verified, token=snapshot.token, snapshot=snapshot).digest
        if found != snapshot.digest:
            raise LastgoodError(
                Code.CORRUPT,
                f"The snapshot {snapshot.token!r} of data source {self._name!r} has another digest than when it was taken.",
                "Capture again.",
            )

    def _ask(
        self,
        step: str,
        kind: type[_T],
        *,
        token: str | None = None,
        snapshot: Snapshot | None = None,
        exports: Path | None = None,
    ) -> _T:
        told: dict[str, Any] = {"step": step, "source": self._name}
        told |= {} if token is None else {"token": checked(token)}
        told |= {} if snapshot is None else {"snapshot": snapshot}
        told |= {} if exports is None else {"exports": str(exports.absolute())}
        environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        environment |= self._environment.read()
        ended = run(
            self._argv[step],
            msgspec.json.encode(told),
            environment=environment,
            folder=self._folder,
            seconds=self._limits[step],
        )
        if ended.status != 0:
            raise self._failed(step, ended)
        try:
            return msgspec.json.decode(ended.answer or b"null", type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._odd(step, "something else than was asked") from None

    def _failed(self, step: str, ended: Ended) -> LastgoodError:
        code, next_step = _MEANINGS.get(ended.status, (Code.UNAVAILABLE, "Run it by hand to see why."))
        how = f"exited with {ended.status}" if ended.status > 0 else f"was ended by signal {-ended.status}"
        said = self._environment.masked(ended.said)[:_SHOWN_CHARACTERS]
        return LastgoodError(
            code,
            f"The program for {step!r} of data source {self._name!r} {how}{f': {said}' if said else '.'}",
            next_step,
            details={"step": step, "exit_status": ended.status},
        )

    def _odd(self, step: str, what: str) -> LastgoodError:
        return LastgoodError(
            Code.UNAVAILABLE,
            f"The program for {step!r} of data source {self._name!r} answered {what}.",
            "See docs/data-sources.md for what each step answers.",
        )


def _is_file_in(folder: Path, name: str) -> bool:
    return Path(name).name == name and (folder / name).is_file() and not (folder / name).is_symlink()
