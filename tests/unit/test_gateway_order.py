"""Requests of a stage count in the order in which they were sent, whenever they end."""

import random

import pytest

from lastgood.domain.deployment import Role
from lastgood.domain.route import Route, RouteTable, Target
from lastgood.gateway.dispatch import Dispatcher
from lastgood.gateway.ids import Ids
from lastgood.gateway.table import compile_table
from lastgood.gateway.telemetry import Telemetry
from lastgood.settings import Settings
from lastgood.wire.frames import Request, Status, pack_counts, unpack_counts

SECOND = 1_000_000_000


class Host:
    """The way to a host that takes everything and answers when a test says so."""

    def __init__(self, path):
        self.path = path
        self.connection = self
        self.tried = True
        self.load = 0
        self.paused = self.untaken = False

    def send(self, *_frame):
        self.load += 1


class Rig:
    """A dispatcher without event loop: two arms of one release, a clock, and who has an answer."""

    def __init__(self):
        self.telemetry = Telemetry(slot=0, pid=1, epoch=1)
        settings = Settings(home="unused", candidate_timeout=1.0, request_timeout=10.0)
        self.dispatcher = Dispatcher(settings, self.telemetry, Ids())
        self.hosts = {version: Host(f"v{version}.sock") for version in (1, 2)}
        self.answered = []
        self.now = 0
        self.generation = 0
        self.obey(stable=1, candidate=2, weight=5_000, release=7)

    def obey(self, *, stable, candidate=None, **more):
        self.generation += 1
        targets = {
            name: Target(version=number, label=None, digest=f"sha256:{number}", socket=f"v{number}.sock")
            for name, number in (("stable", stable), ("candidate", candidate))
            if number is not None
        }
        route = Route(deployment="churn", model="churn", generation=self.generation, **targets, **more)
        paths = {host.path: host for host in self.hosts.values()}
        table = compile_table(
            RouteTable(generation=self.generation, routes=(route,)), paths.get, self.telemetry
        )
        self.dispatcher.adopt(table)
        self.route = table.routes["churn"]

    def send(self, arm, key=None):
        """Send one request to an arm of the release, or past it to plain stable; return its number."""
        lane = self.route.stable if arm == "plain" else getattr(self.route.split, arm)
        before = set(self.dispatcher.flights)
        deliver = self.answered.append
        self.dispatcher.launch(Request.INFER, lane, b"{}", self.now, deliver, direct=False, key=key)
        return (set(self.dispatcher.flights) - before).pop()

    def end(self, number, status=Status.OK, counts=None):
        """Let the host that has it now answer a request."""
        connection = self.dispatcher.flights[number].connection
        self.dispatcher.answered(connection, number, status, b"{}", self.now, counts)

    def sweep(self, seconds):
        self.now += int(seconds * SECOND)
        self.dispatcher.sweep(self.now)

    @property
    def waiting(self):
        return len(self.route.split.candidate.tally.order)

    def is_waited_for(self, tally):
        """Whether something waits in a tally's order only while one of that order is under way."""
        order = tally.order
        under_way = (flight.order is order for flight in self.dispatcher.flights.values())
        return order is None or not len(order) or any(under_way)

    def arms(self):
        (stage,) = self.telemetry.report(written_at=0.0, in_flight=0).stages
        return stage.candidate, stage.stable

    def requests(self):
        return tuple(arm.requests for arm in self.arms())


@pytest.fixture
def rig():
    return Rig()


def test_an_outcome_waits_for_every_earlier_one_of_both_arms(rig):
    """What was sent later counts when what was sent before it is over, be that of the other arm."""
    first, second, third = rig.send("stable"), rig.send("candidate"), rig.send("candidate")
    rig.end(third, Status.MODEL_ERROR)
    assert rig.requests() == (0, 0)
    rig.end(first)
    assert rig.requests() == (0, 1)
    rig.end(second)
    candidate, _ = rig.arms()

    assert (rig.requests(), candidate.errors, rig.waiting) == ((2, 1), 1, 0)


