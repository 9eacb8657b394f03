"""``doctor``: look at everything that Lastgood needs on this machine, and say what to do where it is missing."""

import importlib.util
import itertools
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lastgood.cli.client import NoServerError, find_server
from lastgood.cli.command import command
from lastgood.cli.doctor_serving import SERVING_CHECKS, Finding, controller, disk
from lastgood.cli.output import styled, table
from lastgood.cli.session import Session
from lastgood.errors import EXIT_ERROR, EXIT_OK, LastgoodError

if TYPE_CHECKING:
    from lastgood.bootstrap import Services

_EVENTS: Final = 1000
_CLOCK_SECONDS: Final = 2.0
_EXTRAS: Final = (
    ("onnx", ("onnxruntime",)),
    ("sklearn", ("sklearn", "skops")),
    ("pickle", ("joblib", "cloudpickle")),
)


@command("doctor")
def doctor(session: Session) -> int:
    """Check everything that Lastgood needs on this machine.

    Looks at settings, folders, disk, formats, store, audit record, clock, routes, hosts, server and controller.
    Exit 1 if there is a problem.
    """
    findings = list(_examine(session))
    colours = {"ok": "green", "note": "dim", "problem": "red"}
    rows = [
        (one.name, styled(one.state, colours[one.state]), " ".join(filter(None, (one.what, one.next))))
        for one in findings
    ]
    problems = [one for one in findings if one.state == "problem"]
    last = f"{len(problems)} problems." if len(problems) != 1 else "1 problem."
    session.output.result(
        {"ok": not problems, "checks": findings},
        table(("CHECK", "STATE", "WHAT"), rows, fold="WHAT"),
        "Everything is in order." if not problems else last,
    )
    return EXIT_ERROR if problems else EXIT_OK


def _examine(session: Session) -> Iterator[Finding]:
    try:
        settings = session.settings
    except LastgoodError as error:
        yield Finding("settings", "problem", error.message, error.next_step)
        return
    yield Finding("settings", "ok", f"read for {Path(settings.home).parent}")
    yield _folder("home folder", Path(settings.home), 0o077)
    yield _folder("run folder", settings.run, 0o022)
    yield from disk(settings)
    yield _folder("API token", settings.token_file, 0o077)
    for extra, modules in _EXTRAS:
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if missing:
            yield Finding(
                extra, "note", f"{', '.join(missing)} not installed.", f"pip install 'lastgood[{extra}]'"
            )
        else:
            yield Finding(extra, "ok", "models of this format can be loaded")
    yield from _with_store(session)
    looked = list(controller(settings))
    yield from looked
    if not any(one.state == "problem" for one in looked):  # one that hangs would keep us waiting for a minute
        yield _server(session)


def _server(session: Session) -> Finding:
    try:
        session.read_from_server("deployments")
        return Finding("server", "ok", f"answers on {find_server(session.settings).url}")
    except NoServerError as error:
        return Finding("server", "note", error.message, error.next_step)
    except LastgoodError as error:
        return Finding("server", "problem", error.message, error.next_step)


def _folder(name: str, path: Path, forbidden: int) -> Finding:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return Finding(name, "note", f"{path}: {error.strerror}.", "Run: lastgood init")
    if mode & forbidden:
        others = "changed" if forbidden == 0o022 else "read"
        return Finding(
            name, "problem", f"{path} can be {others} by other users (mode {mode:o}).", f"chmod go-rwx {path}"
        )
    return Finding(name, "ok", f"{path}, for its owner only")


def _with_store(session: Session) -> Iterator[Finding]:
    try:
        with session.services() as services:
            yield Finding("store", "ok", "opens, and its tables are those of this version")
            for check in _STORE_CHECKS:
                yield check(services)
    except LastgoodError as error:
        yield Finding("store", "problem", error.message, error.next_step)


def _record(services: "Services") -> Finding:
    from lastgood.domain.event import seal_holds

    events = services.views.events(limit=_EVENTS, newest_first=True)
    for newer, older in itertools.zip_longest(events, events[1:]):
        previous = newer.previous if older is None else older.hash
        expected = newer.sequence if older is None else older.sequence + 1
        if not seal_holds(newer, expected, previous):
            return Finding(
                "audit record",
                "problem",
                f"Event {newer.sequence} was changed.",
                "Run: lastgood audit verify",
            )
    return Finding("audit record", "ok", f"the last {len(events)} events are intact")


def _clock(services: "Services") -> Finding:
    events = services.views.events(limit=1, newest_first=True)
    ahead = events[0].at - time.time() if events else 0.0
    if ahead > _CLOCK_SECONDS:
        return Finding(
            "clock",
            "problem",
            f"The last event lies {ahead:.0f} seconds in the future: this clock was set back.",
            "Check NTP; steps last too long until the clock has caught up.",
        )
    return Finding("clock", "ok", "not behind the last event")


_STORE_CHECKS: Final[tuple[Callable[["Services"], Finding], ...]] = (_record, _clock, *SERVING_CHECKS)

COMMANDS = (doctor,)
