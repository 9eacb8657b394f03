"""Copies for a shadow: callers see nothing of them, pairs count whole or not at all, and everything is bounded."""

import random

import pytest
from shadow_rig import PAIRS, RELEASE, STEP, STEP_SHADOW, WATCH, WATCH_SHADOW, Rig

from lastgood.analysis.trials import Trials, by_key
from lastgood.domain.deployment import Role
from lastgood.domain.route import Route, RouteTable, Shadow
from lastgood.gateway.assignment import hash_of, mark_in_pair, mark_of
from lastgood.gateway.flight import Flight
from lastgood.gateway.table import compile_table
from lastgood.wire.frames import Request, Status, pack_counts, unpack_counts
from lastgood.wire.page import LEASE_WORD


@pytest.fixture
def make(monkeypatch):
    return lambda **settings: Rig(monkeypatch, **settings)


@pytest.fixture
def rig(make):
    found = make()
    found.obey(**STEP_SHADOW)
    return found


@pytest.fixture(params=["step", "watch"])
def either(make, request):
    """A shadow step, and a watch."""
    found = make()
    found.shadow = STEP_SHADOW if request.param == "step" else WATCH_SHADOW
    found.stage, found.copying = found.shadow["stage"], found.shadow["copies"]
    found.obey(**found.shadow)
    return found


def seen(flight: Flight):
    """Return what its caller saw, but for the id."""
    return flight.status, flight.headers, flight.payload


# --- the caller -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shadow", [STEP_SHADOW, WATCH_SHADOW])
@pytest.mark.parametrize("status", [Status.OK, Status.MODEL_ERROR, Status.INVALID_OUTPUT, Status.BAD_INPUT])
def test_the_answer_is_the_same_with_and_without_a_shadow(make, shadow, status):
    """Status, headers and bytes do not tell whether a copy is made, whatever stable says."""
    told = []
    for rate in (10_000, 0):
        rig = make()
        rig.obey(**shadow, rate=rate)
        rig.end(rig.send(key=b"ada"), status)
        told += [seen(flight) for flight in rig.answered]
        rig.leave()

    assert told[0] == told[1]


def test_the_answer_of_a_stand_in_tells_nothing_of_a_shadow(make):
    """When stable's host is gone and standby answers, the headers of a request in a pair are those of any other."""
    told = []
    for rate in (10_000, 0):
        rig = make()
        rig.obey(**STEP_SHADOW, rate=rate, standby=2)
        rig.hosts[1].connection = None
        rig.end(rig.send())
        told += [seen(flight) for flight in rig.answered]

    assert told[0] == told[1]
    assert (b"lastgood-fallback", b"stable-unavailable") in told[0][1]


def test_the_copy_leaves_after_the_answer_with_the_same_bytes(either):
    """The shadow hears of a request once its caller has been answered; kind, name and body are those of the request."""
    number = either.send(b'{"inputs":[1]}')
    shadow = either.hosts[either.copying]
    either.leave()
    assert (either.answered, shadow.frames) == ([], [])
    either.end(number)
    assert ([flight.status for flight in either.answered], shadow.frames) == ([200], [])
    either.leave()

    assert [frame[1:] for frame in shadow.frames] == [(Request.INFER, b"churn", b'{"inputs":[1]}')]


@pytest.mark.parametrize("status", [*Status])
def test_whatever_the_shadow_answers_the_caller_is_answered_once(either, status):
    """Its answer, good or bad, reaches nobody."""
    either.pair(copy=status)

    assert [flight.payload for flight in either.answered] == [b'{"by":"host"}']
    assert either.is_idle()


def test_a_shadow_that_is_not_there_costs_nothing(either):
    """Without a connection to its host there are no pairs and nothing is counted as dropped."""
    either.hosts[either.copying].connection = None
    either.pair()

    assert (either.requests(either.stage), either.report().copies_dropped) == ((0, 0), 0)
    assert either.is_idle()


# --- who is copied --------------------------------------------------------------------------------


def test_a_request_that_names_its_version_is_not_copied(rig):
    """Neither one for stable nor one for the shadow itself, which answers that as any version does."""
    for version in (1, 2):
        rig.end(rig.send(version=version))
    rig.leave()

    assert (rig.copied(), rig.requests(STEP)) == ([], (0, 0))
    assert (rig.total(1), rig.total(2, Role.SHADOW)) == (1, 1)


