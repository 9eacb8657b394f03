"""The watch in the evidence: what a minute counts, what alarms, what latencies do not say, and what is told of it."""

from typing import Any

import msgspec
import pytest

from lastgood.analysis import changes, kpi_watch
from lastgood.analysis.budget import watch_minutes
from lastgood.analysis.fold import fold
from lastgood.analysis.judge import judge
from lastgood.analysis.record import Record, read
from lastgood.analysis.trials import Trials
from lastgood.cli.watch_words import going_back
from lastgood.domain.change import Evidence
from lastgood.domain.kpi import Kpi, KpiCounts, Labels, Pairs
from lastgood.domain.plan import OnFail, Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum, Units
from lastgood.domain.verdict import Finding, Verdict

QUICK, SLOW = {264: 90, 270: 10}, {264: 45, 320: 55}
BASELINE = Baseline(latency={264: 1800, 270: 200})


def plan(*guardrails: str, more: str = "") -> Plan:
    return parse_plan(
        f"steps: [{{weight: 20%, for: 1s}}]\nguardrails: [{', '.join(guardrails)}]\nwatch: 1d\n"
        f"watch_run_length: 1d\n{more}"
    )


def arm(requests: int, errors: int = 0, latency: dict[int, int] | None = None) -> ArmCounts:
    return ArmCounts(requests=requests, errors=errors, latency=latency or {})


class Watching:
    """Folds strata of the watch, each in a minute of its own unless said otherwise."""

    def __init__(self, used: Plan, baseline: Baseline = BASELINE) -> None:
        self.plan, self.baseline = used, baseline
        self.evidence = Evidence(release=1)
        self._minute = 0

    def add(self, candidate: ArmCounts, stable: ArmCounts, *, minutes: int = 1, **given: Any) -> None:
        self._minute += minutes
        stratum = Stratum(
            release=1,
            sequence=self.evidence.sequence + 1,
            stage=given.pop("stage", self.plan.pair_stage),
            closed_at=60.0 * self._minute,
            candidate=candidate,
            stable=stable,
            **given,
        )
        self.evidence = fold(self.plan, self.baseline, self.evidence, (stratum,))

    def label(self, stage: int, *, own: tuple[int, int] = (0, 0), **given: Any) -> None:
        """Add labelled rows: the candidate's rows and wrong ones, and more of :class:`Kpi`."""
        name = self.plan.guardrails[-1].name
        counts = KpiCounts(rows=own[0], trials=own[0], bad=own[1])
        kpi = Kpi(candidate=counts, **({"pairs": Pairs()} if stage >= self.plan.watch_stage else {}))
        labels = Labels(kpis={name: msgspec.structs.replace(kpi, **given)})
        self.add(ArmCounts(), ArmCounts(), stage=stage, labels=labels)

    @property
    def record(self) -> Record:
        return read(self.evidence.states)

    def finding(self, *, told: bool = True) -> Finding:
        found = judge(self.plan, self.baseline, self.evidence, misses=0, told=told, intervals=False)
        return found[-1]


def test_the_run_length_is_shared_by_what_is_watched() -> None:
    """A day for all: each of three detectors has three days; what is on a dry run is beside them."""
    used = plan(
        "{metric: errors}",
        "{metric: recall, positive: 1}",
        "{metric: mean, range: [0, 1], margin: 0.1}",
        "{metric: timeouts, dry_run: true}",
    )
    assert watch_minutes(used) == {"errors": 4320.0, "recall": 4320.0, "timeouts": 1440.0}


def test_a_minute_counts_when_it_is_over() -> None:
    """Strata of one minute are added up; the next one closes it, and a detector has then seen one period."""
    seen = Watching(plan("{metric: errors}"))
    for _ in range(3):
        seen.add(arm(40, 1), arm(40, 1), minutes=0)
    part = seen.record.watch.guardrails["errors"]  # type: ignore[union-attr]
    assert (part.open, part.change.state.periods) == (Trials(120, 3, 120, 3), 0)
    seen.add(arm(40, 2), arm(40, 1))
    part = seen.record.watch.guardrails["errors"]  # type: ignore[union-attr]
    assert (part.open, part.change.state.periods) == (Trials(40, 2, 40, 1), 1)
    assert part.trials == Trials(160, 5, 160, 4)
    expected = changes.with_minute(
        changes.change(seen.plan.guardrails[-1].margin, 1440.0), Trials(120, 3, 120, 3)
    )
    assert part.change == expected


