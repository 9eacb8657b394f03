"""Custom metrics: what a plan may say, what an answer says, whom it may ask, and what evidence makes of it."""

import math
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lastgood.analysis import custom_state
from lastgood.analysis.custom_state import CustomState
from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.record import Record, read
from lastgood.cli.plan_words import in_words
from lastgood.control.preflight import check_metrics
from lastgood.domain.change import Evidence
from lastgood.domain.custom import Counts, Measurement, Numbers, SourceKind, Tally, reading_of
from lastgood.domain.custom_names import in_query, in_url, unknown_names
from lastgood.domain.plan import Guardrail, Metric, Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum
from lastgood.domain.verdict import Verdict
from lastgood.errors import Code, LastgoodError
from lastgood.integrations.metric_sql import answer_of
from lastgood.settings import Settings
from lastgood.wire.asking import check_url

HTTP = "source: {http: 'http://127.0.0.1:1/x'}"
CONTEXT = {
    "model": "churn",
    "deployment": "churn-eu",
    "release": 7,
    "candidate": {"version": 2, "label": 'v1.1 "x"'},
    "stable": {"version": None, "label": ""},
    "since": 1_790_000_000.0,
    "now": 1_790_000_060.5,
}


def plan(*guardrails: str, more: str = "") -> Plan:
    return parse_plan(f"guardrails: [{', '.join(guardrails)}]\n{more}")


def custom(text: str) -> Guardrail:
    return plan(f"{{metric: custom, name: x, {text}}}").guardrails[-1]


@pytest.mark.parametrize(
    "text",
    [
        "source: {}, max: 1",
        "source: {http: 'http://h/x', python: f}, max: 1",
        "source: {http: 'ftp://h/x'}, max: 1",
        "source: {http: 'http://ada:pw@h/x'}, max: 1",
        "source: {http: 'http://{model}/x'}, max: 1",
        "source: {http: 'http://h/{candidate}'}, max: 1",
        "source: {http: 'http://h/x', url: 'http://h'}, max: 1",
        "source: {python: 'a b'}, max: 1",
        "source: {python: f, value: a}, max: 1",
        "source: {sql: SELECT 1}, max: 1",
        "source: {sql: DROP TABLE x, url: env:X}, max: 1",
        "source: {sql: 'SELECT 1; SELECT 2', url: env:X}, max: 1",
        "source: {sql: SELECT 1, url: 'postgresql://ada:pw@h/x'}, max: 1",
        "source: {sql: SELECT 1, url: 'postgresql://ada:12pw/@h/x'}, max: 1",
        "source: {sql: SELECT 1, url: 'postgresql://h#@pw/x'}, max: 1",
        "source: {sql: SELECT 1, url: 'postgresql:///x?host=h&password=pw'}, max: 1",
        "source: {prometheus: up, url: 'http://h:9090'}, compare: counts",
        "source: {prometheus: 'up{candidate.name}', url: 'http://h:9090'}, max: 1",
        HTTP,
        f"{HTTP}, max: 1, every: 10ms",
        f"{HTTP}, max: 1, timeout: 11m",
        f"{HTTP}, max: 1, min: 2",
        f"{HTTP}, max: lots",
        f"{HTTP}, max: 1, margin: 2",
        f"{HTTP}, max: 1, min_samples: 5",
        f"{HTTP}, compare: counts, max: 2",
        f"{HTTP}, compare: counts, min: 2%",
        f"{HTTP}, compare: counts, margin: 2, proof_margin: 1.5",
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_line(text: str) -> None:
    """And without a password that stands there."""
    with pytest.raises(LastgoodError) as caught:
        custom(text)
    assert caught.value.code is Code.INVALID
    assert caught.value.message.startswith("plan.yaml:1:")
    assert "pw" not in caught.value.message


def test_a_plan_with_both_kinds_is_kept_and_said() -> None:
    """A number takes no share of the false rollback rate, counts do; a stored plan is the same plan."""
    found = plan(
        "{metric: errors}",
        f"{{metric: custom, name: rate, {HTTP}, max: 5%, min: 0.001, no_data: fail}}",
        "{metric: custom, name: refunds, source: {sql: SELECT 1, url: env:SHOP}, compare: counts, max: 20%}",
    )
    _, errors, rate, refunds = found.guardrails
    assert (errors.share, rate.share, refunds.share) == (0.5, 0.0, 0.5)
    assert rate.custom is not None
    assert (rate.custom.maximum, rate.custom.minimum) == (0.05, 0.001)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Plan) == found
    told = "\n".join(map(str, in_words(found)))
    assert "rate: rollback when its number is over 0.05 or under 0.001 in 3 measurements in a row." in told
    assert "One number has no false-alarm rate." in told
    assert "refunds: rollback when the candidate's odds of a bad one are shown to be over 1.2 times" in told
    assert "or the candidate's rate is over 20 %" in told
    assert "It asks the database at env:SHOP every 1m, for at most 10s." in told


def test_counts_without_a_limit_need_stable_beside_them() -> None:
    """Where all traffic moves at once there is nothing to compare."""
    text = f"{{metric: custom, {HTTP}, compare: counts%s}}"
    with pytest.raises(LastgoodError, match="no traffic on stable"):
        plan(text % "", more="strategy: blue_green")
    plan(text % ", max: 5%", more="strategy: blue_green")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (None, None),
        (3, Numbers(3.0)),
        (Decimal("0.5"), Numbers(0.5)),
        (np.float32(0.5), Numbers(0.5)),
        (np.int64(2), Numbers(2.0)),
        (math.nan, None),
        (Decimal("sNaN"), None),
        ({"candidate": 0.5}, Numbers(0.5)),
        ({"candidate": 0.5, "stable": 0.25}, Numbers(0.5, 0.25)),
        ({"candidate": None, "stable": 0.25}, None),
        ({"candidate": 0.5, "stable": math.nan}, Numbers(0.5)),
    ],
)
def test_a_number_is_read_in_every_form(answer: object, found: object) -> None:
    """Null and NaN are no data."""
    assert reading_of(answer, counts=False) == found


