"""Labels meet predictions: in any order, late, twice, for unknown ids, held against a naive join of two lists."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.domain.feedback import Fate, GivenLabel
from lastgood.domain.kpi import Awaited, Cursor, Outcome
from lastgood.domain.prediction import Copy, Prediction
from lastgood.predictions.feedback import Feedback
from lastgood.predictions.labels import drop_labels, on_added
from lastgood.predictions.log import PredictionLog
from lastgood.predictions.outcomes import LoggedOutcomes

NAMES = tuple("abcde")
NOW = 1000.0
EVER = 1e12


def answer(rows: int, first: int = 0) -> bytes:
    scores = [number / 10 for number in range(2 * rows)]
    outputs = [
        {"name": "label", "datatype": "INT64", "shape": [rows], "data": list(range(first, first + rows))},
        {"name": "scores", "datatype": "FP64", "shape": [rows, 2], "data": scores},
    ]
    return msgspec.json.encode({"outputs": outputs})


def prediction(name: str, *, rows: int = 1, **given_: Any) -> Prediction:
    known: dict[str, Any] = {
        "id": name,
        "also": f"made-{name}",
        "at": 100.0,
        "deployment": "churn",
        "model": "churn",
        "version": 2,
        "role": "candidate",
        "status": 200,
        "seconds": 0.01,
        "release": 7,
        "stage": 0,
        "arm": "candidate",
        "key": 5,
        "answer": answer(rows),
    }
    return Prediction(**(known | given_))


class Rig:
    """A log with its feedback, at a time that stands still unless a test moves it."""

    def __init__(self, folder: Path, *, keep: float = EVER, bytes_max: int = 10**12) -> None:
        self.now = NOW
        self.log = PredictionLog(folder / "log.db", on_added=(on_added,))
        self.feedback = Feedback(self.log, keep_seconds=keep, bytes_max=bytes_max, now=lambda: self.now)
        self.logged = LoggedOutcomes(self.log)

    def label(self, id_: str, value: Any = 1, **given_: Any) -> str:
        (fated,) = self.feedback.take([GivenLabel(id=id_, value=value, **given_)])
        return fated.fate.value

    def outcomes(self, release: int = 7) -> list[Outcome]:
        return self.logged.outcomes(release, Cursor(), made_until=EVER, limit=10_000)[0]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


LABELS = st.tuples(
    st.sampled_from([*NAMES, *(f"made-{name}" for name in NAMES), "nobody"]),
    st.integers(0, 2),
    st.sampled_from([0, 1]),
)


class Asked(msgspec.Struct, frozen=True):
    """A request with ``rows`` rows; ``copy`` is the status and the rows of a copy's answer, ``lands`` a column of its inputs."""

    rows: int
    arm: str
    copy: tuple[int, int] | None
    lands: list[str] | None

    def made(self, name: str) -> Prediction:
        copy = None
        if self.copy is not None:
            status, rows = self.copy
            copy = Copy(version=3, status=status, seconds=0.1, answer=answer(rows, 10) if rows else None)
        slices = {} if self.lands is None else {"land": self.lands}
        key = NAMES.index(name)
        return prediction(name, rows=self.rows, arm=self.arm, key=key, copy=copy, slices=slices)

    def met(self, name: str, row: int, value: int) -> tuple[Any, ...]:
        """What the outcome of a label says: see ``told``."""
        other = None
        if self.copy is not None and self.copy[0] == 200 and row < self.copy[1]:
            other = 10 + row
        lands = {}
        if self.lands is not None:
            lands = {"land": self.lands[row] if row < len(self.lands) else ""}
        return NAMES.index(name), row, value, self.arm, self.copy is not None, other, lands


def told(one: Outcome) -> tuple[Any, ...]:
    answered, other = one.answer or {}, one.other and one.other["label"]
    return one.key, answered["label"], one.value, one.arm, one.copied, other, one.slices


ASKED = st.builds(
    Asked,
    st.integers(1, 2),
    st.sampled_from(["candidate", "stable"]),
    st.none() | st.tuples(st.sampled_from([200, 503]), st.integers(0, 2)),
    st.none() | st.lists(st.sampled_from(["de", "at", ""]), max_size=2),
)


