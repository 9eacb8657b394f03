"""The worker's side of the route page: obey the newest table that is whole, and say so.

A page that cannot be read changes nothing: the last good table stays in force.
"""

import logging
import time
from typing import Final

from lastgood.errors import LastgoodError
from lastgood.gateway.dispatch import Dispatcher
from lastgood.gateway.links import Links
from lastgood.gateway.table import compile_table
from lastgood.gateway.telemetry import Telemetry
from lastgood.wire.page import STATE_WORD, RoutePage

_SAY_AGAIN_SECONDS: Final = 60.0
_log: Final = logging.getLogger(__name__)


class RouteReader:
    """Compares one word on every request, and reads the page when it changed.

    ``state`` is the state word of the last read, whether or not it could be used.
    """

    def __init__(
        self, page: RoutePage, slot: int, links: Links, dispatcher: Dispatcher, telemetry: Telemetry
    ) -> None:
        self.words = page.words
        self.state = 0
        self._page = page
        self._slot = slot
        self._links = links
        self._dispatcher = dispatcher
        self._telemetry = telemetry
        self._broken = False
        self._said = 0.0  # CLOCK_MONOTONIC seconds of the last message on a page that is still broken

    def refresh(self) -> None:
        """Put the table on the page in force, take back what it withdraws, and acknowledge it.

        By the return nothing is in flight for its caller on a version that the table does not name.
        """
        self.state = self.words[STATE_WORD]
        try:
            self.state, routes = self._page.read()
            table = None
            if routes.generation > self._dispatcher.table.generation:
                table = compile_table(routes, self._links.link, self._telemetry)
        except (LastgoodError, ValueError) as error:
            self._complain(error)
            return
        self._broken = False
        if table is not None:
            self._dispatcher.adopt(table)
            self._links.keep(table.paths)
            self._telemetry.forget_others(table.releases)
        self.beat()

    def _complain(self, error: Exception) -> None:
        """Count a read that failed, and say so: the first time, and once a minute while it lasts."""
        self._telemetry.page_errors += 1
        now = time.monotonic()
        if not self._broken or now - self._said >= _SAY_AGAIN_SECONDS:
            self._said = now
            _log.error("The route page cannot be read; the last good routes stay in force: %s", error)
        self._broken = True

    def check(self) -> None:
        """Refresh if the page changed, or if the last read failed: a torn page is written again."""
        if self._broken or self.words[STATE_WORD] != self.state:
            self.refresh()

    def beat(self) -> None:
        """Acknowledge the table in force: nothing that disobeys it is in flight."""
        self._page.acknowledge(self._slot, self._dispatcher.table.generation, 0)

    def tidy(self) -> None:
        """Close the links that no route names once they are idle."""
        self._links.keep(self._dispatcher.table.paths)
