"""Notifications to webhooks: a CloudEvent by HTTP POST, signed as Standard Webhooks describes.

The signing key is read when a notification is sent, so that it can be changed without a restart, and is never
logged. Of a URL only scheme, host and port are ever shown: the rest may hold a key.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2

from lastgood.domain.channel import Channel
from lastgood.domain.event import AuditEvent
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.cloud_event import CONTENT_TYPE, encode_cloud_event
from lastgood.settings import Settings

CONNECT_SECONDS: Final = 3.0
TOTAL_SECONDS: Final = 10.0
_SHOWN_CHARACTERS: Final = 200
_READ_BYTES_MAX: Final = 1024
_SECRET_BYTES_MAX: Final = 4096
_RETRY_STATUSES: Final = frozenset({408, 429})
_ENCODED_KEY: Final = "whsec_"


def create(settings: Settings) -> "Webhook":
    """Return the notifier; relative ``file:`` secrets lie below the folder that holds ``settings.home``.

    The HTTP client would log each request's whole URL; its loggers are set to warnings here.
    """
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return Webhook(folder=Path(settings.home).parent, environ=os.environ)


class Webhook:
    """The :class:`~lastgood.ports.Notifier` for channels with a ``webhook``. Safe from any thread."""

    def __init__(
        self,
        *,
        folder: Path,
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.time,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._folder = folder
        self._environ = environ
        self._clock = clock
        self._total_seconds = total_seconds
        self._tls: ssl.SSLContext | None = None
        self._tls_lock = threading.Lock()

    def send(self, channel: Channel, event: AuditEvent, key: str) -> None:
        """Post ``event``; returns when the receiver has answered 2xx.

        Redirects are not followed: a signed event goes where the operator said, and nowhere else.

        :raises LastgoodError: ``unavailable`` or ``timeout`` when another try may help (no connection, 408, 429,
            5xx, a secret that is not there now), ``refused`` when not. ``details["retry_after"]`` holds the
            seconds that the receiver asked for, if it did.
        """
        if channel.webhook is None:
            raise LastgoodError(Code.REFUSED, "The channel has no webhook.", "Correct the plan.")
        body = encode_cloud_event(event, key)
        secret = None if channel.secret is None else self._secret(channel.secret)
        headers = _headers(body, key, str(int(self._clock())), secret)
        origin = _origin(channel.webhook)
        try:
            status, retry_after, shown = asyncio.run(self._post(channel.webhook, body, headers))
        except (TimeoutError, httpx2.TimeoutException):
            raise LastgoodError(
                Code.TIMEOUT, f"{origin} did not answer in time.", "It is tried again."
            ) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise LastgoodError(
                Code.REFUSED, f"The webhook at {origin} is not a usable URL.", "Correct the plan."
            ) from None
        except (httpx2.TransportError, OSError) as error:
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"{origin} could not be reached ({type(error).__name__}).",
                "It is tried again.",
            ) from None
        if not 200 <= status < 300:
            raise _unwelcome(origin, status, retry_after, shown)

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, float | None, str]:
        # Asynchronous only for its one deadline over everything: a receiver that sends a byte now and then
        # would outlive timeouts that hold for each read.
        timeout = httpx2.Timeout(self._total_seconds, connect=min(CONNECT_SECONDS, self._total_seconds))
        async with asyncio.timeout(self._total_seconds):
            async with (
                httpx2.AsyncClient(timeout=timeout, verify=self._tls_context()) as client,
                client.stream("POST", url, content=body, headers=headers, follow_redirects=False) as answer,
            ):
                start = b""
                if not answer.is_success:
                    async for chunk in answer.aiter_bytes():
                        start += chunk[:_READ_BYTES_MAX]
                        if len(start) >= _READ_BYTES_MAX:
                            break
                return answer.status_code, _seconds(answer.headers.get("retry-after")), _plain(start)

    def _tls_context(self) -> ssl.SSLContext:
        with self._tls_lock:  # reading the certificates takes long enough to do it once only
            if self._tls is None:
                self._tls = httpx2.create_ssl_context()
            return self._tls

    def _secret(self, reference: str) -> bytes:
        kind, _, name = reference.partition(":")
        try:
            text = self._environ[name] if kind == "env" else _first_line(self._folder / name)
        except (KeyError, OSError, UnicodeDecodeError):
            text = ""
        if not text:
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"The signing key of a webhook is not at {kind}:{name}.",
                "Set it where the server runs; the notification is tried again.",
            )
        if not text.startswith(_ENCODED_KEY):
            return text.encode()
        try:
            return base64.b64decode(text.removeprefix(_ENCODED_KEY), validate=True)
        except ValueError:
            raise LastgoodError(
                Code.REFUSED,
                f"The signing key at {kind}:{name} begins with {_ENCODED_KEY} but is not base64.",
                "Copy it again from the receiver.",
            ) from None


def signature(secret: bytes, key: str, timestamp: str, body: bytes) -> str:
    """Return the ``webhook-signature`` of Standard Webhooks: ``v1,`` and the base64 HMAC-SHA256."""
    signed = hmac.new(secret, f"{key}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _headers(body: bytes, key: str, timestamp: str, secret: bytes | None) -> dict[str, str]:
    headers = {
        "content-type": CONTENT_TYPE,
        "user-agent": "lastgood",
        "webhook-id": key,
        "webhook-timestamp": timestamp,
    }
    if secret is not None:
        headers["webhook-signature"] = signature(secret, key, timestamp, body)
    return headers


def _unwelcome(origin: str, status: int, retry_after: float | None, shown: str) -> LastgoodError:
    said = f": {shown}" if shown else ""
    details = {"status": status} if retry_after is None else {"status": status, "retry_after": retry_after}
    if status in _RETRY_STATUSES or status >= 500:
        message = f"{origin} answered {status}{said}."
        return LastgoodError(Code.UNAVAILABLE, message, "It is tried again.", details=details)
    if 300 <= status < 400:
        message = f"{origin} answered {status}, a redirect, which is not followed."
        return LastgoodError(Code.REFUSED, message, "Give the final URL.", details=details)
    return LastgoodError(
        Code.REFUSED,
        f"{origin} refused the notification with {status}{said}.",
        "Check the URL.",
        details=details,
    )


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the webhook"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_SECRET_BYTES_MAX).decode().partition("\n")[0].strip()


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdigit() else None


def _plain(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_SHOWN_CHARACTERS]
