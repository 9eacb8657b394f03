"""The one place that prints: text or a table for a person, JSON for a program; errors to standard error."""

import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from lastgood.domain.given_text import visible
from lastgood.errors import EXIT_STATUS, Code, LastgoodError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_PIPED_COLUMNS = 200
"""A table that goes to a file or another program is not folded to somebody's window."""


class Output:
    """Prints results. With ``as_json`` exactly one JSON document goes to standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._console: Console | None = None

    @property
    def live(self) -> bool:
        """Whether a person watches: text, on a terminal."""
        return not self.as_json and sys.stdout.isatty()

    def result(self, data: Any, *parts: "RenderableType") -> None:
        """Print the answer: ``data`` as JSON, or the parts one below the other."""
        if self.as_json:
            text = msgspec.json.format(msgspec.json.encode(data), indent=2).decode()
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
            return
        self.say(*parts)

    def say(self, *parts: "RenderableType") -> None:
        """Print for a person; nothing with JSON."""
        if self.as_json:
            return
        from rich.text import Text

        console = self.console()
        for part in map(shown, parts):
            if sys.stdout.isatty():
                console.print(part)  # folded between words
                continue
            with console.capture() as captured:
                console.print(part, soft_wrap=isinstance(part, Text))
            sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
        sys.stdout.flush()

    def use(self, console: "Console | None") -> None:
        """Print on this console for a while: a live display keeps its place below what is printed."""
        self._console = console

    def console(self) -> "Console":
        """Return a console on standard output that takes text literally."""
        if self._console is not None:
            return self._console
        from rich.console import Console

        width = None if sys.stdout.isatty() else _PIPED_COLUMNS
        return Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)

    def note(self, text: str) -> None:
        """Tell a person something beside the answer, on standard error."""
        if not self.as_json:
            sys.stderr.write(f"{visible(text)}\n")
            sys.stderr.flush()


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, fold: str = "") -> "RenderableType":
    """Return a plain table. Only the column ``fold`` may break its cells into lines."""
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for heading in headings:
        folds = heading == fold
        found.add_column(Text(visible(heading)), no_wrap=not folds, overflow="fold" if folds else "ellipsis")
    for row in rows:
        found.add_row(*(cell if isinstance(cell, Text) else Text(visible(str(cell))) for cell in row))
    return found


def sheet(rows: Sequence[tuple[str, object]]) -> "RenderableType":
    """Return names and values, one pair a line; values fold."""
    return grid([(styled(name, "dim"), value) for name, value in rows])


def grid(rows: Sequence[Sequence[object]], *, brief: bool = False) -> "RenderableType":
    """Return columns without headings; only the last one folds, and with ``brief`` it is cut instead."""
    from rich.table import Table
    from rich.text import Text

    found = Table.grid(padding=(0, 2), expand=brief)
    for index in range(len(rows[0]) if rows else 0):
        last = index == len(rows[0]) - 1
        folds = last and not brief
        ratio = 1 if brief and last else None  # what the others leave
        found.add_column(no_wrap=not folds, overflow="fold" if folds else "ellipsis", ratio=ratio)
    for row in rows:
        found.add_row(*(cell if isinstance(cell, Text) else Text(visible(str(cell))) for cell in row))
    return found


def styled(text: str, style: str) -> "RenderableType":
    """Return text in a colour (none where NO_COLOR is set or nobody watches)."""
    from rich.text import Text

    return Text(visible(text), style=style)


def shown(part: "RenderableType") -> "RenderableType":
    """Return a part as it is shown: text as one line without control characters, anything else as it is."""
    from rich.text import Text

    return Text(visible(part)) if isinstance(part, str) else part


def fail(error: LastgoodError, *, as_json: bool) -> int:
    """Print an error to standard error and return the exit status."""
    if as_json:
        sys.stderr.write(msgspec.json.encode(error.as_data()).decode() + "\n")
    else:
        sys.stderr.write(_folded("error: ", error.message))
        if error.next_step:
            sys.stderr.write(_folded("next:  ", error.next_step))
    sys.stderr.flush()
    return EXIT_STATUS[error.code]


def _folded(head: str, text: str) -> str:
    """Return one line, or on a terminal as many as it takes, the later ones set in below the first."""
    text = visible(text)
    if not sys.stderr.isatty():
        return f"{head}{text}\n"
    width = max(shutil.get_terminal_size().columns, 40)
    return (
        textwrap.fill(
            head + text,
            width,
            subsequent_indent=" " * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
    )


def fail_unexpectedly(error: BaseException, *, as_json: bool) -> int:
    """Say that this is a bug, with the traceback only for those who ask for it."""
    if os.environ.get("LASTGOOD_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    what = f"Something went wrong inside Lastgood ({type(error).__name__}: {error})."
    known = LastgoodError(
        Code.INTERNAL, what, "Run it again with LASTGOOD_DEBUG=1 and report what it prints."
    )
    return fail(known, as_json=as_json)