@pytest.mark.parametrize(
    "answer",
    [True, "0.5", math.inf, 10**400, [1], {"rate": 1}, {"candidate": "1"}, {"candidate": 1, "stable": "1"}],
)
def test_what_is_no_number_is_an_error(answer: object) -> None:
    """It never counts as no data."""
    with pytest.raises(LastgoodError) as caught:
        reading_of(answer, counts=False)
    assert caught.value.code is Code.INVALID


@pytest.mark.parametrize(
    "arm",
    [
        {"bad": 1},
        {"bad": 2, "total": 1},
        {"bad": -1, "total": 1},
        {"bad": 0.5, "total": 1},
        {"bad": True, "total": 1},
        {"bad": math.nan, "total": 1},
        {"bad": 0, "total": 10**13},
        {"bad": 0, "total": 10**5000},
        {"bad": 0, "total": Fraction(10**400)},
        {"bad": 0, "total": Decimal("sNaN")},
        {"bad": 0, "total": "1"},
        3,
    ],
)
def test_what_is_no_count_is_an_error(arm: object) -> None:
    """More bad ones than there are, halves and negative ones among it."""
    with pytest.raises(LastgoodError) as caught:
        reading_of({"candidate": arm, "stable": {"bad": 0, "total": 0}}, counts=True)
    assert caught.value.code is Code.INVALID


def test_counts_are_whole_numbers_however_they_are_written() -> None:
    """A sum in a database is a decimal."""
    answer = {"candidate": {"bad": Decimal(3), "total": 4.0}, "stable": {"bad": 0, "total": 9, "more": 1}}
    assert reading_of(answer, counts=True) == Counts(Tally(3, 4), Tally(0, 9))
    assert reading_of({"candidate": None, "stable": None}, counts=True) is None


