"""A dispatcher with its admission and no event loop: hosts answer when a test says so, and copies leave when it says so."""

import time

from lastgood.domain.deployment import Role
from lastgood.domain.route import Route, RouteTable, Shadow, Target
from lastgood.gateway import copies
from lastgood.gateway.admission import Admission
from lastgood.gateway.dispatch import Dispatcher
from lastgood.gateway.ids import Ids
from lastgood.gateway.table import compile_table
from lastgood.gateway.telemetry import Telemetry
from lastgood.settings import Settings
from lastgood.wire.frames import Status
from lastgood.wire.page import LEASE_WORD

SECOND = 1_000_000_000
RELEASE, STEP, WATCH, PAIRS = 7, 0, 3, 4
STEP_SHADOW = {"stable": 1, "copies": 2, "arm": "candidate", "stage": STEP}
WATCH_SHADOW = {"stable": 2, "copies": 1, "arm": "stable", "stage": PAIRS}


class Host:
    """The way to a host that takes everything and answers when a test says so."""

    def __init__(self, path):
        self.path = path
        self.connection = self
        self.tried = True
        self.load = 0
        self.paused = self.untaken = False
        self.frames = []

    def send(self, identifier, kind, name, body):
        self.load += 1
        self.frames.append((identifier, kind, name, body))


class Page:
    """As much of the route page as admission reads: nothing new, and a lease."""

    def __init__(self):
        self.words = [0] * 16
        self.state = 0
        self.words[LEASE_WORD] = 1 << 62


class Log:
    """What was recorded: the flight, and what became of its copy."""

    def __init__(self):
        self.entries = []

    def add(self, flight, now, copy=None):
        self.entries.append((flight, flight.tally.staged_as, now, copy))


class Rig:
    """Versions 1 to 3 of one deployment; ``send`` asks as a caller does, ``leave`` lets copies go out."""

    def __init__(self, monkeypatch, **settings):
        self.telemetry = Telemetry(slot=0, pid=1, epoch=1)
        self.settings = Settings(home="unused", candidate_timeout=1.0, request_timeout=10.0, **settings)
        self.page, self.log, self.waiting = Page(), Log(), []
        self.dispatcher = Dispatcher(
            self.settings,
            self.telemetry,
            Ids(),
            self.log,
            lease_holds=lambda: self.page.words[LEASE_WORD] > 0,
            later=self.waiting.append,
        )
        self.admission = Admission(self.settings, self.page, self.dispatcher, self.telemetry)
        self.hosts = {version: Host(f"v{version}.sock") for version in (1, 2, 3)}
        self.answered = []
        self.start = self.now = time.monotonic_ns()
        self.generation = 0
        monkeypatch.setattr(copies, "_monotonic_ns", lambda: self.now)

    def target(self, number):
        return Target(version=number, label=None, digest=f"sha256:{number}", socket=f"v{number}.sock")

    def obey(
        self,
        *,
        stable=1,
        copies=None,
        arm=None,
        stage=None,
        rate=10_000,
        candidate=None,
        standby=None,
        **more,
    ):
        """Publish a route; with ``copies``, that version answers copies for ``arm``."""
        self.generation += 1
        if copies is not None:
            target = self.target(copies)
            more["shadow"] = Shadow(target=target, rate=rate, release=RELEASE, stage=stage, arm=arm)
            if arm == "stable":
                more |= {"release": RELEASE, "stage": WATCH}
        named = {"stable": stable, "candidate": candidate, "standby": standby}
        targets = {name: self.target(number) for name, number in named.items() if number is not None}
        route = Route(deployment="churn", model="churn", generation=self.generation, **targets, **more)
        links = {host.path: host for host in self.hosts.values()}
        routes = RouteTable(generation=self.generation, routes=(route,))
        self.table = compile_table(routes, links.get, self.telemetry)
        self.dispatcher.adopt(self.table)
        self.route = self.table.routes["churn"]

    def send(self, body=b"{}", *, version=None, key=None):
        """Send a request and return its number."""
        path = "/v2/models/churn/infer" if version is None else f"/v2/models/churn/versions/{version}/infer"
        headers = [] if key is None else [(b"lastgood-key", key)]
        before = set(self.dispatcher.flights)
        self.admission.launch(self.table.endpoints[path], headers, body, self.answered.append)
        return next(iter(set(self.dispatcher.flights) - before), None)

    def end(self, number, status=Status.OK, counts=None, seconds=0.0):
        """Let the host that has it now answer a request, so much later."""
        self.now += int(seconds * SECOND)
        connection = self.dispatcher.flights[number].connection
        self.dispatcher.answered(connection, number, status, b'{"by":"host"}', self.now, counts)

    def leave(self):
        """Let the copies go out that wait for it."""
        waiting = self.waiting[:]
        self.waiting.clear()
        for act in waiting:
            act()

    def copied(self):
        """Return the copies that no host has answered yet, oldest first: their host and identifier."""
        sent = self.dispatcher.copies._sent
        return [(pair.connection, identifier) for identifier, pair in sent.items()]

    def end_copy(self, status=Status.OK, counts=None, seconds=0.0, body=b'{"by":"shadow"}', place=0):
        """Let the shadow answer a copy, so much later."""
        self.now += int(seconds * SECOND)
        host, identifier = self.copied()[place]
        self.dispatcher.answered(host, identifier, status, body, self.now, counts)

    def pair(self, *, request=Status.OK, copy=Status.OK, key=None):
        """Let one request and its copy be over."""
        self.end(self.send(key=key), request)
        self.leave()
        if self.copied():
            self.end_copy(copy)

    def sweep(self, seconds):
        self.now += int(seconds * SECOND)
        self.dispatcher.sweep(self.now)

    def arms(self, stage):
        """Return candidate and stable of a stage of the release."""
        for one in self.report().stages:
            if (one.release, one.stage) == (RELEASE, stage):
                return one.candidate, one.stable
        return None

    def requests(self, stage):
        return tuple(arm.requests for arm in self.arms(stage))

    def report(self):
        return self.telemetry.report(written_at=0.0, in_flight=0)

    def total(self, version, role=Role.STABLE):
        return sum(
            one.counts.requests
            for one in self.report().totals
            if (one.version, one.role) == (version, role.value)
        )

    def is_idle(self):
        """Whether nothing is held of anything that is over."""
        found = self.dispatcher.copies
        nothing = not (found._pairs or found._sent or found._bytes or self.dispatcher.flights)
        return nothing and all(host.load == 0 for host in self.hosts.values())
