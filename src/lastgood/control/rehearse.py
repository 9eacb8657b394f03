"""The parts of a drill: each does what a rollback would do, to a copy or to nobody, and says what came of it."""

import hashlib
import time
from pathlib import Path
from typing import Final

import msgspec

from lastgood.control.execute import Executor
from lastgood.control.live_data import LiveData
from lastgood.control.residents import Residents, answered
from lastgood.control.routes import route_for
from lastgood.control.way_back import WayBack, WaysBack
from lastgood.data_ports import DataSource
from lastgood.domain.deployment import Deployment
from lastgood.domain.route import RouteTable
from lastgood.domain.snapshot import DataTask, Snapshot
from lastgood.domain.version import Version
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Blobs
from lastgood.wire.page import BUFFER_BYTES

_POLL_SECONDS: Final = 0.02


class Rehearser:
    """Does the parts. Each returns a sentence, and raises a :class:`LastgoodError` that says why it failed."""

    def __init__(
        self,
        *,
        executor: Executor,
        blobs: Blobs,
        residents: Residents,
        live: LiveData,
        run: Path,
        ways: WaysBack,
    ) -> None:
        """Take what a rollback would use; ``run`` is the run folder."""
        self._executor = executor
        self._blobs = blobs
        self._residents = residents
        self._live = live
        self._run = run
        self._ways = ways

    def find(self, deployment: Deployment) -> tuple[WayBack, Version]:
        """Return the way back and the version at its end."""
        way = self._ways.of(deployment)
        if way.goal is None:
            raise LastgoodError(Code.REFUSED, "there is no good version to go back to")
        if way.gone or way.one_way:
            raise LastgoodError(Code.REFUSED, way.gone or way.one_way)
        return way, self._executor.version(deployment.model, way.goal)

    def verify(self, version: Version) -> str:
        """Read the artifact in full."""
        self._blobs.verify(version.digest)
        return f"{version.size_bytes} bytes read, digest right"

    def ask(self, deployment: str, version: Version) -> str:
        """Ask the resident host of the version its golden requests."""
        if self._residents.ready(version) is None:
            raise LastgoodError(Code.UNAVAILABLE, f"the host of {version.display} is not ready")
        if not version.golden:
            return "resident and ready; it has no golden requests to compare"
        why = self._residents.wrong_answer(version, deployment)
        if why is not None:
            raise LastgoodError(Code.REFUSED, why)
        return answered(version)

    def rehearse(self, deployment: str, snapshot: Snapshot) -> str:
        """Verify the snapshot, stage it under a token of its own, and free it again, aside from releases' work."""
        token = drill_token(deployment)

        def act(source: DataSource) -> None:
            source.release(token)  # of a drill that a crash interrupted
            source.verify(snapshot)
            try:
                source.stage_restore(snapshot, token)
            finally:
                source.release(token)

        desk = self._live.desk
        while not (work := desk.ask(snapshot.source, DataTask.REHEARSE, token, act)).done:
            time.sleep(_POLL_SECONDS)
        desk.forget(snapshot.source, DataTask.REHEARSE, token)
        if work.error is not None:
            raise work.error
        rows = sum(snapshot.rows.values())
        told = "1 row" if rows == 1 else f"{rows} rows"
        return f"{told} of {snapshot.source} staged from {snapshot.token}, verified and freed again"

    def build(self, deployment: Deployment, goal: int) -> str:
        """Build the route that a rollback would publish, and write and read it as gateways do; it is published to nobody."""
        after = msgspec.structs.replace(deployment, stable=goal, generation=deployment.generation + 1)

        def find(number: int) -> Version:
            return self._executor.version(deployment.model, number)

        route = route_for(after, None, None, find, self._run)
        table = RouteTable(generation=after.generation, routes=(route,))
        page = msgspec.json.encode(table)
        if len(page) > BUFFER_BYTES or msgspec.json.decode(page, type=RouteTable) != table:
            raise LastgoodError(Code.INTERNAL, "the route cannot be written as gateways read it")
        return f"the route to version {goal} has {len(page)} bytes, published to nobody"


def drill_token(deployment: str) -> str:
    """Return the token under which drills of a deployment stage data: always the same, so that the next one tidies up."""
    return f"drill_{hashlib.blake2b(deployment.encode(), digest_size=8).hexdigest()}"
