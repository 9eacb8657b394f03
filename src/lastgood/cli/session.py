"""One run of one command: its settings, its output, and how it reaches the services."""

import contextlib
import functools
import getpass
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from lastgood.cli.client import NoServerError, ask, ask_patiently
from lastgood.cli.output import Output
from lastgood.domain.given_text import LONGEST_ACTOR, check_given
from lastgood.errors import Code, LastgoodError
from lastgood.settings import Settings, load_settings

if TYPE_CHECKING:
    from lastgood.bootstrap import Services

_PREFIX = "/api/v1"


class Session:
    """What every command gets first."""

    def __init__(self, *, as_json: bool, home: str | None) -> None:
        self.output = Output(as_json=as_json)
        self.home = home

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings of the project that the command runs in."""
        return load_settings({"home": self.home})

    @property
    def actor(self) -> str:
        """Who the audit record says did it: LASTGOOD_ACTOR, or the login name.

        :raises LastgoodError: ``invalid`` when that is too long or holds what cannot be seen.
        """
        actor = os.environ.get("LASTGOOD_ACTOR") or getpass.getuser()
        return check_given(actor, "actor (LASTGOOD_ACTOR)", longest=LONGEST_ACTOR)

    @contextlib.contextmanager
    def services(self) -> Iterator["Services"]:
        """Open the services in this process."""
        from lastgood.bootstrap import close, open_services

        services = open_services(self.settings)
        try:
            yield services
        finally:
            close(services)

    def read(self, *path: object, **query: Any) -> Any:
        """Answer a question: from the server if one runs, else from the store itself."""
        try:
            return ask(self.settings, "GET", _join(path), query=query)
        except NoServerError:
            with self.services() as services:
                return self.read_here(services, *path, **query)

    def send(self, content: Any, *path: object) -> Any:
        """Send what is nobody's command: to the server if one runs, else to the store itself."""
        try:
            return ask(self.settings, "POST", _join(path), body=content)
        except NoServerError:
            from lastgood.web.table import dispatch

            with self.services() as services:
                return dispatch(
                    services, "POST", _join(path, quoted=False), body=msgspec.json.encode(content)
                )

    def read_from_server(self, *path: object, **query: Any) -> Any:
        """Answer a question from the server.

        :raises LastgoodError: ``unavailable`` when none runs.
        """
        return ask(self.settings, "GET", _join(path), query=query)

    def read_here(self, services: "Services", *path: object, **query: Any) -> Any:
        """Answer a question in this process."""
        from lastgood.web.table import dispatch

        given = {key: str(value) for key, value in query.items() if value is not None}
        return dispatch(services, "GET", _join(path, quoted=False), given)

    def command(self, *path: object, **body: Any) -> Any:
        """Give a command to the server, in the actor's name; wait for one that is only starting.

        :raises LastgoodError: ``unavailable`` when none runs.
        """
        content = {"actor": self.actor, **_given(body)}
        return ask_patiently(self.settings, "POST", _join(path), body=content)

    def command_at_once(self, *path: object, **body: Any) -> Any:
        """Give a command to the server as it is now: one that cannot wait has another way.

        :raises LastgoodError: ``unavailable`` when none answers.
        """
        return ask(self.settings, "POST", _join(path), body={"actor": self.actor, **_given(body)})

    def command_here(self, services: "Services", *path: object, **body: Any) -> Any:
        """Carry a command out in this process."""
        from lastgood.web.table import dispatch

        content = msgspec.json.encode({"actor": self.actor, **_given(body)})
        return dispatch(services, "POST", _join(path, quoted=False), body=content)


def _given(body: dict[str, Any]) -> dict[str, Any]:
    for name in ("reason", "override"):  # said before anything is sent, also where no server answers
        if body.get(name):
            check_given(body[name], name)
    return {key: value for key, value in body.items() if value is not None}


def _join(path: tuple[object, ...], *, quoted: bool = True) -> str:
    if "" in path:
        raise LastgoodError(
            Code.INVALID, "A name or a number is empty.", "Give one; see the command's --help."
        )
    for part in path:
        check_given(str(part), "name")
    parts = [quote(str(part), safe="") if quoted else str(part).replace("/", "%2F") for part in path]
    return "/".join((_PREFIX, *parts))
