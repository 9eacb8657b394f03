"""Custom metrics for the controller: asked for elsewhere, turned into strata in the controller's own turn.

Asking takes as long as an outside system takes, so no turn waits for it: each measurement has a thread of its own, at
most :data:`AT_ONCE` at a time, at most one for each guardrail. What came of it stays here until the evidence holds it.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from lastgood.analysis.custom_state import CustomState, terms_of
from lastgood.analysis.record import read
from lastgood.domain.change import Evidence
from lastgood.domain.custom import Counts, Measurement, Reading, Subject
from lastgood.domain.plan import Guardrail, Metric
from lastgood.domain.release import Phase, Release
from lastgood.domain.traffic import ArmCounts, Stratum
from lastgood.domain.version import Version
from lastgood.errors import LastgoodError
from lastgood.quality_ports import Metrics

logger = logging.getLogger(__name__)
AT_ONCE: Final = 4
LOST_MAX: Final = 16
"""Threads that have not come back long after their time-out; beside so many no other is begun."""

_GRACE_SECONDS: Final = 10.0
_SENTENCE_MAX: Final = 300
_WATCHED: Final = (Phase.PROMOTING, Phase.WATCHING, Phase.STUCK)


class _Job:
    """One measurement: waiting or under way since ``begun``, or over. Its thread sets ``answer``, then ``back``."""

    def __init__(self, guardrail: Guardrail, subject: Subject, number: int, stage: int, begun: float) -> None:
        self.guardrail = guardrail
        self.subject = subject
        self.number = number
        self.stage = stage
        self.begun = begun
        self.answer: Measurement | None = None
        self.back = False

    def answered(self, *, reading: Reading | None = None, error: str = "") -> Measurement:
        """Return what came of it."""
        return Measurement(
            guardrail=self.guardrail.name,
            number=self.number,
            at=self.subject.now,
            reading=reading,
            error=error[:_SENTENCE_MAX],
        )

    def spans(self, stage: int) -> bool:
        """Whether these are counts that were asked for before ``stage`` began: the last of them may be of either."""
        answer = self.answer
        return self.stage != stage and answer is not None and isinstance(answer.reading, Counts)


class _Asking(msgspec.Struct):
    """What is remembered of one guardrail of a release: the stage that was asked in last, and the job at hand."""

    stage: int
    job: _Job | None = None


def _is_asked(guardrail: Guardrail, release: Release) -> bool:
    """Whether a guardrail is asked about outside by now: counts begin with the candidate's traffic."""
    if guardrail.metric is not Metric.CUSTOM:
        return False
    begun = release.traffic_since is not None or release.phase in _WATCHED
    return begun or not terms_of(guardrail).counts


def _patience(guardrail: Guardrail) -> float:
    """Return for how many seconds a measurement may wait for its turn: after that the last one says too little."""
    terms = terms_of(guardrail)
    return terms.every + terms.timeout


def in_a_thread(work: Callable[[], None]) -> None:
    """Begin a piece of work that no process waits for at its end."""
    threading.Thread(target=work, name="metric", daemon=True).start()