@pytest.mark.parametrize("margin", ["1.2", "2pp"])
def test_errors_beside_good_copies_fail_the_guardrail(margin: str) -> None:
    """With the words, the numbers and what the plan says; the comparison of the steps stays as it was."""
    seen = Watching(plan(f"{{metric: errors, margin: {margin}, on_fail: hold}}"))
    seen.add(arm(60, 1), arm(240, 4), stage=0)
    steps = seen.record.comparisons
    for _ in range(6):
        seen.add(arm(50, 12), arm(50, 1))
    assert seen.record.comparisons == steps
    found = seen.finding()
    assert (found.verdict, found.on_fail, found.world) == (Verdict.FAILED, OnFail.HOLD, False)
    assert "in the watch 24.0 % against 2.0 %, 72 of 300 against 6 of 300" in found.sentence
    assert "so it has become worse: hold." in found.sentence
    assert found.numbers["helps"]["verdict"] == "yes"
    assert found.numbers["watch"]["candidate"] == {"requests": 300, "bad": 72, "rate": 0.24}
    wordless = seen.finding(told=False)
    assert (wordless.verdict, wordless.on_fail, wordless.world) == (found.verdict, found.on_fail, False)


@pytest.mark.parametrize("more", ["objective: 100ms", "quantiles: [p50, p90]", "compare: distribution"])
def test_a_version_before_with_little_to_do_convicts_nobody_by_its_latencies(more: str) -> None:
    """It answers copies alone, so it is quicker: nothing follows, nothing is said of it, and no run length is spent."""
    seen = Watching(plan("{metric: errors}", f"{{metric: latency, {more}}}"))
    seen.add(arm(100, latency=SLOW), arm(400, latency=SLOW), stage=0)
    for _ in range(8):
        seen.add(arm(100, latency=SLOW), arm(100, latency=QUICK))
    assert watch_minutes(seen.plan) == {"errors": 1440.0}
    assert set(seen.record.watch.guardrails) == {"errors"}  # type: ignore[union-attr]
    found = seen.finding()
    assert found.verdict is not Verdict.FAILED
    assert "watch" not in found.sentence
    assert {"watch", "helps"}.isdisjoint(found.numbers)
    assert found.numbers["stable_seconds"] == found.numbers["candidate_seconds"]


def test_a_hard_limit_of_latencies_stays_in_the_watch() -> None:
    """It rolls back beside quick copies, and holds where the version before is over it with little to do."""
    for before, follows in ((QUICK, OnFail.ROLLBACK), (SLOW, OnFail.HOLD)):
        seen = Watching(plan("{metric: latency, quantile: p95, max: 500ms}"))
        seen.add(arm(100, latency=QUICK), arm(400, latency=QUICK), stage=0)
        for _ in range(8):
            seen.add(arm(100, latency=SLOW), arm(100, latency=before))
        found = seen.finding()
        assert (found.verdict, found.on_fail) == (Verdict.FAILED, follows)
        assert found.world is (follows is OnFail.HOLD)


SHADOWED = "steps: [{shadow: 10%, for: 1s}, {weight: 20%, for: 1s}]\nguardrails: [{metric: latency, min_samples: 50, "


def test_latencies_of_copies_let_nothing_pass() -> None:
    """A candidate with copies alone has little to do: a limit, a comparison and a proof wait for requests of callers."""
    for more in ("quantile: p95, max: 500ms", "objective: 100ms", "compare: distribution"):
        proven = "" if "max" in more else "promote_when: proven\n"
        seen = Watching(parse_plan(f"{SHADOWED}{more}}}]\n{proven}"))
        for _ in range(20):
            seen.add(arm(200, latency={264: 200}), arm(200, latency=QUICK), stage=0)
        found = seen.finding()
        assert (found.verdict, bool(found.proven)) == (Verdict.INCONCLUSIVE, False)
        assert "50 more candidate requests are needed, of callers: copies meet a host" in found.sentence
        assert found.numbers["missing"] == 50
        seen.add(arm(60, latency=QUICK), arm(240, latency=QUICK), stage=1)
        assert seen.finding().verdict is Verdict.PASSED


def test_copies_that_are_slow_even_so_fail_the_candidate() -> None:
    """By the limit and by the comparison, before any caller has to wait."""
    for more in ("quantile: p95, max: 500ms}]", "objective: 100ms}]"):
        seen = Watching(parse_plan(f"{SHADOWED}{more}"))
        for _ in range(8):
            seen.add(arm(100, latency=SLOW), arm(100, latency=QUICK), stage=0)
        assert seen.finding().verdict is Verdict.FAILED


def test_quick_copies_do_not_hide_slow_requests_from_a_limit() -> None:
    """Ten thousand quick copies and a hundred slow requests: the limit is about the requests of callers."""
    seen = Watching(parse_plan(f"{SHADOWED}quantile: p95, max: 500ms}}]"))
    seen.add(arm(10_000, latency={264: 10_000}), arm(10_000, latency=QUICK), stage=0)
    seen.add(arm(100, latency=SLOW), arm(400, latency=QUICK), stage=1)
    found = seen.finding()
    assert found.verdict is Verdict.FAILED
    assert (
        "latency: 100 candidate requests measured; 95 % took up to 1.07 s, over the maximum" in found.sentence
    )
    assert found.numbers["candidate_seconds"] > 1.0