def test_requests_of_a_split_are_not_copied(rig):
    """While a candidate takes part of the traffic nobody answers copies, though the route named a shadow."""
    rig.obey(stable=1, candidate=2, weight=5_000, release=RELEASE, copies=2, arm="candidate", stage=STEP)
    for _ in range(50):
        rig.end(rig.send())
    rig.leave()

    assert rig.copied() == []


def test_so_many_requests_are_copied_as_the_rate_says(make):
    """One in four, within what chance gives in 4000 requests."""
    random.seed(11)
    rig = make()
    rig.obey(**STEP_SHADOW, rate=2_500)
    for _ in range(4_000):
        rig.pair()

    assert 850 < rig.requests(STEP)[0] < 1_150
    assert rig.total(1) == 4_000


def test_without_a_lease_nothing_is_copied(either):
    """No pair begins without one, and one whose request is over after the end of it is given up."""
    first = either.send()
    either.page.words[LEASE_WORD] = 0
    either.end(either.send())
    either.end(first)
    either.leave()

    assert (either.copied(), either.requests(either.stage)) == ([], (0, 0))
    assert either.report().copies_dropped == 1
    assert either.is_idle()


# --- the counts -----------------------------------------------------------------------------------


def test_a_pair_counts_for_both_arms_when_its_copy_is_over(either):
    """Not before; then both, and the copy in the totals of its version as a shadow."""
    either.end(either.send())
    either.leave()
    assert either.requests(either.stage) == (0, 0)
    either.end_copy()

    assert either.requests(either.stage) == (1, 1)
    asked = either.shadow["stable"]
    assert (either.total(asked), either.total(either.copying, Role.SHADOW)) == (1, 1)


def test_in_a_watch_a_request_counts_in_one_stage(make):
    """In a pair it is in the stage of pairs, else in that of the watch, as what the promoted version answered."""
    rig = make(max_copies_in_flight=1)
    rig.obey(**WATCH_SHADOW)
    in_pair, beside_it = rig.send(), rig.send()
    for number in (in_pair, beside_it):
        rig.end(number)
    rig.leave()
    rig.end_copy()

    assert (rig.requests(PAIRS), rig.requests(WATCH)) == ((1, 1), (1, 0))
    assert rig.total(2) == 2


@pytest.mark.parametrize("gone", [{"connection": None}, {"load": 2_048}])
def test_a_request_that_its_version_was_never_asked_is_in_no_pair(either, gone):
    """A host that is away or full is one fault, which its shadow has no part in: no copy, and it counts as one without."""
    asked = either.shadow["stable"]
    for name, value in gone.items():
        setattr(either.hosts[asked], name, value)
    either.obey(**either.shadow, standby=either.copying)
    for _ in range(5):
        number = either.send()
        if number is not None:
            either.end(number)
    either.leave()

    assert (either.copied(), either.requests(either.stage)) == ([], (0, 0))
    assert (either.total(asked), len(either.answered), len(either.log.entries)) == (5, 5, 5)
    if asked == 2:
        assert (either.requests(WATCH), either.arms(WATCH)[0].errors) == ((5, 0), 5)


def test_what_is_given_up_of_a_pair_stays_in_the_watch(make):
    """A hard limit of the watch loses no request by a copy that could not be made."""
    rig = make()
    rig.obey(**WATCH_SHADOW)
    for status in (Status.OK, Status.MODEL_ERROR):
        rig.end(rig.send(), status)
    rig.hosts[1].connection = None
    rig.leave()

    assert (rig.requests(PAIRS), rig.requests(WATCH), rig.arms(WATCH)[0].errors) == ((0, 0), (2, 0), 1)
    assert {staged_as for _, staged_as, *_ in rig.log.entries} == {(RELEASE, WATCH, "candidate")}


OVER = {
    Status.OK: (0, 0, 0),
    Status.MODEL_ERROR: (1, 0, 0),
    Status.INTERNAL: (1, 0, 0),
    Status.INVALID_OUTPUT: (0, 1, 0),
}