class CustomMetrics:
    """Asks when it is time, and hands on what was answered. For the controller's thread.

    ``version`` returns a version of a model, ``begin`` starts work in a thread of its own; ``wake`` is called when an
    answer is there.
    """

    def __init__(
        self,
        metrics: Metrics,
        version: Callable[[str, int], Version],
        *,
        begin: Callable[[Callable[[], None]], None] = in_a_thread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._version = version
        self._begin = begin
        self._clock = clock
        self._asking: dict[tuple[int, str], _Asking] = {}
        self._waiting: list[_Job] = []
        self._under_way: list[_Job] = []
        self._lost: list[_Job] = []
        self.wake: Callable[[], None] | None = None

    def strata(
        self, release: Release, evidence: Evidence, *, sequence: int, now: float
    ) -> tuple[Stratum, ...]:
        """Ask for what is due, and return what was answered as strata that follow ``sequence``.

        The same evidence gives the same answers again: only evidence that holds them lets go of them.
        """
        guardrails = [one for one in release.plan.guardrails if _is_asked(one, release)]
        if not guardrails:
            return ()
        record = read(evidence.states)
        stage = max(release.plan.stage_at(release.step), 0)
        if release.phase in _WATCHED:
            stage = release.plan.watch_stage
        jobs = []
        for guardrail in guardrails:
            state = (record.custom or {}).get(guardrail.name) or CustomState()
            jobs.append(self._job(release, guardrail, state, stage, now))
        self._go_on()
        closed_at = max(now, record.closed_at)
        answers = [(job, job.answer) for job in jobs if job is not None and job.answer is not None]
        return tuple(
            Stratum(
                release=release.id,
                sequence=sequence + index,
                stage=job.stage,
                closed_at=closed_at,
                candidate=ArmCounts(),
                stable=ArmCounts(),
                custom=answer,
            )
            for index, (job, answer) in enumerate(answers, 1)
        )

    def forget(self, release: int) -> None:
        """Drop what is remembered of a release; what is under way ends by itself and is heard by nobody."""
        for key in [key for key in self._asking if key[0] == release]:
            job = self._asking.pop(key).job
            if job in self._waiting:
                self._waiting.remove(job)

    def _job(
        self, release: Release, guardrail: Guardrail, state: CustomState, stage: int, now: float
    ) -> _Job | None:
        """Return the measurement that the evidence lacks, a new one when it is time; at once when the split changes."""
        asking = self._asking.setdefault((release.id, guardrail.name), _Asking(state.stage))
        known = asking.job is not None and asking.job.number <= state.number
        if asking.job is not None and (known or asking.job.spans(stage)):
            asking.job = None
        since = abs(now - state.at)  # a clock that was set back delays nothing
        due = not state.number or asking.stage != stage or since >= terms_of(guardrail).every
        if asking.job is None and due:
            asking.stage = stage
            subject = self._subject(release, now)
            asking.job = _Job(guardrail, subject, state.number + 1, stage, self._clock())
            self._waiting.append(asking.job)
        elif asking.job in self._waiting:
            asking.stage = asking.job.stage = (
                stage  # it is asked for in this stage, wherever it began to wait
            )
        return asking.job

    def _subject(self, release: Release, now: float) -> Subject:
        def label(number: int | None) -> str:
            return "" if number is None else self._version(release.model, number).label or ""

        return Subject(
            model=release.model,
            deployment=release.deployment,
            release=release.id,
            candidate=release.version,
            candidate_label=label(release.version),
            stable=release.previous,
            stable_label=label(release.previous),
            since=release.created_at if release.traffic_since is None else release.traffic_since,
            now=now,
        )

    def _go_on(self) -> None:
        """Begin what waits, in its order, and stop waiting for what is long overdue."""
        here = self._clock()
        self._lost = [job for job in self._lost if not job.back]
        for job in self._under_way:
            if not job.back and here - job.begun > terms_of(job.guardrail).timeout + _GRACE_SECONDS:
                job.answer = job.answered(error="It was given up: nothing came back after its time-out.")
                self._lost.append(job)
        self._under_way = [job for job in self._under_way if not job.back and job not in self._lost]
        if len(self._lost) >= LOST_MAX:
            for job in self._waiting:
                job.answer = job.answered(error=f"{LOST_MAX} measurements have not come back.")
            self._waiting = []
        late = [job for job in self._waiting if here - job.begun > _patience(job.guardrail)]
        for job in late:
            job.answer = job.answered(error=f"It waited too long for {AT_ONCE} others that are being asked.")
        self._waiting = [job for job in self._waiting if job not in late]
        while self._waiting and len(self._under_way) < AT_ONCE:
            job = self._waiting.pop(0)
            job.begun = here
            self._under_way.append(job)
            self._begin(partial(self._measure, job))

    def _measure(self, job: _Job) -> None:
        """Ask, in a thread of its own; what it says about it is a sentence without any secret."""
        try:
            reading = self._metrics.measure(terms_of(job.guardrail), job.subject)
            answer = job.answered(reading=reading)
        except LastgoodError as error:
            answer = job.answered(error=error.message)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not look like "no data"
            kind = type(error).__name__
            logger.error("the metric %s was not measured: %s", job.guardrail.name, kind)  # noqa: TRY400
            answer = job.answered(error=f"It was not measured: {kind}.")
        if job.answer is None:
            job.answer = answer
        job.back = True
        if self.wake is not None:
            self.wake()
