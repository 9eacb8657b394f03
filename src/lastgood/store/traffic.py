"""What stable versions answered, minute by minute: a short history that is dropped from its old end."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from lastgood.analysis.counts import added
from lastgood.domain.traffic import ArmCounts, TrafficMinute
from lastgood.store.database import Database, find
from lastgood.store.documents import FORMAT, from_text, to_text
from lastgood.store.schema import traffic

_PLACE: Final = (
    traffic.c.deployment == bindparam("of_deployment"),
    traffic.c.minute == bindparam("of_minute"),
    traffic.c.version == bindparam("of_version"),
)
_ONE: Final = select(traffic).where(*_PLACE)
_ADD: Final = insert(traffic)
_SAVE: Final = update(traffic).where(*_PLACE)
_SINCE: Final = (
    select(traffic)
    .where(traffic.c.deployment == bindparam("deployment"), traffic.c.minute >= bindparam("since"))
    .order_by(traffic.c.minute, traffic.c.version)
)
_OF_VERSION: Final = _SINCE.where(traffic.c.version == bindparam("version"))
_DROP: Final = delete(traffic).where(traffic.c.minute < bindparam("before"))


class SqlTraffic:
    """The :class:`~lastgood.ports.TrafficStore` in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_traffic(self, minutes: Iterable[TrafficMinute]) -> None:
        """Add these counts to what is kept of the same deployment, version and minute. One transaction."""
        found = tuple(minutes)
        if not found:
            return
        with self._database.transaction() as connection:
            for one in found:
                _add(connection, one)

    def traffic(self, deployment: str, *, since: int, version: int | None = None) -> list[TrafficMinute]:
        """Return the minutes from ``since`` (epoch seconds // 60) on, oldest first, of one version when given."""
        given: dict[str, Any] = {"deployment": deployment, "since": since}
        if version is None:
            rows = self._database.rows(_SINCE, given)
        else:
            rows = self._database.rows(_OF_VERSION, {**given, "version": version})
        return [
            TrafficMinute(
                deployment=row.deployment,
                version=row.version,
                minute=row.minute,
                counts=from_text(row.document, ArmCounts, row.format),
            )
            for row in rows
        ]

    def drop_traffic(self, before: int) -> None:
        """Forget all minutes before this one."""
        with self._database.transaction() as connection:
            connection.execute(_DROP, {"before": before})


def _add(connection: Connection, one: TrafficMinute) -> None:
    place = {"of_deployment": one.deployment, "of_minute": one.minute, "of_version": one.version}
    row = find(connection, _ONE, place)
    if row is not None:
        counts = added((from_text(row.document, ArmCounts, row.format), one.counts))
        connection.execute(_SAVE, {**place, "format": FORMAT, "document": to_text(counts)})
        return
    fields = {"deployment": one.deployment, "minute": one.minute, "version": one.version}
    connection.execute(_ADD, {**fields, "format": FORMAT, "document": to_text(one.counts)})
