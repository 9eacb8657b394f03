"""The desk: work on live data that takes longer than a turn of the loop, one thread for each source.

A piece of work is named by its token and its kind, and is idempotent by them: whoever asks again gets how it stands,
and a process that starts anew simply asks again. What came out is kept by whoever asked, in a release.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from lastgood.data_ports import DataSource
from lastgood.domain.snapshot import DataTask, Quarantine, Snapshot
from lastgood.errors import Code, LastgoodError

logger = logging.getLogger(__name__)
Result = Snapshot | Quarantine | int | None
_ASIDE: Final = frozenset({DataTask.VERIFY, DataTask.REHEARSE, DataTask.COUNT, DataTask.FREE})
"""Work that no release may wait for: each source has a second thread, and is opened a second time, for it."""


class Work(msgspec.Struct, frozen=True):
    """How a piece of work stands. ``error`` is why it failed, None while it runs or when it ended well."""

    done: bool = False
    result: Result = None
    error: LastgoodError | None = None


class Desk:
    """Does the work, each source's in the order in which it was asked for. Safe from any thread."""

    def __init__(
        self, sources: Mapping[str, Callable[[], DataSource]], *, wake: Callable[[], None] = lambda: None
    ) -> None:
        """Take what opens a source, by its name, when it is first needed; call ``wake`` whenever work ended."""
        self._sources = sources
        self._opened: dict[tuple[str, bool], DataSource] = {}
        self._works: dict[tuple[str, DataTask, str], Work] = {}
        self._turns: dict[tuple[str, bool], threading.Lock] = {}
        self._lock = threading.Lock()
        self.wake = wake

    def names(self) -> list[str]:
        """Return the names of the sources that the settings know."""
        return sorted(self._sources)

    def source(self, name: str, *, aside: bool = False) -> DataSource:
        """Return a source; with ``aside`` the one for work beside that of releases.

        :raises LastgoodError: ``not_found`` when the settings do not know it, or as its provider says.
        """
        with self._lock:
            if (name, aside) not in self._opened:
                opener = self._sources.get(name)
                if opener is None:
                    known = ", ".join(sorted(self._sources)) or "none"
                    raise LastgoodError(
                        Code.NOT_FOUND,
                        f"The settings know no data source {name!r}; known: {known}.",
                        f"Add a table [data.{name}] to lastgood.toml.",
                    )
                self._opened[name, aside] = opener()
            return self._opened[name, aside]

    def ask(self, source: str, kind: DataTask, token: str, act: Callable[[DataSource], Result]) -> Work:
        """Return how this piece of work stands; the first time, begin it.

        A failure is returned once: asked again after it, the work begins anew.
        """
        key = (source, kind, token)
        with self._lock:
            known = self._works.get(key)
            if known is None:
                self._works[key] = Work()
                self._turns.setdefault((source, kind in _ASIDE), threading.Lock())
                name = f"data {source} {kind.value}"
                threading.Thread(target=self._do, args=(key, act), name=name, daemon=True).start()
                return Work()
            if known.error is not None:
                del self._works[key]
            return known

    def busy(self, source: str, kind: DataTask, token: str) -> bool:
        """Whether this piece of work runs or waits for its turn."""
        with self._lock:
            known = self._works.get((source, kind, token))
            return known is not None and not known.done

    def knows(self, source: str, kind: DataTask, token: str) -> bool:
        """Whether this piece of work was begun here, and what came of it has not been taken or forgotten since."""
        with self._lock:
            return (source, kind, token) in self._works

    def forget(self, source: str, kind: DataTask, token: str) -> None:
        """Drop what came of work that has ended, so that it begins anew when it is asked for again."""
        with self._lock:
            known = self._works.get((source, kind, token))
            if known is not None and known.done:
                del self._works[source, kind, token]

    def idle(self) -> bool:
        """Whether nothing runs."""
        with self._lock:
            return all(work.done for work in self._works.values())

    def _do(self, key: tuple[str, DataTask, str], act: Callable[[DataSource], Result]) -> None:
        source, kind, token = key
        try:
            aside = kind in _ASIDE
            with self._turns[source, aside]:
                work = Work(done=True, result=act(self.source(source, aside=aside)))
        except LastgoodError as error:
            work = Work(done=True, error=error)
        except Exception as error:
            logger.exception("the data source %s failed at %s of %s", source, kind.value, token)
            what = f"The data source {source!r} failed at {kind.value}: {type(error).__name__}."
            work = Work(
                done=True,
                error=LastgoodError(Code.INTERNAL, what, "See the controller's log; please report it."),
            )
        with self._lock:
            self._works[key] = work
        self.wake()