@pytest.mark.parametrize(("status", "counted"), OVER.items())
def test_what_the_shadow_does_counts_for_its_arm(either, status, counted):
    """Errors, invalid outputs, latency and counters of the copy are in its arm, and none in the request's."""
    low = unpack_counts(pack_counts([("low", True)])) if status is Status.OK else None
    either.end(either.send(), counts=unpack_counts(pack_counts([("low", False)])))
    either.leave()
    either.end_copy(status, low, seconds=0.3)
    candidate, stable = either.arms(either.stage)
    copy, request = (candidate, stable) if either.copying == 2 else (stable, candidate)

    assert (copy.errors, copy.invalid, copy.timeouts) == counted
    assert (request.errors, request.invalid, request.timeouts) == (0, 0, 0)
    assert {name: (one.total, one.bad) for name, one in request.counters.items()} == {"low": (1, 0)}
    assert ("low" in copy.counters) == (low is not None)
    assert min(copy.latency) > max(request.latency)


@pytest.mark.parametrize(("shadow", "seconds"), [(STEP_SHADOW, 1.0), (WATCH_SHADOW, 10.0)])
def test_a_copy_that_hangs_is_a_timeout_of_its_arm(make, shadow, seconds):
    """A candidate has the time that it has in a split, the version before that of the requests that it is compared with."""
    rig = make()
    rig.obey(**shadow)
    rig.end(rig.send())
    rig.leave()
    rig.sweep(seconds - 0.01)
    assert rig.requests(shadow["stage"]) == (0, 0)
    rig.sweep(0.02)
    candidate, stable = rig.arms(shadow["stage"])
    copy, request = (candidate, stable) if shadow is STEP_SHADOW else (stable, candidate)

    assert (copy.requests, copy.errors, copy.timeouts, request.errors) == (1, 1, 1, 0)
    assert len(rig.answered) == 1
    assert rig.is_idle()


@pytest.mark.parametrize("request_status", [Status.MODEL_ERROR, Status.INVALID_OUTPUT])
def test_a_request_that_failed_has_a_copy_too(either, request_status):
    """How a request ends does not choose whether it is compared."""
    either.pair(request=request_status)
    candidate, stable = either.arms(either.stage)
    request = stable if either.copying == 2 else candidate

    assert either.requests(either.stage) == (1, 1)
    assert request.errors + request.invalid == 1


REFUSED = [
    # arm of the copy, request, copy, and the errors of candidate and stable; None where the pair leaves
    (STEP_SHADOW, Status.OK, Status.BAD_INPUT, (1, 0)),
    (STEP_SHADOW, Status.OK, Status.TOO_LARGE, (1, 0)),
    (STEP_SHADOW, Status.BAD_INPUT, Status.OK, None),
    (STEP_SHADOW, Status.MODEL_ERROR, Status.BAD_INPUT, None),
    (WATCH_SHADOW, Status.BAD_INPUT, Status.OK, (1, 0)),
    (WATCH_SHADOW, Status.BAD_INPUT, Status.BAD_INPUT, None),
    (WATCH_SHADOW, Status.BAD_INPUT, Status.MODEL_ERROR, None),
    (WATCH_SHADOW, Status.OK, Status.BAD_INPUT, None),
]


@pytest.mark.parametrize(("shadow", "request_status", "copy_status", "errors"), REFUSED)
def test_stables_word_decides_on_an_input_that_was_refused(make, shadow, request_status, copy_status, errors):
    """What only the candidate refuses is its error; what stable refuses, or fails, says nothing of it."""
    rig = make()
    rig.obey(**shadow)
    rig.pair(request=request_status, copy=copy_status)
    candidate, stable = rig.arms(shadow["stage"])

    if errors is None:
        assert rig.requests(shadow["stage"]) == (0, 0)
    else:
        assert ((candidate.errors, stable.errors), rig.requests(shadow["stage"])) == (errors, (1, 1))
    assert rig.is_idle()


def test_both_arms_know_the_keys(either):
    """First bad requests are told apart by key in the copy's arm and in the request's, each by a mark of its own."""
    mark = mark_of(hash_of(RELEASE, b"ada"))
    copied, asked = (mark_in_pair(mark, candidate=one) for one in (either.copying == 2, either.copying == 1))
    for _ in range(2):
        either.pair(request=Status.INVALID_OUTPUT, copy=Status.MODEL_ERROR, key=b"ada")
    candidate, stable = either.arms(either.stage)
    copy, request = (candidate, stable) if either.copying == 2 else (stable, candidate)
    errors, invalid = copy.firsts["errors"], request.firsts["invalid_output"]

    assert (copy.keyed, request.keyed) == (2, 2)
    assert (errors.bad, errors.repeats, errors.keys) == (2, 1, [copied])
    assert (invalid.bad, invalid.repeats, invalid.keys) == (2, 1, [asked])
    assert len({mark, copied, asked}) == 3


