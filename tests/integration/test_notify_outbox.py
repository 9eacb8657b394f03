"""The dispatcher, on the real store and with real receivers where it matters."""

import threading
import time
from collections import defaultdict

import pytest

from lastgood.control.outbox import AGE_SECONDS_MAX, ORDERED_TRIES, TRIES_MAX, Dispatcher, delay_before
from lastgood.domain.change import Change
from lastgood.domain.channel import Channel
from lastgood.domain.deployment import Deployment
from lastgood.domain.event import EventDraft
from lastgood.domain.version import Format, Version
from lastgood.errors import Code, LastgoodError
from lastgood.store.migrate import open_store
from lastgood.store.outbox import SqlOutbox
from lastgood.store.releases import SqlReleases
from lastgood.store.versions import SqlVersions

FAST, SLOW, DEAD = (Channel(webhook=f"http://{name}/") for name in ("fast", "slow", "dead"))
LIMIT = 60.0
VERSION = Version(
    model="churn",
    number=0,
    digest=f"sha256:{'0' * 64}",
    size_bytes=1,
    format=Format.ONNX,
    created_at=1.0,
    created_by="a",
)


class Notifier:
    """Does to each channel what the test says, and keeps what was asked of it."""

    def __init__(self):
        self.does = {}
        self.sent = defaultdict(list)
        self.keys = []
        self.in_flight = defaultdict(int)
        self.most_in_flight = 0
        self.lock = threading.Lock()

    def send(self, channel, event, key):
        with self.lock:
            self.in_flight[channel] += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight[channel])
            self.keys.append(key)
        try:
            self.does.get(channel, lambda _event: None)(event)
            self.sent[channel].append(event.data["number"])
        finally:
            with self.lock:
                self.in_flight[channel] -= 1


class Desk:
    """A store in memory, a clock that stands still, and a dispatcher over both."""

    def __init__(self):
        self.database = open_store(None)
        self.releases, self.outbox = SqlReleases(self.database), SqlOutbox(self.database)
        SqlVersions(self.database).add_version(
            VERSION, EventDraft(type="x", at=1.0, actor="a", model="churn")
        )
        self.notifier = Notifier()
        self.now = 1_000.0
        self.deployment = Deployment(name="churn", model="churn", revision=-1)
        self.dispatcher = self.another()

    def another(self):
        return Dispatcher(
            self.outbox,
            {"webhook": self.notifier, "command": self.notifier},
            clock=lambda: self.now,
            draw=lambda: 1.0,
        )

    def queue(self, numbers, *channels):
        events = tuple(
            EventDraft(
                type="lastgood.release.advanced",
                at=self.now,
                actor="a",
                model="churn",
                data={"number": number},
            )
            for number in numbers
        )
        changed = Deployment(name="churn", model="churn", revision=self.deployment.revision + 1)
        self.deployment, _ = self.releases.commit(Change(deployment=changed, events=events, notify=channels))

    def drain(self):
        while self.dispatcher.dispatch():
            assert self.dispatcher.settle(LIMIT)

    def waiting(self, now=1e12):
        return self.outbox.due(now, limit=1_000)


@pytest.fixture
def desk():
    """A desk, stopped and closed in the end."""
    desk = Desk()
    yield desk
    assert desk.dispatcher.stop(LIMIT)
    desk.database.close()


def fails(code=Code.UNAVAILABLE, **details):
    def fail(_event):
        raise LastgoodError(code, "no", details=details)

    return fail


def until(holds):
    deadline = time.monotonic() + LIMIT
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.005)
    return holds()


def test_everything_is_sent_once_and_in_order(desk):
    """Each channel gets each event once, in the order in which they happened, one at a time."""
    desk.queue(range(20), FAST, SLOW)
    desk.drain()
    assert desk.notifier.sent == {FAST: list(range(20)), SLOW: list(range(20))}
    assert desk.notifier.most_in_flight == 1
    assert desk.waiting() == []