def test_callers_do_not_wait(rig):
    """Only the counting waits: the answer is given at once."""
    rig.send("stable")
    rig.end(rig.send("candidate"))

    assert [flight.status for flight in rig.answered] == [200]
    assert rig.requests() == (0, 0)


def test_every_counted_request_is_one_of_the_first_so_many_sent(rig):
    """Whatever the order of the ends, the arms hold all of the first requests sent and none of a later one."""
    chance = random.Random(5)
    arms, under_way, over = [], [], set()
    for _ in range(3_000):
        if chance.random() < 0.5 and len(under_way) < 200:
            arms.append(chance.choice(("candidate", "stable")))
            under_way.append((len(arms) - 1, rig.send(arms[-1])))
        elif under_way:
            place, number = under_way.pop(chance.randrange(len(under_way)))
            rig.end(number)
            over.add(place)
        whole = next(place for place in range(len(arms) + 1) if place not in over)
        tallies = [rig.route.split.candidate.tally, rig.route.split.stable.tally]
        counted = [sum(tally.latency) for tally in tallies]
        assert counted == [arms[:whole].count("candidate"), arms[:whole].count("stable")]
        assert rig.waiting == len(over) - whole


def test_keys_and_counters_wait_with_their_request(rig):
    """First bad requests are those of the order of sending, and a version's counters come with them."""
    first, second, third = (rig.send("candidate", key=5) for _ in range(3))
    rig.end(third, Status.INVALID_OUTPUT)
    rig.end(second, counts=unpack_counts(pack_counts([("low", True)])))
    assert rig.arms()[0].firsts == {}
    rig.end(first, Status.INVALID_OUTPUT)
    candidate, _ = rig.arms()
    invalid = candidate.firsts["invalid_output"]

    assert (candidate.keyed, candidate.invalid, candidate.counters["low"].bad) == (3, 2, 1)
    assert (invalid.bad, invalid.repeats, invalid.keys) == (2, 2, [5])
    assert candidate.firsts["counter:low"].keys == [5]


def test_who_both_versions_refuse_gives_up_its_place(rig):
    """A bad input is the caller's: nobody waits for it, and it counts in no arm."""
    refused = rig.send("candidate")
    rig.end(rig.send("stable"))
    rig.end(refused, Status.BAD_INPUT)
    assert rig.requests() == (0, 0)
    rig.end(refused, Status.BAD_INPUT)

    assert (rig.requests(), rig.waiting) == ((0, 1), 0)


def test_who_stable_answers_in_place_of_a_refusal_keeps_its_place(rig):
    """Until stable has said whether the input was bad nobody knows what it counts as."""
    disputed = rig.send("candidate")
    rig.end(rig.send("candidate"))
    rig.end(disputed, Status.BAD_INPUT)
    assert rig.requests() == (0, 0)
    rig.end(disputed)

    assert (rig.requests(), rig.arms()[0].errors) == ((2, 0), 1)


def test_a_request_that_is_taken_back_gives_up_its_place(rig):
    """When the candidate leaves the route, its requests under way count in no arm, and stable's that waited do."""
    rig.send("candidate")
    rig.end(rig.send("stable"))
    rig.obey(stable=1)

    assert rig.requests() == (0, 1)


def test_a_hold_takes_everyone_under_way_out(rig):
    """What waits for the end of a hold says nothing of any version, and nobody waits for it."""
    rig.send("candidate")
    rig.send("stable")
    rig.end(rig.send("stable"))
    rig.obey(stable=1, candidate=2, weight=5_000, release=7, held=True)

    assert rig.requests() == (0, 1)


def test_the_reflex_sees_failures_at_once(rig):
    """It trips though no failure has counted; what was sent by then still counts when its turn comes."""
    rig.send("stable")
    rig.send("candidate")
    failed = 0
    while not rig.route.split.reflex.tripped:
        assert rig.requests() == (0, 0)
        rig.end(rig.send("candidate"), Status.MODEL_ERROR)
        failed += 1

    assert failed == 6
    assert (rig.requests(), rig.waiting) == ((0, 0), 6)