def test_names_are_put_in_safely() -> None:
    """URL-encoded in a URL; escaped in a query, whose own braces stay."""
    assert in_url("http://h/{model}?l={candidate.label}&s={stable.version}", CONTEXT) == (
        "http://h/churn?l=v1.1%20%22x%22&s="
    )
    assert in_query('x{v="{candidate.label}",a="b"} - {release} {c}', CONTEXT) == (
        'x{v="v1.1 \\"x\\"",a="b"} - 7 {c}'
    )
    assert unknown_names("{a} {candidate.x} {since}", SourceKind.HTTP) == ["a", "candidate.x"]
    assert unknown_names("{a} {candidate.x} {since}", SourceKind.PROMETHEUS) == ["candidate.x"]


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("{http: 'http://localhost:8080/x'}", True),
        ("{http: 'http://metrics.example.org/x'}", False),
        ("{http: 'http://Named.Example.org./x'}", True),
        ("{http: env:METRICS}", True),
        ("{http: 'file:metrics.url'}", True),
        ("{http: 'file:../metrics.url'}", False),
        ("{python: complaints}", True),
        ("{python: 'shop.metrics:complaints'}", False),
        ("{prometheus: up, url: 'http://prometheus:9090'}", False),
        ("{prometheus: up, url: 'http://127.0.0.1:9090'}", True),
        ("{sql: SELECT 1, url: 'sqlite:///shop.db'}", True),
        ("{sql: SELECT 1, url: 'sqlite:////etc/shop.db'}", False),
        ("{sql: SELECT 1, url: 'sqlite:///../shop.db'}", False),
        ("{sql: SELECT 1, url: 'sqlite:///.lastgood/store.db'}", False),
        ("{sql: SELECT 1, url: 'sqlite:///data/../.lastgood/store.db'}", False),
        ("{sql: SELECT 1, url: 'postgresql://localhost/shop'}", True),
        ("{sql: SELECT 1, url: 'postgresql://localhost/shop?host=evil.example.org'}", False),
        ("{sql: SELECT 1, url: 'postgresql://localhost/shop#?host=evil.example.org'}", False),
        ("{sql: SELECT 1, url: 'postgresql://evil.example.org/shop'}", False),
        ("{sql: SELECT 1, url: 'postgresql://named.example.org,evil.example.org/shop'}", False),
        ("{sql: SELECT 1, url: 'postgresql://[::1]:5432/shop'}", True),
        ("{sql: SELECT 1, url: 'postgresql:///shop'}", True),
        ("{http: 'http://[::ffff:10.0.0.1]/x'}", False),
        ("{http: 'http://2130706433/x'}", False),
        ("{http: 'http://0.0.0.0/x'}", False),
    ],
)
def test_a_plan_asks_this_machine_and_what_the_settings_name(source: str, allowed: bool) -> None:
    """Anybody else only where the operator lets plans run programs."""
    found = plan(f"{{metric: custom, source: {source}, max: 1}}")
    settings = Settings(home="/srv/shop/.lastgood", metric_hosts=("named.example.org",))
    check_metrics(found, msgspec.structs.replace(settings, trust_plan_commands=True))
    if allowed:
        check_metrics(found, settings)
        return
    with pytest.raises(LastgoodError) as caught:
        check_metrics(found, settings)
    assert caught.value.code is Code.UNTRUSTED


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1:5432/@evil.example.org/shop",
        "postgresql://127.0.0.1#@evil.example.org/shop",
        "postgresql://localhost?@evil.example.org/shop",
    ],
)
def test_a_database_is_where_its_driver_reads_it(url: str) -> None:
    """A URL whose host is this machine's for one reader and another one for the driver leads nowhere."""
    with pytest.raises(LastgoodError) as caught:
        check_url(SourceKind.SQL, url, Settings(home="/srv/shop/.lastgood"))
    assert "'evil.example.org'" in caught.value.message


def test_the_end_of_a_password_is_no_host_to_tell_of() -> None:
    """A password with an '@' that is not encoded makes no URL, and is not shown."""
    with pytest.raises(LastgoodError) as caught:
        check_url(
            SourceKind.SQL, "postgresql://ada:s3@cr3t@localhost/x", Settings(home="/srv/shop/.lastgood")
        )
    assert caught.value.code is Code.INVALID
    assert "cr3t" not in f"{caught.value.message} {caught.value.next_step}"


def test_rows_become_answers() -> None:
    """One value, both arms beside each other, or counts by arm or version."""
    assert answer_of(["rate"], [], CONTEXT, counts=False) is None
    assert answer_of(["rate"], [(0.5,)], CONTEXT, counts=False) == 0.5
    assert answer_of(["candidate", "stable"], [(1, 2)], CONTEXT, counts=False) == {
        "candidate": 1,
        "stable": 2,
    }
    rows: list[tuple[Any, ...]] = [("2", 1, 5), (None, 1, 1), ("x", 1, 1)]
    found = answer_of(["version", "bad", "total"], rows, CONTEXT, counts=True)
    assert found["candidate"] == {"bad": 1, "total": 5}
    assert answer_of(["arm", "bad", "total"], [("x", 1, 1)], CONTEXT, counts=True) is None
    for columns, wrong in (
        (["a", "b"], [(1, 2)]),
        (["a"], [(1,), (2,)]),
    ):
        with pytest.raises(LastgoodError):
            answer_of(columns, wrong, CONTEXT, counts=False)
    for columns, wrong in (
        (["arm", "bad"], [("stable", 1)]),
        (["arm", "bad", "total"], [("stable", 1, 2)] * 2),
    ):
        with pytest.raises(LastgoodError):
            answer_of(columns, wrong, CONTEXT, counts=True)


