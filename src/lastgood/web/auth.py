"""Who may call: a bearer token for the API, and no web page that tricks a browser into calling (DNS rebinding)."""

import hmac
import ipaddress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lastgood.errors import Code, LastgoodError
from lastgood.settings import Settings
from lastgood.web.endpoint import PREFIX
from lastgood.web.problem import answer_error

_ASK: Final = {"WWW-Authenticate": 'Bearer realm="lastgood"'}


class Guard:
    """Wraps the application: refuses foreign Host headers everywhere, and API calls without the token."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._host = settings.api_host
        self._token = settings.token_file.read_text().strip().encode()
        if not self._token:
            raise LastgoodError(
                Code.CORRUPT,
                f"The token file {settings.token_file} is empty.",
                "Remove it; the next start writes a new one.",
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the call through or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not host_is_ours(headers.get("host", ""), self._host):
            refusal = LastgoodError(
                Code.UNTRUSTED,
                "The Host header names another machine, so this call may come from a foreign web page.",
                "Call the address that the server listens on.",
            )
            await answer_error(refusal, status=421)(scope, receive, send)
        elif _needs_token(scope["path"]) and not self._knows(headers.get("authorization", "")):
            refusal = LastgoodError(
                Code.UNTRUSTED,
                "The control API needs the token.",
                "Send 'Authorization: Bearer TOKEN'; it is in the file 'token' of Lastgood's home folder.",
            )
            await answer_error(refusal, status=401, headers=_ASK)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _knows(self, header: str) -> bool:
        kind, _, token = header.partition(" ")
        same = hmac.compare_digest(token.strip().encode("latin-1", "replace"), self._token)
        return kind.lower() == "bearer" and same


def _needs_token(path: str) -> bool:
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def host_is_ours(header: str, configured: str) -> bool:
    """Whether a Host header may reach us: loopback, the configured host, or any address where all are served.

    A rebinding attack needs a name, so a literal address cannot be one.
    """
    name = _without_port(header).lower()
    if name in {"localhost", configured.lower()}:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or configured in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def _without_port(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
