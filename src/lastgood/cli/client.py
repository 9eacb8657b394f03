"""Asking the control API that runs on this home."""

import fcntl
import os
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lastgood.errors import Code, LastgoodError, from_data
from lastgood.settings import Settings
from lastgood.web.address import Address, read_address
from lastgood.wire.page import started_at

_CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0
_START_SECONDS: Final = 15.0
_GRACE_SECONDS: Final = 2.0


class NoServerError(LastgoodError):
    """No server answers on this home."""

    def __init__(self, settings: Settings, why: str) -> None:
        super().__init__(
            Code.UNAVAILABLE,
            f"No server answers for {settings.home}: {why}.",
            "Start it with 'lastgood serve' (and leave it running).",
        )


def find_server(settings: Settings) -> Address:
    """Return where the control API listens.

    :raises LastgoodError: ``unavailable`` (a :class:`NoServerError`) when none runs.
    """
    try:
        address = read_address(settings.run)
    except FileNotFoundError:
        raise NoServerError(settings, "none was started") from None
    except (OSError, ValueError) as error:
        raise NoServerError(settings, f"its address cannot be read ({error})") from None
    # The pid alone would do for another process that has it by now, and another program may listen on that
    # port: neither may get the token.
    if started_at(address.pid) != address.started:
        raise NoServerError(settings, "it has ended")
    return address


def ask_patiently(settings: Settings, method: str, path: str, *, body: Mapping[str, Any]) -> Any:
    """Do as :func:`ask`, but while a server is only starting, or its controller is being started again, wait for it.

    :raises LastgoodError: as :func:`ask`; a :class:`NoServerError` soon when nothing is starting.
    """
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return ask(settings, method, path, body=body)
        except NoServerError:
            if time.monotonic() > deadline or not is_supervised(settings):
                raise
            time.sleep(0.1)


def is_supervised(settings: Settings) -> bool:
    """Whether a ``lastgood serve`` holds this home."""
    try:
        descriptor = os.open(settings.run / "supervisor.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def ask(
    settings: Settings,
    method: str,
    path: str,
    *,
    query: Mapping[str, Any] | None = None,
    body: Any = None,
) -> Any:
    """Send one request and return its answer as plain data.

    :raises LastgoodError: what the API answered; ``unavailable`` (a :class:`NoServerError`) when nobody took
        the request; ``timeout`` when it was taken and not answered in :data:`ANSWER_SECONDS`.
    """
    import httpx2

    address = find_server(settings)
    token = settings.token_file.read_text().strip()
    limits = httpx2.Timeout(ANSWER_SECONDS, connect=_CONNECT_SECONDS)
    try:
        # No proxy from the environment: the server is on this machine.
        with httpx2.Client(base_url=address.url, timeout=limits, trust_env=False) as client:
            answer = client.request(
                method,
                path,
                params={key: _plain(value) for key, value in (query or {}).items() if value is not None},
                content=None if body is None else msgspec.json.encode(body),
                headers={"authorization": f"Bearer {token}"},
            )
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise NoServerError(settings, f"nobody listens on {address.url} ({error})") from None
    except httpx2.TimeoutException:
        raise LastgoodError(
            Code.TIMEOUT,
            f"The server took the command but gave no answer in {ANSWER_SECONDS:.0f} seconds.",
            "It may still act on it: see 'lastgood status', then the logs in the run folder.",
        ) from None
    except httpx2.HTTPError as error:
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"The server ended before it answered ({error}).",
            "It may have acted: see 'lastgood status', then run the command again.",
        ) from None
    return _read(answer.status_code, answer.content)


def ask_health(settings: Settings) -> tuple[bool, str, list[str]]:
    """Return whether the controller works, why (not), and the deployments that it cannot drive.

    :raises LastgoodError: ``unavailable`` when nobody answers (a :class:`NoServerError` when none runs).
    """
    import httpx2

    address = find_server(settings)
    try:
        answer = httpx2.get(f"{address.url}/health", timeout=_CONNECT_SECONDS, trust_env=False)
        data = msgspec.json.decode(answer.content, type=dict[str, Any])
    except (httpx2.HTTPError, ValueError) as error:
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"The controller gives no account of its health ({error}).",
            "See its log in the run folder.",
        ) from None
    return answer.status_code == 200, str(data.get("why", "")), list(data.get("trouble", ()))


def _read(status: int, content: bytes) -> Any:
    try:
        data = msgspec.json.decode(content)
    except ValueError:
        raise LastgoodError(
            Code.UNAVAILABLE,
            f"What answered is not Lastgood's control API (status {status}, no JSON).",
            "Look at what listens on that port, or restart 'lastgood serve'.",
        ) from None
    if status >= 400:
        raise from_data(data)
    return data


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