COUNTED = plan(f"{{metric: custom, name: x, {HTTP}, compare: counts, min_samples: 1}}")


def counted(*readings: tuple[int, int, int, int] | None) -> CustomState:
    record: dict[str, CustomState] = {}
    for number, one in enumerate(readings, 1):
        reading = None if one is None else Counts(Tally(one[1], one[0]), Tally(one[3], one[2]))
        measurement = Measurement(guardrail="x", number=number, at=60.0 * number, reading=reading)
        record = custom_state.with_measurement(COUNTED, record, measurement, stage=0)
    return record["x"]


def test_counts_become_the_same_trials_however_often_they_are_asked_for() -> None:
    """Cumulative counts count once; a measurement that fails in between loses nothing."""
    often = counted((20, 1, 80, 1), (40, 1, 160, 2), None, (60, 3, 240, 2))
    once = counted(None, None, (60, 3, 240, 2))
    assert often.total == once.total
    assert often.compared == once.compared == 60


def test_few_counts_are_gathered_before_they_are_trials() -> None:
    """Nothing is compared before there are some of both arms."""
    assert counted((5, 1, 0, 0)).compared == 0
    assert counted((5, 1, 0, 0), (10, 1, 5, 0)).compared == 0
    assert counted((5, 1, 0, 0), (10, 1, 5, 0), (12, 1, 9, 0)).compared == 12


def test_evidence_survives_the_store_bit_for_bit() -> None:
    """States read back from JSON give the same record and findings as those in memory."""
    whole, stored = Evidence(release=7), Evidence(release=7)
    for sequence, (total, bad) in enumerate(((100, 3), (200, 9), (300, 30)), 1):
        reading = Counts(Tally(bad, total), Tally(total // 50, 4 * total))
        stratum = Stratum(
            release=7,
            sequence=sequence,
            stage=0,
            closed_at=float(sequence),
            candidate=ArmCounts(),
            stable=ArmCounts(),
            custom=Measurement(guardrail="x", number=sequence, at=float(sequence), reading=reading),
        )
        whole = fold(COUNTED, Baseline(), whole, (stratum,))
        again = msgspec.json.decode(msgspec.json.encode(stratum), type=Stratum)
        stored = fold(COUNTED, Baseline(), stored, (again,))
        stored = msgspec.json.decode(msgspec.json.encode(stored), type=Evidence)
    assert read(stored.states) == read(whole.states)
    assert isinstance(read(whole.states), Record)
    found = judge(COUNTED, Baseline(), stored, misses=0)[-1]
    assert found == judge(COUNTED, Baseline(), whole, misses=0)[-1]
    assert found.verdict is Verdict.FAILED


def test_nothing_is_passed_before_anything_was_measured() -> None:
    """Neither kind passes on silence."""
    both = plan(
        f"{{metric: custom, name: a, {HTTP}, max: 1}}",
        f"{{metric: custom, name: b, {HTTP}, compare: counts}}",
    )
    for told in (True, False):
        found = judge(both, Baseline(), Evidence(release=1), misses=0, told=told)
        assert [one.verdict for one in found[1:]] == [Verdict.INCONCLUSIVE] * 2
        assert all("not measured yet" in one.sentence for one in found[1:])


def test_every_metric_of_a_plan_is_read_by_somebody() -> None:
    """A custom guardrail has terms, and only that."""
    assert all((one.custom is not None) == (one.metric is Metric.CUSTOM) for one in COUNTED.guardrails)


def test_the_plans_of_the_page_are_accepted() -> None:
    """Whoever copies one has a plan, and each kind of source has one."""
    page = (Path(__file__).parents[2] / "docs" / "custom-metrics.md").read_text(encoding="utf-8")
    found = [parse_plan(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    kinds = {one.custom.kind for each in found for one in each.guardrails if one.custom is not None}
    assert kinds == set(SourceKind)
