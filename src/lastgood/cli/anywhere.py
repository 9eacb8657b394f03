"""A command that works wherever it is typed: the server carries it out, or this process where none runs."""

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from lastgood.cli.client import NoServerError
from lastgood.cli.session import Session
from lastgood.errors import Code, LastgoodError

_LOCK_SECONDS: Final = 10.0
Next = Callable[[Any], tuple[object, ...] | None]


def command_anywhere(
    session: Session,
    *path: object,
    doing: str,
    unserved: str = "",
    following: Next = lambda _: None,
    **body: Any,
) -> tuple[Any, bool]:
    """Give a command; return its answer and whether this process carried it out.

    ``doing`` says what this process does then (``Rolling back``), ``unserved`` is added where no gateway runs either.
    While ``following`` names a path for an answer, that is asked next: the last answer counts.
    """
    try:
        return _by_server(session, path, following, body), False
    except NoServerError as error:
        absent = error
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        with contextlib.ExitStack() as stack:
            if _took_control(session, stack, last=time.monotonic() > deadline):
                note = f"{absent.message} {doing} from here."
                return _here(session, path, following, body, note, unserved), True
        try:
            return _by_server(session, path, following, body), False
        except NoServerError:
            time.sleep(0.1)  # a controller holds the routes but does not answer yet


def _by_server(session: Session, path: tuple[object, ...], following: Next, body: dict[str, Any]) -> Any:
    found = session.command_at_once(*path, **body)
    while (after := following(found)) is not None:
        found = session.read_from_server(*after)
    return found


def _took_control(session: Session, stack: contextlib.ExitStack, *, last: bool) -> bool:
    """Take the controller's place until the stack ends; False when another process has it, an error at the last try."""
    from lastgood.home import controlling

    try:
        stack.enter_context(controlling(session.settings))
    except LastgoodError as error:
        if error.code is not Code.CONFLICT or last:
            raise
        return False
    return True


def _here(
    session: Session,
    path: tuple[object, ...],
    following: Next,
    body: dict[str, Any],
    note: str,
    unserved: str,
) -> Any:
    with session.services() as services:
        session.output.note(note)
        if unserved and not services.router.workers():
            session.output.note(unserved)
        services.executor.resume()
        found = session.command_here(services, *path, **body)
        while (after := following(found)) is not None:
            found = session.read_here(services, *after)
        return found