@settings(max_examples=25, deadline=None)
@given(
    asked=st.lists(ASKED, min_size=len(NAMES), max_size=len(NAMES)),
    labels=st.lists(LABELS, max_size=25),
    order=st.randoms(use_true_random=False),
)
def test_the_join_is_what_two_lists_give(
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[Asked],
    labels: list[tuple[str, int, int]],
    order: Any,
) -> None:
    """Whatever comes first, each row's first label meets its prediction once, with its copy and slices; every fate is as a
    plain list says."""
    rig = Rig(tmp_path_factory.mktemp("join"))
    made = dict(zip(NAMES, asked, strict=True))
    events: list[Any] = [*made, *labels]
    order.shuffle(events)
    known: set[str] = set()
    first: dict[tuple[str, int], int] = {}  # what was said of each row first, by the name of its prediction
    early: dict[tuple[str, int], int] = {}  # the same of ids without a prediction, by the id as it was given
    for event in events:
        if isinstance(event, str):
            rig.log.add([made[event].made(event)])
            known.add(event)
            for id_ in (event, f"made-{event}"):
                for place in [place for place in sorted(early) if place[0] == id_]:
                    value = early.pop(place)
                    if place[1] < made[event].rows:
                        first.setdefault((event, place[1]), value)
            continue
        id_, row, value = event
        name = id_.removeprefix("made-")
        said, place = (first, (name, row)) if name in known else (early, (id_, row))
        if place in said:
            wanted = "duplicate" if said[place] == value else "refused"
        elif name in known and row >= made[name].rows:
            wanted = "refused"
        else:
            wanted = "joined" if name in known else "unknown"
            said[place] = value
        assert rig.label(id_, value, row=row) == wanted
    assert sorted(map(told, rig.outcomes()), key=repr) == sorted(
        (made[name].met(name, row, value) for (name, row), value in first.items()), key=repr
    )
    assert rig.log.counts().labels_waiting == len(early)
    assert rig.logged.awaited(7) == {
        arm: Awaited(
            predictions=sum(one.arm == arm for one in asked),
            labelled=len({name for name, _ in first if made[name].arm == arm}),
        )
        for arm in sorted({one.arm for one in asked})
    }


def test_a_pair_holds_what_both_arms_answered(rig: Rig) -> None:
    """The outcome is the request's: its arm and version, its answer, and beside it the copy's; each row has its slices."""
    copy = Copy(version=3, status=200, seconds=0.002, answer=answer(2, first=10))
    rig.log.add([prediction("a", rows=2, arm="stable", copy=copy, slices={"land": ["de", "at"], "age": []})])
    rig.label("a", 1, row=1)
    (met,) = rig.outcomes()
    assert (met.arm, met.version, met.copied) == ("stable", 2, True)
    assert met.answer == {"label": 1, "scores": [0.2, 0.3]}
    assert met.other == {"label": 11, "scores": [0.2, 0.3]}
    assert met.slices == {"land": "at", "age": ""}


@pytest.mark.parametrize(
    "copy",
    [
        Copy(version=3, status=503, seconds=0.1, answer=answer(2)),
        Copy(version=3, status=200, seconds=0.1),
        Copy(version=3, status=200, seconds=0.1, answer=answer(1)),
        Copy(version=3, status=200, seconds=0.1, answer=b"[[["),
    ],
)
def test_a_copy_without_a_usable_answer_is_known_to_be_missing(rig: Rig, copy: Copy) -> None:
    """An error, an answer that was not kept, one row too few or no JSON: the pair is there, its other answer is not."""
    rig.log.add([prediction("a", rows=2, copy=copy)])
    assert rig.label("a", 1, row=1) == "joined"
    (met,) = rig.outcomes()
    assert (met.copied, met.other, met.slices) == (True, None, {})
    assert met.answer is not None


def test_an_outcome_holds_the_row_of_every_output(rig: Rig) -> None:
    """A label of the second row meets the second value of each output, with all that a guardrail needs."""
    rig.log.add([prediction("a", rows=2)])
    assert rig.label("a", "fraud", row=1, at=500.0) == "joined"
    assert rig.outcomes() == [
        Outcome(
            sequence=1,
            release=7,
            stage=0,
            arm="candidate",
            version=2,
            predicted_at=100.0,
            labelled_at=500.0,
            value="fraud",
            answer={"label": 1, "scores": [0.2, 0.3]},
            key=5,
        )
    ]


