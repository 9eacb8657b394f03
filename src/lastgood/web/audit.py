"""The audit record."""

import msgspec

from lastgood.bootstrap import Services
from lastgood.domain.event import AuditEvent
from lastgood.web.bodies import EventsQuery
from lastgood.web.endpoint import PREFIX, Endpoint


class EventList(msgspec.Struct, frozen=True):
    """Events in the order that was asked for."""

    events: list[AuditEvent]


def events(services: Services, *, query: EventsQuery) -> EventList:
    """Return audit events."""
    return EventList(
        services.views.events(
            after=query.after,
            limit=query.limit,
            deployment=query.deployment,
            newest_first=query.newest_first,
        )
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path=f"{PREFIX}/events",
        call=events,
        query=EventsQuery,
        answer=EventList,
        summary="The audit record",
    ),
)