def test_keys_that_fail_by_both_versions_weigh_the_same_in_both_arms(rig):
    """As the evidence counts them: a key that was bad in stable's arm is a bad one of the candidate's too, and once each."""
    for number in range(30):
        for _ in range(2):
            rig.pair(request=Status.MODEL_ERROR, copy=Status.MODEL_ERROR, key=b"%d" % number)
    trials, _ = by_key("errors", *rig.arms(STEP), b"")

    assert trials == Trials(n1=30, bad1=30, n0=30, bad0=30)


def test_pairs_count_in_the_order_in_which_their_requests_were_sent(rig):
    """A quick pair waits for a slow one that was sent before it."""
    first, second = rig.send(), rig.send()
    rig.end(second)
    rig.leave()
    rig.end_copy(Status.MODEL_ERROR)
    assert rig.requests(STEP) == (0, 0)
    rig.end(first)
    rig.leave()
    rig.end_copy()

    assert rig.requests(STEP) == (2, 2)


def test_a_lost_connection_is_one_error(rig):
    """Of the copies that were on it one counts as failed; the pairs of the others count nowhere, and are dropped ones."""
    for _ in range(5):
        rig.end(rig.send())
    rig.leave()
    rig.dispatcher.lost(rig.hosts[2])
    candidate, stable = rig.arms(STEP)

    assert (candidate.requests, candidate.errors, stable.requests, stable.errors) == (1, 1, 1, 0)
    assert (rig.report().copies_dropped, rig.total(1)) == (4, 5)


def test_copies_trip_no_reflex(rig):
    """A shadow that fails everything is taken out by nobody: it harms no caller, and a later split begins afresh."""
    for _ in range(40):
        rig.pair(copy=Status.MODEL_ERROR)
    rig.obey(stable=1, candidate=2, weight=5_000, release=RELEASE, stage=1)

    assert (rig.requests(STEP), rig.report().reflexes) == ((40, 40), [])
    assert rig.route.split.reflex.requests == 0


# --- what stands in the way -----------------------------------------------------------------------


def test_pairs_under_way_are_bounded_in_number(make):
    """What is over the bound has no copy, is counted, and is served as any other request."""
    rig = make(max_copies_in_flight=3)
    rig.obey(**STEP_SHADOW)
    numbers = [rig.send() for _ in range(8)]
    for number in numbers:
        rig.end(number)
    rig.leave()

    assert (len(rig.copied()), rig.report().copies_dropped, len(rig.answered)) == (3, 5, 8)
    while rig.copied():
        rig.end_copy()
    assert (rig.requests(STEP), rig.total(1)) == ((3, 3), 8)


def test_pairs_under_way_are_bounded_in_bytes(make):
    """Large bodies leave room for small ones, and one that is over the bound alone is never copied."""
    rig = make(max_copies_bytes=1_000)
    rig.obey(**STEP_SHADOW)
    for body in (600, 600, 300, 2_000):
        rig.end(rig.send(b"x" * body))
    rig.leave()

    assert [len(frame[3]) for frame in rig.hosts[2].frames] == [600, 300]
    assert rig.report().copies_dropped == 2


@pytest.mark.parametrize("full", [{"paused": True}, {"load": 2_048}])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_host_that_is_full_gets_no_copy(either, full, when):
    """Whether it fills up before the request comes or while it is answered: the copy is dropped and counted."""
    shadow = either.hosts[either.copying]
    number = either.send() if when == "after" else None
    for name, value in full.items():
        setattr(shadow, name, value)
    either.end(either.send() if number is None else number)
    either.leave()

    assert (shadow.frames, either.report().copies_dropped) == ([], 1)
    assert either.requests(either.stage) == (0, 0)
    assert either.total(either.shadow["stable"]) == 1


def test_answers_that_wait_for_a_copy_take_room(make):
    """What is kept of a request until its copy is over is its answer too, so that large answers cannot fill the memory."""
    rig = make(max_copies_bytes=40)
    rig.obey(**STEP_SHADOW)
    for _ in range(3):  # 2 bytes of body, 13 of answer
        rig.end(rig.send())
    rig.leave()
    assert len(rig.copied()) == 3
    rig.end(rig.send())
    assert rig.report().copies_dropped == 1
    while rig.copied():
        rig.end_copy()

    assert rig.is_idle()