def test_the_reflex_knows_of_stables_failures_that_wait(rig):
    """An outage that both suffer does not trip it, though a request that hangs keeps all of it from counting."""
    rig.send("stable")
    for _ in range(300):
        for arm in ("stable", "candidate"):
            rig.end(rig.send(arm), Status.MODEL_ERROR)
    stable = rig.route.split.stable.tally

    assert not rig.route.split.reflex.tripped
    assert rig.requests() == (0, 0)
    assert rig.telemetry.failures(stable.outside) >= (300, 300)


@pytest.mark.parametrize(
    ("arm", "seconds", "counted"), [("candidate", 1.0, (1, 5)), ("stable", 10.0, (0, 6))]
)
def test_a_request_that_never_ends_is_waited_for_no_longer_than_its_time_out(rig, arm, seconds, counted):
    """A hanging host keeps others from counting until the sweep gives it up; then all count, it as timed out."""
    rig.send(arm)
    for _ in range(5):
        rig.end(rig.send("stable"))
    rig.sweep(seconds - 0.01)
    assert (rig.requests(), rig.waiting) == ((0, 0), 5)
    rig.sweep(0.02)

    assert (rig.requests(), rig.waiting) == (counted, 0)
    assert sum(one.timeouts for one in rig.arms()) == 1


def test_no_place_outlives_its_request(rig):
    """Whatever becomes of thousands of requests, something waits only while an earlier one is under way."""
    chance = random.Random(8)
    statuses = (Status.OK, Status.OK, Status.MODEL_ERROR, Status.BAD_INPUT, Status.INVALID_OUTPUT)
    sent = 0
    for turn in range(4_000):
        draw = chance.random()
        if draw < 0.5:
            arm = chance.choice(("candidate", "stable")) if rig.route.split is not None else "plain"
            rig.send(arm, key=chance.choice((None, 3)))
            sent += 1
        elif draw < 0.9 and rig.dispatcher.flights:
            number = chance.choice(list(rig.dispatcher.flights))
            if rig.dispatcher.flights[number].connection is not None:
                rig.end(number, chance.choice(statuses))
        elif draw < 0.97:
            rig.sweep(chance.random())
        elif draw < 0.98:
            rig.dispatcher.lost(rig.hosts[chance.choice((1, 2))])
        elif turn % 2:
            rig.obey(stable=1)
        else:
            held = chance.random() < 0.3
            rig.obey(stable=1, candidate=2, weight=5_000, release=7 + turn, stage=turn % 3, held=held)
        assert all(map(rig.is_waited_for, staged(rig)))
    rig.sweep(11.0)
    rig.sweep(11.0)

    assert not rig.dispatcher.flights
    assert len(rig.answered) == sent
    assert [len(tally.order) for tally in staged(rig) if tally.order is not None and len(tally.order)] == []
    assert all((tally.waiting, tally.waiting_bad) == (0, 0) for tally in staged(rig))


def staged(rig):
    return list(rig.telemetry._staged.values())


def test_outside_a_release_and_in_a_watch_requests_count_when_they_end(rig):
    """Where nothing is compared nothing waits."""
    rig.obey(stable=2, release=7, stage=3)
    rig.send("plain")
    rig.end(rig.send("plain"))
    (watched,) = [
        stage for stage in rig.telemetry.report(written_at=0.0, in_flight=0).stages if stage.stage == 3
    ]
    rig.obey(stable=2)
    rig.send("plain")
    rig.end(rig.send("plain"))
    totals = rig.telemetry.report(written_at=0.0, in_flight=0).totals

    assert watched.candidate.requests == 1
    assert sum(total.counts.requests for total in totals if total.role == Role.STABLE) == 2