def test_answers_to_invocations_are_read_too(rig: Rig) -> None:
    """MLflow's predictions, named or not, give a row's values."""
    named = b'{"predictions": {"label": [0, 1], "score": [0.2, 0.9]}}'
    rig.log.add([prediction("a", answer=named), prediction("b", answer=b'{"predictions": [3.5]}')])
    assert [rig.label("a", 1, row=1), rig.label("b", 4.0)] == ["joined", "joined"]
    assert [one.answer for one in rig.outcomes()] == [{"label": 1, "score": 0.9}, {"predictions": 3.5}]


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"release": None, "stage": None, "arm": None}, []),
        ({"arm": "shadow"}, []),
        ({"status": 500, "answer": b'{"error": "no"}'}, []),
        ({"answer": None}, [None]),
    ],
)
def test_only_answers_of_an_arm_are_outcomes(rig: Rig, changes: dict[str, Any], kept: list[Any]) -> None:
    """A label of anything else is joined and judges nothing; an answer that was not kept is known to be missing."""
    rig.log.add([prediction("a", **changes)])
    assert rig.label("a") == "joined"
    assert [one.answer for one in rig.outcomes()] == kept


@pytest.mark.parametrize(
    "bad",
    [
        {"value": None},
        {"value": [1]},
        {"value": float("nan")},
        {"value": 2**63},
        {"value": "x" * 201},
        {"value": " "},
        {"value": 1, "row": -1},
        {"value": 1, "at": NOW + 100_000},
        {"value": 1, "id": "x" * 129},
        {"value": 1, "id": "a\nb"},
    ],
)
def test_what_cannot_be_used_is_refused_alone(rig: Rig, bad: dict[str, Any]) -> None:
    """A bad label is refused with its reason, and the ones beside it are kept."""
    rig.log.add([prediction("a")])
    wrong = GivenLabel(**({"id": "a"} | bad))
    found = rig.feedback.take([wrong, GivenLabel(id="a", value=1)])
    assert [one.fate for one in found] == [Fate.REFUSED, Fate.JOINED]
    assert found[0].why


def test_one_class_written_differently_is_no_second_value(rig: Rig) -> None:
    """Text from a file and a number from a program say the same; another class does not."""
    rig.log.add([prediction("a")])
    assert [rig.label("a", value) for value in ("1", 1, 1.0, True, "0")] == [
        "joined",
        "duplicate",
        "duplicate",
        "duplicate",
        "refused",
    ]
    assert [one.value for one in rig.outcomes()] == ["1"]


def test_a_label_of_a_dropped_prediction_has_expired(tmp_path: Path) -> None:
    """The time in an id of the gateway's own tells: it was dropped, so the label does not wait."""
    rig = Rig(tmp_path, keep=100.0)
    old, young = f"{int(800e3):012x}", f"{int(950e3):012x}"
    ids = [f"{text[:8]}-{text[8:]}-7000-8000-000000000000" for text in (old, young)]
    assert [rig.label(id_) for id_ in ids] == ["expired", "unknown"]


def test_a_prediction_of_a_clock_that_was_ahead_expires_no_labels(tmp_path: Path) -> None:
    """Once it is the oldest one, labels of what came after it are kept, and those of what is not there yet wait."""
    rig = Rig(tmp_path, keep=100.0)
    rig.log.add(
        [prediction("old", at=NOW - 200.0), prediction("ahead", at=NOW + 1e7), prediction("a", at=NOW)]
    )
    assert rig.log.drop(NOW - 100.0, 10**12) == 1
    assert rig.label("a") == "joined"
    text = f"{int((NOW - 5.0) * 1000):012x}"
    assert rig.label(f"{text[:8]}-{text[8:]}-7000-8000-000000000000") == "unknown"
    rig.now = NOW + 10.0
    assert drop_labels(rig.log, rig.now - 100.0) == 0


def test_ids_that_nobody_has_take_a_part_of_the_log_at_most(tmp_path: Path) -> None:
    """In a small log few labels may wait; those of predictions that are there join all the same."""
    rig = Rig(tmp_path, bytes_max=16_000)
    rig.log.add([prediction("a", at=990.0)])

    assert [rig.label(f"nobody-{number}") for number in range(12)] == ["unknown"] * 10 + ["refused"] * 2
    assert rig.label("a") == "joined"