GONE = {
    "held": {"held": True},
    "withdrawn": {"copies": None, "release": None},
    "another stage": {"stage": 9},
    "rolled back": {"copies": None, "stable": 3},
}


@pytest.mark.parametrize("change", GONE.values(), ids=GONE)
@pytest.mark.parametrize("when", ["asked", "answered", "copied"])
def test_a_change_of_the_route_ends_pairs_without_a_trace(either, change, when):
    """Neither half counts for the release, the caller is answered, and a late answer of the shadow is nobody's."""
    number = either.send()
    if when != "asked":
        either.end(number)
    if when == "copied":
        either.leave()
        host, late = either.copied()[0]
    either.obey(**(either.shadow | change))
    either.leave()
    if when == "copied":
        either.dispatcher.answered(host, late, Status.OK, b"{}", either.now)
    if change.get("held"):
        either.obey(**either.shadow)
    for left in list(either.dispatcher.flights):
        either.end(left)

    assert either.requests(either.stage) == (0, 0)
    assert len(either.answered) == 1
    assert len(either.log.entries) == 1
    assert either.is_idle()


def test_the_same_shadow_in_a_new_table_goes_on(either):
    """Another deployment's change does not end pairs that are under way."""
    either.end(either.send())
    waiting = either.send()
    either.leave()
    either.obey(**either.shadow)
    either.end(waiting)
    either.leave()
    for _ in range(2):
        either.end_copy()

    assert either.requests(either.stage) == (2, 2)


def test_a_stop_loses_no_request(either):
    """When the worker ends, pairs are given up, and their requests count for their version and are recorded."""
    for _ in range(3):
        either.end(either.send())
    either.leave()
    either.end(either.send())
    either.dispatcher.copies.stop()

    assert either.requests(either.stage) == (0, 0)
    assert (either.total(either.shadow["stable"]), len(either.log.entries)) == (4, 4)
    assert either.is_idle()


# --- recording ------------------------------------------------------------------------------------


def test_a_pair_is_recorded_once_when_its_copy_is_over(either):
    """With the stage and arm of the request, the time of its answer, and what the other version said."""
    number = either.send()
    either.end(number, seconds=0.1)
    answered = either.now
    either.leave()
    assert either.log.entries == []
    either.end_copy(seconds=0.25)
    ((flight, staged_as, now, copy),) = either.log.entries
    arm = "stable" if either.copying == 2 else "candidate"

    assert (flight.identifier, staged_as, now) == (number, (RELEASE, either.stage, arm), answered)
    assert copy == (either.copying, 200, 250_000_000, b'{"by":"shadow"}')


def test_a_copy_that_failed_is_recorded_as_such(rig):
    """Its status is what a caller would have been told; there is no answer."""
    for status in (Status.MODEL_ERROR, Status.BAD_INPUT):
        rig.pair(copy=status)
    rig.end(rig.send())
    rig.leave()
    rig.sweep(1.5)

    assert [copy[1:2] + copy[3:] for *_, copy in rig.log.entries] == [(500, None), (400, None), (504, None)]


def test_a_request_whose_copy_was_dropped_is_recorded_alone(rig):
    """It counts for no arm, which its record says."""
    rig.end(rig.send())
    rig.hosts[2].connection = None
    rig.leave()
    ((_, staged_as, _, copy),) = rig.log.entries

    assert (staged_as, copy) == (None, None)


# --- all of it at once ----------------------------------------------------------------------------


ROUTES = [
    STEP_SHADOW,
    STEP_SHADOW | {"stage": 5},
    STEP_SHADOW | {"held": True},
    WATCH_SHADOW,
    WATCH_SHADOW | {"standby": 1},
    WATCH_SHADOW | {"standby": 1, "held": True},
    {"stable": 1},
    {"stable": 3},
]


