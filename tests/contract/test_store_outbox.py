"""The contract of Outbox: each event to each channel, once, until it is sent or given up."""

import pytest
from store_samples import Stores, deploy, draft, next_of, register_many

from lastgood.domain.change import Change
from lastgood.domain.channel import Channel
from lastgood.errors import Code, LastgoodError
from lastgood.store.outbox import KEEP_SENT_SECONDS

HOOK = Channel(webhook="http://127.0.0.1/hook", secret="env:KEY")
COMMAND = Channel(command=("notify", "me"))


@pytest.fixture
def queued(stores: Stores) -> Stores:
    register_many(stores, 1)
    events = (draft(10.0, type="lastgood.a.b"), draft(20.0, type="lastgood.c.d"))
    change = Change(deployment=next_of(deploy(stores)), events=events, notify=(HOOK, COMMAND, HOOK))
    stores.releases.commit(change)
    return stores


def due(stores: Stores, now: float) -> list[tuple[int, str, Channel, int]]:
    return [(one.id, event.type, one.channel, one.attempts) for one, event in stores.outbox.due(now)]


def test_each_event_goes_to_each_channel_once(queued: Stores) -> None:
    """A channel named twice is told once; the oldest event comes first; keys differ."""
    assert due(queued, 9.0) == []
    assert [(kind, channel) for _, kind, channel, _ in due(queued, 20.0)] == [
        ("lastgood.a.b", HOOK),
        ("lastgood.a.b", COMMAND),
        ("lastgood.c.d", HOOK),
        ("lastgood.c.d", COMMAND),
    ]
    pairs = queued.outbox.due(20.0)
    assert len({delivery.key for delivery, _ in pairs}) == 4
    assert all(delivery.event == event.sequence for delivery, event in pairs)
    assert len(queued.outbox.due(20.0, limit=3)) == 3


def test_an_event_of_no_change_is_told_too(stores: Stores) -> None:
    """The record queues its own events' deliveries with them, each channel once."""
    told = stores.journal.append(draft(30.0, type="lastgood.drill.finished"), (HOOK, HOOK, COMMAND))
    stores.journal.append(draft(31.0, type="lastgood.silent.one"))

    assert [(kind, channel) for _, kind, channel, _ in due(stores, 99.0)] == [
        ("lastgood.drill.finished", HOOK),
        ("lastgood.drill.finished", COMMAND),
    ]
    assert {event.hash for _, event in stores.outbox.due(99.0)} == {told.hash}


def test_sent_is_final_and_harmless_twice(queued: Stores) -> None:
    """What was sent is never due again, whatever is said of it later."""
    first = queued.outbox.due(20.0)[0][0].id
    queued.outbox.sent(first, 21.0)
    queued.outbox.sent(first, 22.0)
    queued.outbox.retry(first, 23.0, "late answer")

    assert first not in [one[0] for one in due(queued, 99.0)]
    assert len(due(queued, 99.0)) == 3


def test_retry_waits_and_keeps_the_key(queued: Stores) -> None:
    """A failed try is counted, comes back at its time with the same key, behind what was due before."""
    delivery = queued.outbox.due(20.0)[0][0]
    queued.outbox.retry(delivery.id, 50.0, "refused")

    assert delivery.id not in [one[0] for one in due(queued, 49.0)]
    again = queued.outbox.due(50.0)[-1][0]
    assert (again.id, again.key, again.attempts) == (delivery.id, delivery.key, 1)


def test_given_up_is_kept_with_its_error(queued: Stores) -> None:
    """Giving up stops the tries and keeps the last error."""
    delivery = queued.outbox.due(20.0)[0][0].id
    queued.outbox.give_up(delivery, 60.0, "no such host")
    with queued.database.reading() as connection:
        query = "SELECT outcome, error, finished_at FROM outbox WHERE outcome IS NOT NULL"
        kept = [tuple(row) for row in connection.exec_driver_sql(query)]

    assert kept == [("given_up", "no such host", 60.0)]
    assert len(due(queued, 99.0)) == 3


def test_sent_is_forgotten_after_a_week(queued: Stores) -> None:
    """A delivery goes a week after it was sent, with the next one that is sent; nothing else ever goes."""
    old, dead, waiting, last = (delivery.id for delivery, _ in queued.outbox.due(20.0))
    queued.outbox.sent(old, 30.0)
    queued.outbox.give_up(dead, 30.0, "no such host")
    left = []
    for now in (30.0 + KEEP_SENT_SECONDS, 30.1 + KEEP_SENT_SECONDS):
        queued.outbox.sent(last, now)
        with queued.database.reading() as connection:
            left.append(connection.exec_driver_sql("SELECT id FROM outbox ORDER BY id").scalars().all())

    assert left == [[old, dead, waiting, last], [dead, waiting, last]]
    assert [one[0] for one in due(queued, 99.0)] == [waiting]
    assert len(queued.journal.events()) == 3  # what was told stays in the record


def test_unknown_delivery_is_not_found(stores: Stores) -> None:
    """Finishing a delivery that was never queued is an error."""
    with pytest.raises(LastgoodError) as refused:
        stores.outbox.sent(5, 1.0)

    assert refused.value.code is Code.NOT_FOUND