def test_a_delivery_that_lands_while_the_outbox_is_read_is_not_sent_twice(desk):
    """What was read before an outcome was written down is old, and nothing is started from it."""
    released = threading.Event()
    desk.notifier.does[FAST] = lambda _event: released.wait(LIMIT)
    desk.queue([1, 2], FAST)
    read = desk.outbox.due

    def read_then_land(now, *, limit):
        page = read(now, limit=limit)
        released.set()
        assert desk.dispatcher.settle(LIMIT)
        return page

    assert desk.dispatcher.dispatch() == 1
    desk.outbox.due = read_then_land
    assert desk.dispatcher.dispatch() == 0
    assert desk.notifier.sent[FAST] == [1]
    assert desk.dispatcher.dispatch() == 1


def test_a_slow_receiver_delays_no_other_and_no_caller(desk):
    """While one receiver has not answered, another gets everything, even behind a full page of the slow one's."""
    released, entered = threading.Event(), threading.Event()

    def hang(_event):
        entered.set()
        assert released.wait(LIMIT)

    desk.notifier.does[SLOW] = hang
    desk.queue(range(300), SLOW)
    desk.queue(range(5), FAST)
    desk.dispatcher.start()
    try:
        desk.dispatcher.wake()
        assert entered.wait(LIMIT)
        assert until(lambda: desk.notifier.sent[FAST] == list(range(5)))
        assert desk.notifier.sent[SLOW] == []
        desk.queue([5], FAST)  # the caller's own transaction is not held up either
        assert until(lambda: 5 in desk.notifier.sent[FAST])
    finally:
        released.set()


def test_more_hanging_receivers_than_a_small_pool_delay_no_other(desk):
    """Each target has a thread of its own, so a dozen that hang leave room for the one that answers."""
    released = threading.Event()
    hanging = [Channel(webhook=f"http://hang{index}/") for index in range(12)]
    for channel in hanging:
        desk.notifier.does[channel] = lambda _event: released.wait(LIMIT)
    desk.queue([1], *hanging, FAST)
    assert desk.dispatcher.dispatch() == 13
    try:
        assert until(lambda: desk.notifier.sent[FAST] == [1])
    finally:
        released.set()
    assert desk.dispatcher.settle(LIMIT)


def test_a_failed_try_comes_again_with_the_same_key_and_keeps_the_order(desk):
    """Nothing overtakes a notification that failed, and the receiver can tell that it is the same one."""
    desk.notifier.does[FAST] = fails()
    desk.queue([1, 2], FAST)
    desk.drain()
    assert len(desk.notifier.keys) == 1
    desk.now += 0.9
    desk.drain()
    assert len(desk.notifier.keys) == 1
    desk.notifier.does.clear()
    desk.now += 0.2
    desk.drain()
    assert desk.notifier.sent[FAST] == [1, 2]
    assert desk.notifier.keys[0] == desk.notifier.keys[1] != desk.notifier.keys[2]


def test_one_poisoned_event_does_not_silence_a_channel(desk):
    """An event that the receiver never takes is overtaken after a few tries."""

    def choke(event):
        if event.data["number"] == 1:
            fails()(event)

    desk.notifier.does[FAST] = choke
    desk.queue([1, 2, 3], FAST)
    for _ in range(ORDERED_TRIES + 1):
        desk.drain()
        desk.now += 40.0
    assert desk.notifier.sent[FAST] == [2, 3]
    assert [delivery.attempts for delivery, _ in desk.waiting()] == [ORDERED_TRIES + 1]


def test_what_is_refused_is_given_up_at_once(desk):
    """A receiver that says no is not asked again; the next notification goes out."""
    desk.notifier.does[DEAD] = fails(Code.REFUSED)
    desk.queue([1, 2], DEAD)
    desk.drain()
    assert len(set(desk.notifier.keys)) == 2
    assert desk.waiting() == []


def test_a_dead_receiver_is_given_up_in_the_end(desk):
    """After the last try nothing is left that would be tried for ever."""
    desk.notifier.does[DEAD] = fails()
    desk.queue([1], DEAD)
    for _ in range(TRIES_MAX + 5):
        desk.drain()
        desk.now += 301.0
    assert len(desk.notifier.keys) == TRIES_MAX
    assert desk.waiting() == []