def test_pairs_are_whole_whatever_happens(make):
    """In thousands of turns both arms never differ in number, and each request has one answer, one count and one record."""
    chance = random.Random(4)
    random.seed(4)
    rig = make(max_copies_in_flight=8)
    rig.obey(**STEP_SHADOW)
    sent = 0
    for turn in range(3_000):
        act = chance.choices(ACTS, (50, 65, 30, 50, 2, 3))[0]
        act(rig, chance)
        sent += act is _ask
        if turn % 100 == 0:
            rig.obey(**chance.choice(ROUTES))
        if turn % 5 == 0:
            in_pairs = [one for one in rig.report().stages if one.stage != WATCH]
            assert all(one.candidate.requests == one.stable.requests for one in in_pairs)
    for version in (1, 2, 3):
        _come_or_go(rig, version, comes=True)
    rig.obey(stable=1)
    for number in list(rig.dispatcher.flights):
        rig.end(number)
    rig.leave()
    rig.sweep(11.0)
    totals = [one.counts.requests for one in rig.report().totals if one.role != Role.SHADOW.value]

    assert rig.is_idle()
    assert (len(rig.answered), len(rig.log.entries), sum(totals)) == (sent, sent, sent)
    assert all(len(tally.order) == 0 for tally in rig.telemetry._staged.values() if tally.order is not None)
    counted = {one.stage: one.candidate.requests for one in rig.report().stages}
    assert min(counted[STEP], counted[PAIRS], counted[WATCH]) > 10


def _ask(rig, chance):
    rig.send(key=chance.choice((None, b"ada")))


def _answer(rig, chance):
    under_way = [one for one, flight in rig.dispatcher.flights.items() if flight.connection is not None]
    if under_way:
        status = chance.choice((Status.OK, Status.OK, Status.MODEL_ERROR, Status.INVALID_OUTPUT))
        rig.end(chance.choice(under_way), status)


def _answer_copy(rig, chance):
    if rig.copied():
        rig.end_copy(chance.choice((*Status,)), place=chance.randrange(len(rig.copied())))


def _disturb(rig, chance):
    """Let a host end, which mostly is back at once, or the lease; what was away before comes back."""
    for version in (1, 2, 3):
        _come_or_go(rig, version, comes=True)
    ends = chance.choice((1, 2, 3))
    _come_or_go(rig, ends, comes=False)
    _come_or_go(rig, ends, comes=chance.random() < 0.8)
    rig.page.words[LEASE_WORD] = 0 if chance.random() < 0.1 else 1 << 62


ACTS = (
    _ask,
    _answer,
    lambda rig, _: rig.leave(),
    _answer_copy,
    lambda rig, chance: rig.sweep(chance.random() / 20),
    _disturb,
)


def _come_or_go(rig, version, *, comes):
    """Let a host's connection be there, or end."""
    host = rig.hosts[version]
    if comes and host.connection is None:
        host.connection = host
        rig.dispatcher.settled()
    elif not comes and host.connection is not None:
        host.connection = None
        rig.dispatcher.lost(host)
        host.load = 0


# --- the table ------------------------------------------------------------------------------------


def test_columns_of_the_route_belong_to_what_counts_for_the_release(make):
    """Both arms of a split, a watched version and requests in pairs have them; what is outside the release has none."""
    rig = make()
    rig.obey(stable=1, candidate=2, weight=5_000, release=RELEASE, stage=1, columns=("country",))
    split = [rig.route.split.candidate.tally, rig.route.split.stable.tally]
    outside = rig.route.stable.tally
    rig.obey(**WATCH_SHADOW, columns=("country",))
    watch = [rig.route.stable.tally, rig.route.shadow.request]

    assert [tally.columns for tally in (*split, *watch)] == [("country",)] * 4
    assert outside.columns == ()


def test_the_hosts_of_shadows_stay_connected_and_their_releases_counted(rig):
    """A table names them, so that neither the link nor what was counted is let go of."""
    assert rig.table.paths == {"v1.sock", "v2.sock"}
    assert rig.table.releases == {RELEASE}


@pytest.mark.parametrize(
    ("arm", "serves", "copied"),
    [("stable", {"stable"}, False), ("stable", {"candidate"}, False), ("candidate", {"stable"}, True)],
)
def test_a_watch_asks_no_host_that_answers_the_callers_of_another_deployment(make, arm, serves, copied):
    """Deployments of one model share the host of a version, and nobody asked for these copies; for a shadow step they did."""
    rig = make()
    shadow = Shadow(target=rig.target(1), rate=10_000, release=RELEASE, stage=PAIRS, arm=arm)
    here = Route(deployment="eu", model="churn", generation=1, stable=rig.target(2), shadow=shadow)
    other = {name: rig.target(1) for name in serves}
    there = Route(
        deployment="us", model="churn", generation=1, weight=100, **({"stable": rig.target(3)} | other)
    )
    links = {host.path: host for host in rig.hosts.values()}
    table = compile_table(RouteTable(generation=1, routes=(here, there)), links.get, rig.telemetry)

    assert (table.routes["eu"].shadow is not None) is copied
