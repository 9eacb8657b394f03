"""Whom a plan's custom metrics may ask: this machine, and the hosts that the operator's settings name.

Whoever may start a release may send a plan, so what the server asks at a plan's word is the operator's to allow.
"""

import ipaddress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from lastgood.domain.custom import CustomTerms, SourceKind
from lastgood.errors import Code, LastgoodError
from lastgood.settings import Settings

_KINDS: Final = ("env", "file")
_HARMLESS: Final = frozenset({"sslmode", "application_name"})
_SHOWN_CHARACTERS: Final = 40
_TRUST: Final = "or set trust_plan_commands = true there"


def is_reference(text: str) -> bool:
    """Return whether ``text`` is ``env:NAME`` or ``file:PATH``."""
    kind, _, place = text.partition(":")
    return kind in _KINDS and bool(place)


def host_of(url: str) -> str:
    """Return the host of a URL as it is compared; empty where there is none."""
    return (urlsplit(url).hostname or "").lower().rstrip(".")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine by its very name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, which may mean any machine


def lies_outside(path: str, settings: Settings) -> bool:
    """Return whether a file is outside the project's folder, which relative ones are taken from."""
    project = Path(settings.home).parent.resolve()
    try:
        return not (project / path).resolve().is_relative_to(project)
    except (ValueError, OSError, RuntimeError):
        return True  # no path at all, or links in a ring: nothing says that it lies inside


def check_may_ask(terms: CustomTerms, settings: Settings) -> None:
    """Refuse a custom metric that a plan may not ask, as far as the plan itself shows it.

    Where it names ``env:NAME`` or ``file:PATH``, what is there is checked when it is asked: :func:`check_url`.

    :raises LastgoodError: ``untrusted``.
    """
    if settings.trust_plan_commands:
        return
    if terms.kind is SourceKind.PYTHON:
        if ":" in terms.ask:
            raise LastgoodError(
                Code.UNTRUSTED,
                f"The plan wants the server to run {terms.ask!r}, and these settings do not let plans run programs.",
                "Install it as an entry point of the group lastgood.metrics, or set trust_plan_commands = true in "
                "lastgood.toml.",
            )
        return
    url = terms.ask if terms.kind is SourceKind.HTTP else terms.url
    if not is_reference(url):
        check_url(terms.kind, url, settings)
    elif url.startswith("file:") and lies_outside(url.partition(":")[2], settings):
        raise LastgoodError(
            Code.UNTRUSTED,
            "The plan wants to read a URL from a file outside the project's folder.",
            f"Put it into the project's folder or the server's environment (env:NAME), {_TRUST}.",
        )


def check_url(kind: SourceKind, url: str, settings: Settings) -> None:
    """Refuse a URL that is neither of this machine nor of a host in ``metric_hosts``.

    :raises LastgoodError: ``untrusted``, or ``invalid``; nothing of the URL but its host is in it.
    """
    if settings.trust_plan_commands:
        return
    if kind is not SourceKind.SQL:
        _check_host(host_of(url), settings)
        return
    parts = _database(url)
    if parts.drivername.startswith("sqlite"):
        if lies_outside(sqlite_path(url), settings):
            raise LastgoodError(
                Code.UNTRUSTED,
                "The plan wants to read a database file outside the project's folder.",
                f"Put it into the project's folder, {_TRUST.replace('there', 'in lastgood.toml')}.",
            )
        project, home = Path(settings.home).parent.resolve(), Path(settings.home).resolve()
        if (project / sqlite_path(url)).resolve().is_relative_to(home):  # others' tokens and callers' inputs
            raise LastgoodError(
                Code.UNTRUSTED,
                "The plan wants to read Lastgood's own data.",
                f"Ask another database, {_TRUST.replace('there', 'in lastgood.toml')}.",
            )
        return
    if odd := sorted(set(parts.query) - _HARMLESS):
        raise LastgoodError(
            Code.UNTRUSTED,
            f"The database's URL has the parameter {odd[0][:_SHOWN_CHARACTERS]!r}, which may lead elsewhere.",
            f"Leave it out, {_TRUST.replace('there', 'in lastgood.toml')}.",
        )
    if parts.host:  # without one it is this machine's socket
        _check_host(parts.host.lower().rstrip("."), settings)


def _database(url: str) -> URL:
    """Read a database's URL as what connects does: two readers may find two hosts in one URL."""
    wrong = LastgoodError(
        Code.INVALID,
        "The database's URL cannot be used.",
        "Write postgresql://user@host/database, and '@' in a password as %40.",
    )
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        raise wrong from None
    if "@" in (parts.host or ""):  # the end of a password, which is not shown
        raise wrong
    return parts


def _check_host(host: str, settings: Settings) -> None:
    if not is_loopback(host) and host not in {one.lower().rstrip(".") for one in settings.metric_hosts}:
        raise LastgoodError(
            Code.UNTRUSTED,
            f"The plan wants the server to ask {host!r}, and metric_hosts does not name it.",
            f"Name it in metric_hosts in lastgood.toml, {_TRUST}.",
        )


def sqlite_path(url: str) -> str:
    """Return the file that a SQLite URL names: three slashes before a relative one, four before an absolute one."""
    return unquote(urlsplit(url).path[1:])