def test_old_news_is_given_up_after_one_more_try(desk):
    """A server that was away for a day tries once, and does not go on."""
    desk.notifier.does[DEAD] = fails()
    desk.queue([1], DEAD)
    desk.now += AGE_SECONDS_MAX
    desk.drain()
    assert len(desk.notifier.keys) == 1
    assert desk.waiting() == []


def test_the_receivers_own_wish_is_honoured_within_bounds(desk):
    """Retry-After is waited for, but not for ever."""
    desk.notifier.does[FAST] = fails(retry_after=120.0)
    desk.notifier.does[SLOW] = fails(retry_after=1e9)
    desk.queue([1], FAST, SLOW)
    desk.drain()
    assert len(desk.waiting(desk.now + 119.0)) == 0
    assert [delivery.channel for delivery, _ in desk.waiting(desk.now + 120.0)] == [FAST]
    assert len(desk.waiting(desk.now + 300.0)) == 2


def test_a_notifier_with_a_bug_is_a_failed_try_whose_words_are_not_kept(desk, caplog):
    """An exception that nobody foresaw ends no thread, and its text, which may hold a key, is not logged."""

    def crash(_event):
        raise RuntimeError("topsecret")

    desk.notifier.does[FAST] = crash
    desk.queue([1], FAST)
    desk.drain()
    assert [delivery.attempts for delivery, _ in desk.waiting()] == [1]
    assert "RuntimeError" in caplog.text
    assert "topsecret" not in caplog.text


def test_a_channel_without_a_notifier_waits(desk):
    """A kind that nothing is installed for is told in the log and tried again."""
    desk.dispatcher = Dispatcher(desk.outbox, {}, clock=lambda: desk.now)
    desk.queue([1], FAST)
    desk.drain()
    assert [delivery.attempts for delivery, _ in desk.waiting()] == [1]


def test_stop_is_bounded_and_the_next_start_sends_again_with_the_same_key(desk):
    """A receiver that hangs does not hold the end of the program, and loses nothing."""
    released, entered = threading.Event(), threading.Event()

    def hang(_event):
        entered.set()
        assert released.wait(LIMIT)
        raise LastgoodError(Code.TIMEOUT, "too late")

    desk.notifier.does[SLOW] = hang
    desk.queue([1], SLOW)
    desk.dispatcher.start()
    assert entered.wait(LIMIT)
    assert desk.dispatcher.stop(0.05) is False
    assert desk.dispatcher.dispatch() == 0
    later, desk.notifier.does = desk.another(), {}
    assert later.dispatch() == 1
    assert later.settle(LIMIT)
    released.set()
    assert desk.notifier.sent[SLOW] == [1]
    assert desk.notifier.keys[0] == desk.notifier.keys[1]


def test_a_store_that_is_away_does_not_end_the_dispatcher(desk):
    """Notifications wait while the store cannot be read, and go out when it can."""

    class Flaky:
        def __init__(self, outbox):
            self.outbox, self.failures = outbox, 2

        def __getattr__(self, name):
            if self.failures > 0:
                self.failures -= 1
                raise LastgoodError(Code.STORAGE, "the disk is away")
            return getattr(self.outbox, name)

    dispatcher = Dispatcher(Flaky(desk.outbox), {"webhook": desk.notifier}, clock=lambda: desk.now)
    desk.queue([1], FAST)
    dispatcher.start()
    try:
        assert until(lambda: desk.notifier.sent[FAST] == [1])
    finally:
        assert dispatcher.stop(LIMIT)


def test_delays_grow_to_a_limit_and_are_spread():
    """1, 2, 4 ... 300 seconds, and half of that at the least."""
    assert [delay_before(tries, 1.0) for tries in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert delay_before(100, 1.0) == 300
    assert delay_before(3, 0.0) == 2
    assert delay_before(10**9, 0.0) == 150
