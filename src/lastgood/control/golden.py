"""Asking a model host a version's golden requests, and comparing what it answers with what was expected."""

import logging
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from lastgood.control.moves import GoldenView
from lastgood.domain.golden import Golden, difference
from lastgood.domain.version import Version
from lastgood.errors import LastgoodError
from lastgood.wire.frames import Status
from lastgood.wire.hostclient import HostClient

logger = logging.getLogger(__name__)
Ask = Callable[[str, str, bytes], tuple[Status, bytes]]
"""Sends one V2 body for a deployment to the host at a socket, and returns its status and answer."""

_CONNECT_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 10.0


def ask_host(socket: str, deployment: str, body: bytes) -> tuple[Status, bytes]:
    """Ask a host over a connection of its own.

    :raises LastgoodError: ``unavailable`` or ``timeout``.
    """
    with HostClient(socket, timeout=_CONNECT_SECONDS) as client:
        return client.infer(deployment, body, timeout=_ANSWER_SECONDS)


def wrong_answer(version: Version, deployment: str, socket: str, ask: Ask) -> str | None:
    """Return what the host at ``socket`` answers other than expected, naming request and value; None for nothing."""
    for number, golden in enumerate(version.golden, 1):
        why = _wrong(golden, deployment, socket, ask)
        if why is not None:
            return f"golden request {number} of {len(version.golden)}: {why}"
    return None


def _wrong(golden: Golden, deployment: str, socket: str, ask: Ask) -> str | None:
    try:
        status, body = ask(socket, deployment, msgspec.json.encode(golden.request))
    except LastgoodError as error:
        return error.message.rstrip(".")
    try:
        answer = msgspec.json.decode(body, type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"the answer is no JSON object ({error})"
    if status is not Status.OK:
        return f"{status.name.lower().replace('_', ' ')}: {str(answer.get('error', '')).rstrip('.')}"
    return None if golden.response is None else difference(golden.response, answer)


class GoldenChecks:
    """Asks candidates, each life of their hosts once, in threads of their own: no turn waits for a model."""

    def __init__(self, ask: Ask = ask_host) -> None:
        self.ask = ask
        self.wake: Callable[[], None] = lambda: None
        self._found: dict[tuple[int, int], GoldenView] = {}
        self._lock = threading.Lock()

    def of_candidate(
        self, release: int, version: Version, deployment: str, socket: str, *, starts: int
    ) -> GoldenView:
        """Return how the golden requests of a candidate stand, asking them when this life of its host has not been asked."""
        if not version.golden:
            return GoldenView()
        key = (release, starts)
        with self._lock:
            known = self._found.get(key)
            if known is not None:
                return known
            self._found[key] = GoldenView(done=False)
        arguments = (key, version, deployment, socket)
        threading.Thread(target=self._check, args=arguments, name="golden requests", daemon=True).start()
        return GoldenView(done=False)

    def forget(self, release: int) -> None:
        """Drop what is known of a release that is over."""
        with self._lock:
            for key in [key for key in self._found if key[0] == release]:
                del self._found[key]

    def idle(self) -> bool:
        """Whether nobody is being asked."""
        with self._lock:
            return all(view.done for view in self._found.values())

    def _check(self, key: tuple[int, int], version: Version, deployment: str, socket: str) -> None:
        try:
            why = wrong_answer(version, deployment, socket, self.ask) or ""
            found = GoldenView(requests=len(version.golden), error=why)
        except Exception as error:
            logger.exception("the golden requests of %s could not be asked", version.display)
            found = GoldenView(error=f"they could not be asked ({type(error).__name__})")
        with self._lock:
            self._found[key] = found
        self.wake()
