"""A custom metric by HTTP: a JSON document, bounded in size and time, from where the plan said and nowhere else.

Of a URL only scheme, host and port are ever shown: the rest may hold a key.
"""

import asyncio
import logging
import ssl
import threading
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import msgspec

from lastgood.domain.custom import CustomTerms
from lastgood.domain.custom_names import in_url
from lastgood.errors import Code, LastgoodError
from lastgood.wire.asking import host_of, is_loopback

ANSWER_BYTES_MAX: Final = 1024 * 1024
_CONNECT_SECONDS: Final = 5.0
_SHOWN_CHARACTERS: Final = 200


class HttpMetric:
    """Gets JSON documents. Safe from any thread."""

    def __init__(self) -> None:
        for name in ("httpx2", "httpcore2"):  # they would log each request's whole URL
            logging.getLogger(name).setLevel(logging.WARNING)
        self._tls: ssl.SSLContext | None = None
        self._tls_lock = threading.Lock()

    def ask(self, url: str, terms: CustomTerms, context: Mapping[str, Any]) -> Any:
        """Return the answer in the document, None where it says null or there is no content (204).

        :raises LastgoodError: as :class:`lastgood.quality_ports.Metrics` says.
        """
        status, body = self.fetch("GET", in_url(url, context), terms.timeout)
        origin = origin_of(url)
        if status == 204:
            return None
        if not 200 <= status < 300:
            raise _unwelcome(origin, status)
        return _at(_decoded(body, origin), terms.value)

    def fetch(
        self, method: str, url: str, seconds: float, *, form: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Return status and body of one request; ``seconds`` are for all of it. Redirects are not followed."""
        origin = origin_of(url)
        try:
            return asyncio.run(self._fetch(method, url, seconds, form))
        except (TimeoutError, httpx2.TimeoutException):
            raise LastgoodError(
                Code.TIMEOUT,
                f"{origin} did not answer within {seconds:g} s.",
                "Look why, or give it more 'timeout'.",
            ) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise LastgoodError(Code.INVALID, f"The URL at {origin} cannot be used.", "Correct it.") from None
        except (httpx2.HTTPError, OSError) as error:
            kind = type(error).__name__
            why = f"{kind}: {error}" if isinstance(error, httpx2.ConnectError) else kind  # of the host alone
            raise LastgoodError(
                Code.UNAVAILABLE,
                f"{origin} could not be asked ({why[:_SHOWN_CHARACTERS].rstrip('.')}).",
                "See that it runs.",
            ) from None

    async def _fetch(
        self, method: str, url: str, seconds: float, form: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        # Asynchronous only for its one deadline over everything: timeouts of the client hold for each read.
        timeout = httpx2.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds))
        headers = {"user-agent": "lastgood", "accept": "application/json", "accept-encoding": "identity"}
        async with asyncio.timeout(seconds):
            async with (
                httpx2.AsyncClient(
                    timeout=timeout,
                    verify=self._tls_context(),
                    trust_env=not is_loopback(host_of(url)),  # this machine is not asked through a proxy
                ) as client,
                client.stream(
                    method,
                    url,
                    headers=headers,
                    data=None if form is None else dict(form),
                    follow_redirects=False,
                ) as answer,
            ):
                if answer.headers.get("content-encoding", "identity").lower() != "identity":
                    raise LastgoodError(  # a small answer could unpack to any size
                        Code.INVALID,
                        f"{origin_of(url)} answered compressed, although asked not to.",
                        "Let it answer plainly.",
                    )
                body = b""
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise LastgoodError(
                            Code.TOO_LARGE,
                            f"{origin_of(url)} answered more than {ANSWER_BYTES_MAX} bytes.",
                            "Give a URL that answers the metric alone.",
                        )
                return answer.status_code, body

    def _tls_context(self) -> ssl.SSLContext:
        with self._tls_lock:  # reading the certificates takes long enough to do it once only
            if self._tls is None:
                self._tls = httpx2.create_ssl_context()
            return self._tls


def origin_of(url: str) -> str:
    """Return what may be shown of a URL."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the metric's URL"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _unwelcome(origin: str, status: int) -> LastgoodError:
    if 300 <= status < 400:
        message = f"{origin} answered {status}, a redirect, which is not followed."
        return LastgoodError(Code.UNAVAILABLE, message, "Give the final URL.")
    return LastgoodError(Code.UNAVAILABLE, f"{origin} answered {status}.", "Look at what is asked there.")


def _decoded(body: bytes, origin: str) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise LastgoodError(
            Code.INVALID, f"{origin} answered no JSON document.", "Give a URL that does."
        ) from None


def _at(document: Any, path: str) -> Any:
    """Return what stands at a path; null on the way is no data, a part that is not there is an error."""
    found = document
    for part in path.split(".") if path else []:
        if found is None:
            return None
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isascii() and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise LastgoodError(
                Code.INVALID,
                f"The document has nothing at {path!r}: {part!r} is not there.",
                "Correct 'value'.",
            )
    return found