def test_hosts_count_a_minute_once() -> None:
    """With hosts as units a minute is one trial of each arm, however many requests it had."""
    seen = Watching(plan("{metric: errors}"), Baseline(units=Units.HOSTS))
    for minute in range(40):
        seen.add(arm(100, 30 if minute else 0), arm(100, 1))
    part = seen.record.watch.guardrails["errors"]  # type: ignore[union-attr]
    assert part.trials.n1 == 4000
    assert part.hosts.units == Trials(38, 38, 38, 0)
    assert 5 <= part.change.state.periods <= 38
    assert seen.finding().verdict is Verdict.FAILED


def test_old_plans_and_old_strata_have_no_watch() -> None:
    """Rows of the watch that say nothing of pairs leave the very states that they left before."""
    seen = Watching(plan("{metric: recall, positive: 1}"))
    seen.label(0, own=(300, 30))
    for _ in range(50):
        seen.label(1, own=(40, 30), pairs=msgspec.UNSET)
    state = seen.record.labels.states["recall"]  # type: ignore[union-attr]
    assert state.watch is msgspec.UNSET
    assert state.open[1].candidate.trials == 2000
    assert {"watch", "helps", "pairs"}.isdisjoint(seen.finding().numbers)


def test_a_fall_against_the_steps_alone_holds_and_blames_nobody() -> None:
    """Without pairs nobody knows whether going back would help: an alert stays an alert, a rollback becomes a hold."""
    for on_fail, follows in (("rollback", OnFail.HOLD), ("hold", OnFail.HOLD), ("alert", OnFail.ALERT)):
        seen = Watching(plan(f"{{metric: recall, positive: 1, on_fail: {on_fail}}}"))
        seen.label(0, own=(400, 40))
        for _ in range(30):
            seen.label(1, own=(40, 16))
        found = seen.finding()
        assert (found.verdict, found.on_fail, found.world) == (Verdict.FAILED, follows, True)
        assert "in the watch 60.0 % against 90.0 % in the steps" in found.sentence
        assert found.numbers["helps"] == {
            "verdict": "unknown",
            "pairs": 0,
            "differ": 0,
            "candidate_wrong": None,
            "stable_wrong": None,
        }


@pytest.mark.parametrize(("only1", "only0", "said"), [(2, 2, "no"), (0, 4, "no"), (3, 1, "hardly")])
def test_what_is_no_help_is_said_in_true_words(only1: int, only0: int, said: str) -> None:
    """A version before that does as badly or worse does no better; one that wins back little does hardly better."""
    seen = Watching(plan("{metric: recall, positive: 1, margin: 4, min_samples: 1}"))
    seen.label(0, own=(400, 40))
    for _ in range(30):
        both, pairs = 28, Pairs(pairs=40, only1=only1, only0=only0, both=28)
        other = KpiCounts(rows=40, trials=40, bad=both + only0)
        seen.label(seen.plan.pair_stage, own=(40, both + only1), stable=other, pairs=pairs)
    found = seen.finding()
    assert (found.verdict, found.world) == (Verdict.FAILED, True)
    assert f"the version before does {said} better on the same requests" in found.sentence
    assert going_back(msgspec.to_builtins(found)).startswith(f"no: it does {said} better; wrong there: ")


def test_the_reference_has_an_allowance_and_shrinks_with_the_rows() -> None:
    """Above the rate of the steps by what so few rows may be wrong by, then by odds of 1.2 or the margin."""
    guardrail = plan("{metric: recall, positive: 1}").guardrails[-1]
    wide = plan("{metric: recall, positive: 1, margin: 10pp}").guardrails[-1]
    assert kpi_watch.reference(guardrail, Trials(n1=99, bad1=9)) is None
    few = kpi_watch.reference(guardrail, Trials(n1=100, bad1=10))
    many = kpi_watch.reference(guardrail, Trials(n1=100_000, bad1=10_000))
    assert few is not None
    assert many is not None
    assert 0.19 < few < 0.22
    assert 0.117 < many < 0.121
    assert kpi_watch.reference(wide, Trials(n1=100_000, bad1=10_000)) == pytest.approx(0.2, abs=0.003)
    assert 0.0 < (kpi_watch.reference(guardrail, Trials(n1=500)) or 0.0) < 0.02


def test_a_state_of_the_watch_survives_json() -> None:
    """What the store gives back is what was stored, and folds on bit for bit."""
    used = plan("{metric: errors, margin: 1pp}", "{metric: latency, compare: distribution}")
    seen = Watching(used)
    for _ in range(4):
        seen.add(arm(60, 2, QUICK), arm(60, 1, QUICK))
    stored = read(msgspec.json.decode(msgspec.json.encode(seen.record)))
    assert stored == seen.record
    again = msgspec.structs.replace(seen.evidence, states=stored)
    seen.add(arm(60, 9, SLOW), arm(60, 1, QUICK))
    stratum = Stratum(
        release=1,
        sequence=again.sequence + 1,
        stage=used.pair_stage,
        closed_at=seen.record.closed_at,
        candidate=arm(60, 9, SLOW),
        stable=arm(60, 1, QUICK),
    )
    assert fold(used, BASELINE, again, (stratum,)).states == seen.record
    assert seen.record.watch.guardrails["errors"].trials.n1 == 300  # type: ignore[union-attr]