def test_labels_and_outcomes_are_dropped_by_age(tmp_path: Path) -> None:
    """What waits is dropped when its time is over, and what met goes with its prediction; nothing joins after that."""
    rig = Rig(tmp_path, keep=100.0)
    rig.log.add([prediction("a", at=990.0)])
    assert [rig.label("a"), rig.label("late")] == ["joined", "unknown"]
    assert drop_labels(rig.log, NOW - 100.0) == 0
    rig.now = NOW + 200.0
    assert rig.log.drop(rig.now - 100.0, 10**12) == 1
    assert drop_labels(rig.log, rig.now - 100.0) == 3
    rig.log.add([prediction("late", at=rig.now)])
    assert rig.outcomes() == []


def test_each_outcome_is_read_once_when_it_is_old_enough(rig: Rig) -> None:
    """Looks with any limit give every outcome exactly once, none before its prediction is that old."""
    ages = [10.0, 30.0, 20.0, 30.0, 25.0, 5.0, 40.0]
    read: list[int] = []
    cursor, clock = Cursor(), itertools.count(1)
    for index, at in enumerate(ages):
        rig.log.add([prediction(f"p{index}", at=at, also=None)])
        rig.label(f"p{index}")
        until = 6.0 * next(clock)
        found, cursor = rig.logged.outcomes(7, cursor, made_until=until, limit=1 + index % 3)
        assert all(one.predicted_at <= until for one in found)
        read += [one.sequence for one in found]
    for until in (30.0, 30.0, 30.0, 41.0, 41.0, 41.0):
        found, cursor = rig.logged.outcomes(7, cursor, made_until=until, limit=2)
        read += [one.sequence for one in found]
    assert sorted(read) == list(range(1, len(ages) + 1))
    assert rig.logged.outcomes(7, cursor, made_until=EVER, limit=2)[0] == []
    assert rig.logged.outcomes(8, Cursor(), made_until=EVER, limit=2)[0] == []


def test_many_rows_of_one_time_are_read_once(rig: Rig) -> None:
    """A limit in the midst of outcomes that were predicted at one time neither repeats nor skips one."""
    rig.log.add([prediction("a", rows=9, at=50.0)])
    rig.feedback.take([GivenLabel(id="a", value=1, row=row) for row in range(9)])
    first, cursor = rig.logged.outcomes(7, Cursor(), made_until=40.0, limit=4)
    assert first == []
    read: list[int] = []
    for _ in range(4):
        found, cursor = rig.logged.outcomes(7, cursor, made_until=60.0, limit=4)
        read += [one.sequence for one in found]
    assert read == list(range(1, 10))


def test_outcomes_of_a_log_that_is_not_there_are_none(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    logged = LoggedOutcomes(PredictionLog(tmp_path / "log.db"))
    assert logged.outcomes(1, Cursor(), made_until=EVER, limit=5) == ([], Cursor())
    assert logged.awaited(1) == {}
    assert not (tmp_path / "log.db").exists()


def test_a_label_takes_no_more_work_in_a_larger_log(tmp_path: Path) -> None:
    """Counted in steps of SQLite's machine: every look-up is by key, whatever is joined or waits already."""
    steps = []
    for size in (10, 20_000):
        rig = Rig(tmp_path / str(size))
        rig.log.add([prediction(f"p{number}", also=f"m{number}") for number in range(100)])
        others = [(f"o{number}", 0, "1", 1.0, NOW, number % 2) for number in range(size)]
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        assert rig.label("early") == "unknown"  # so that those who wait are looked for
        with rig.log.changing() as connection:
            connection.executemany("INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?)", others)
        with rig.log.reading() as connection:
            connection.set_progress_handler(count, 100)
        assert {rig.label(f"p{number}") for number in range(50)} == {"joined"}
        rig.log.add([prediction(f"q{number}", also=None) for number in range(50)])
        with rig.log.reading() as connection:
            connection.set_progress_handler(None, 0)
        steps.append(counted)
    assert steps[1] < 2 * steps[0]
