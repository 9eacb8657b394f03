"""Custom metrics on the fake clock: numbers and counts from outside, silence, errors, restarts, and what is kept."""

import io
import random
from typing import Any

import msgspec
import pytest
from rich.console import Console
from world import World

from lastgood.analysis.course import course
from lastgood.cli.evidence import evidence_lines
from lastgood.cli.output import shown
from lastgood.control.custom import AT_ONCE, CustomMetrics
from lastgood.domain.custom import Numbers
from lastgood.domain.plan import Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.release import Phase, Release
from lastgood.domain.traffic import ArmCounts, Baseline, Stratum
from lastgood.errors import Code, LastgoodError

STEPS = "steps: [{weight: 20%, for: 10m}, {weight: 50%, for: 1h}]"
RATE = "{metric: custom, name: complaints, source: {python: complaints}, max: 0.05, every: 1m, failures: 3}"
COUNTED = (
    "{metric: custom, name: refunds, source: {python: refunds}, compare: counts, every: 1m, min_samples: 100, "
    "share: 50%}"
)
AWAY = LastgoodError(Code.UNAVAILABLE, "http://127.0.0.1:9 could not be asked.", "See that it runs.")


def plan(*guardrails: str) -> Plan:
    listed = ", ".join(("{metric: errors}", *guardrails))
    return parse_plan(f"strategy: canary\n{STEPS}\nguardrails: [{listed}]\ndeadline: 9h\nwatch: 1h")


@pytest.fixture
def world() -> World:
    """A deployment that serves v1.0, with v1.1 registered."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    return made


def begun(world: World, *guardrails: str) -> Release:
    release = world.start("v1.1", plan=plan(*guardrails))
    world.turn(1.0)
    return release


def served(world: World, release: Release, seconds: float = 60.0) -> None:
    """Let a minute pass in which both arms answer."""
    now = world.release(release.id)
    if now.phase is Phase.PROGRESSING:
        world.reports.feed(release.id, now.plan.stage_at(now.step), (40, 0), (160, 0))
    world.turn(seconds)
    world.turn()


def finding(world: World, release: Release) -> dict[str, Any]:
    return world.views.release(release.id, intervals=True).findings[-1]


def test_a_number_over_its_maximum_rolls_back_after_so_many_in_a_row(world: World) -> None:
    """Two breaches and a good value are none; three in a row go back, on numbers that can be computed again."""
    world.metrics.answers["complaints"] = 0.01
    release = begun(world, RATE)
    for answer in (0.2, 0.2, 0.01, 0.2, {"candidate": 0.2, "stable": 0.01}):
        world.metrics.answers["complaints"] = answer
        served(world, release)
        assert world.release(release.id).phase is Phase.PROGRESSING
    assert "in 2 measurements in a row, bound 3" in finding(world, release)["sentence"]
    served(world, release)
    world.turn(1.0)
    over = world.release(release.id)
    assert over.phase is Phase.ROLLED_BACK
    assert over.evidence["guardrail"] == "complaints"
    assert (over.evidence["value"], over.evidence["stable_value"], over.evidence["breaches"]) == (
        0.2,
        0.01,
        3,
    )
    assert world.hindsight.recompute(release.id).findings


def test_a_good_number_promotes_and_names_the_release_that_it_is_about(world: World) -> None:
    """It passes on measurements, asked for about candidate and stable since the traffic began."""
    world.metrics.answers["complaints"] = 0.01
    release = begun(world, RATE)
    for _ in range(75):
        served(world, release)
    assert world.release(release.id).phase is Phase.WATCHING
    subject = world.metrics.asked[-1]
    assert (subject.candidate_label, subject.stable_label) == ("v1.1", "v1.0")
    assert subject.since == world.release(release.id).traffic_since
    assert 60 <= len(world.metrics.asked) <= 85


@pytest.mark.parametrize(
    ("no_data", "phase"),
    [("hold", Phase.PROGRESSING), ("fail", Phase.ROLLED_BACK), ("ignore", Phase.WATCHING)],
)
def test_without_data_follows_what_the_plan_says(world: World, no_data: str, phase: Phase) -> None:
    """No data is never a pass: it holds, fails or is not waited for."""
    world.metrics.answers["complaints"] = None
    release = begun(
        world, RATE.replace("}", "}", 1).replace("failures: 3", f"failures: 3, no_data: {no_data}")
    )
    for _ in range(75):
        served(world, release)
    world.turn(1.0)
    assert world.release(release.id).phase is phase


def test_errors_keep_the_last_verdict_until_there_are_enough_of_them(world: World) -> None:
    """Two leave it passed, the third makes it an error, which stands in the way even with 'no_data: ignore'."""
    world.metrics.answers["complaints"] = 0.01
    release = begun(world, RATE.replace("failures: 3", "failures: 3, no_data: ignore"))
    world.metrics.answers["complaints"] = AWAY
    verdicts = []
    for _ in range(4):
        served(world, release)
        verdicts.append(finding(world, release)["verdict"])
    assert verdicts == ["passed", "passed", "error", "error"]
    assert "could not be measured 4 times in a row: http://127.0.0.1:9" in finding(world, release)["sentence"]
    for _ in range(75):
        served(world, release)
    assert world.release(release.id).phase is Phase.PROGRESSING
    world.metrics.answers["complaints"] = 0.01
    served(world, release)
    served(world, release)
    assert world.release(release.id).phase is Phase.WATCHING


def test_silence_after_values_is_no_pass_either(world: World) -> None:
    """What was measured long ago says nothing of today."""
    world.metrics.answers["complaints"] = 0.01
    release = begun(world, RATE)
    world.metrics.answers["complaints"] = None
    for _ in range(3):
        served(world, release)
    assert finding(world, release)["verdict"] == "inconclusive"
    assert finding(world, release)["no_data"] == "hold"


class Orders:
    """Counts since the beginning, seeded: of each minute 40 of the candidate and 160 of stable."""

    def __init__(self, world: World, rate: float) -> None:
        self._world, self._rate = world, rate
        self._chance = random.Random(3)
        self.sums = {"candidate": {"bad": 0, "total": 0}, "stable": {"bad": 0, "total": 0}}
        self.told()

    def come(self) -> None:
        for arm, total, rate in (("candidate", 40, self._rate), ("stable", 160, 0.02)):
            self.sums[arm]["total"] += total
            self.sums[arm]["bad"] += sum(self._chance.random() < rate for _ in range(total))
        self.told()

    def told(self) -> None:
        self._world.metrics.answers["refunds"] = msgspec.json.decode(msgspec.json.encode(self.sums))


def test_counts_convict_with_evidence(world: World) -> None:
    """A candidate with six times as many refunds goes back on a bet that reached its bound, and it can be recomputed."""
    orders = Orders(world, rate=0.12)
    release = begun(world, COUNTED)
    for _ in range(60):
        orders.come()
        served(world, release)
        if world.release(release.id).phase is not Phase.PROGRESSING:
            break
    world.turn(1.0)
    over = world.release(release.id)
    assert over.phase is Phase.ROLLED_BACK
    assert over.evidence["guardrail"] == "refunds"
    assert over.evidence["e_value"] >= over.evidence["bound"] == pytest.approx(200.0)
    assert over.evidence["candidate"]["requests"] == orders.sums["candidate"]["total"]
    assert world.hindsight.recompute(release.id).findings


def test_like_counts_promote(world: World) -> None:
    """All of them are trials, and the candidate is no worse."""
    orders = Orders(world, rate=0.02)
    release = begun(world, COUNTED)
    for _ in range(75):
        orders.come()
        served(world, release)
    assert world.release(release.id).phase is Phase.WATCHING


def test_what_spans_a_change_of_the_split_is_left_out(world: World) -> None:
    """The counts of an interval in which the weight changed are no trials, and those after it are."""
    orders = Orders(world, rate=0.02)
    release = begun(world, COUNTED.replace("every: 1m", "every: 7m"))
    for _ in range(26):
        orders.come()
        served(world, release)
    numbers = finding(world, release)["numbers"]
    assert numbers["left_out"] == 120
    assert numbers["compared_requests"] + numbers["left_out"] == numbers["measured"] > 400


def test_counts_that_fall_are_an_error_until_a_person_promotes(world: World) -> None:
    """Somebody deleted rows: nothing is compared any more, also when the counts grow again."""
    orders = Orders(world, rate=0.02)
    release = begun(world, COUNTED)
    for _ in range(5):
        orders.come()
        served(world, release)
    before = finding(world, release)["numbers"]["measured"]
    orders.sums["stable"]["total"] -= 100
    orders.told()
    served(world, release)
    for _ in range(5):
        orders.come()
        served(world, release)
    found = finding(world, release)
    assert found["verdict"] == "error"
    assert "stable's total went down" in found["sentence"]
    assert found["numbers"]["measured"] == before


def test_more_bad_ones_than_trials_wait_for_their_trials(world: World) -> None:
    """A refund that is known later than its order is never a trial of its own."""
    orders = Orders(world, rate=0.02)
    release = begun(world, COUNTED)
    orders.come()
    served(world, release)
    compared = finding(world, release)["numbers"]["compared_requests"]
    orders.sums["candidate"]["bad"] += 3
    orders.told()
    served(world, release)
    assert finding(world, release)["numbers"]["compared_requests"] == compared
    orders.come()
    served(world, release)
    assert finding(world, release)["numbers"]["compared_requests"] == compared + 40


def test_a_new_controller_goes_on_from_what_the_evidence_holds(world: World) -> None:
    """Breaches in a row survive a restart, and nothing is measured twice for one minute."""
    world.metrics.answers["complaints"] = 0.2
    release = begun(world, RATE)
    served(world, release)
    asked = len(world.metrics.asked)
    world.restart()
    world.turn(1.0)
    assert len(world.metrics.asked) == asked
    served(world, release)
    world.turn(1.0)
    assert world.release(release.id).phase is Phase.ROLLED_BACK


def test_the_watch_goes_on_measuring(world: World) -> None:
    """After the promotion a number out of bounds still goes back."""
    world.metrics.answers["complaints"] = 0.01
    release = begun(world, RATE)
    for _ in range(75):
        served(world, release)
    assert world.release(release.id).phase is Phase.WATCHING
    world.metrics.answers["complaints"] = 0.3
    for _ in range(4):
        served(world, release)
    assert world.release(release.id).phase is Phase.ROLLED_BACK


def test_recorded_measurements_are_replayed(world: World) -> None:
    """Another bound is tried on what was measured; a metric that nobody measured is told."""
    world.metrics.answers["complaints"] = 0.04
    release = begun(world, RATE)
    for _ in range(5):
        served(world, release)
    strata = list(world.evidence.strata(release.id))
    recorded = world.release(release.id).plan
    other = plan(RATE.replace("max: 0.05", "max: 0.03"), RATE.replace("complaints", "returns"))
    found = course(other, release.baseline, strata, release=release.id, recorded=recorded)
    assert found.rolled_back
    assert found.turns[-1].guardrail == "complaints"
    assert "returns" in found.not_replayed


def test_a_table_of_outcomes_measured_nothing_outside() -> None:
    """A replay without measurements says so, and nothing follows."""
    tried = plan(RATE)
    counts = ArmCounts(requests=500)
    stratum = Stratum(release=0, sequence=1, stage=0, closed_at=1.0, candidate=counts, stable=counts)
    found = course(tried, Baseline(), [stratum], release=0, recorded=tried)
    assert found.not_replayed["complaints"] == "nothing was measured outside"
    assert not found.turns


def test_counts_are_asked_for_once_there_is_traffic(world: World) -> None:
    """In a shadow step the candidate answers nobody, so there is nothing to count; a number may be looked at."""
    world.metrics.answers["complaints"] = 0.01
    orders = Orders(world, rate=0.02)
    shadowed = plan(RATE, COUNTED)
    steps = parse_plan("steps: [{shadow: 10%, for: 5m}, {weight: 20%, for: 10m}]").steps
    release = world.start("v1.1", plan=msgspec.structs.replace(shadowed, steps=steps))
    world.turn(1.0)
    for _ in range(3):
        orders.come()
        served(world, release)
    assert world.release(release.id).phase is Phase.SHADOWING
    complaints, refunds = world.views.release(release.id).findings[-2:]
    assert (complaints["numbers"]["measurements"], refunds["numbers"]["measurements"]) == (4, 0)
    for _ in range(6):
        world.turn(60.0)
        orders.come()
    assert world.release(release.id).phase is Phase.PROGRESSING
    assert finding(world, release)["numbers"]["measurements"] > 0
    assert {one.since for one in world.metrics.asked[-2:]} == {world.release(release.id).traffic_since}


def test_counts_are_held_against_their_limit_where_all_traffic_moves_at_once(world: World) -> None:
    """Without any step the watch asks, and 'max' alone goes back."""
    orders = Orders(world, rate=0.5)
    guardrail = COUNTED.replace("share: 50%", "max: 10%")
    release = world.start(
        "v1.1", plan=parse_plan(f"strategy: all_at_once\nguardrails: [{guardrail}]\nwatch: 1h")
    )
    for _ in range(8):
        orders.come()
        served(world, release)
    assert world.release(release.id).phase is Phase.ROLLED_BACK
    assert "over the maximum of 10.0 %" in world.release(release.id).reason


def test_evidence_of_both_kinds_is_told_to_people(world: World) -> None:
    """What a number rests on is one sentence; counts show both arms and the bet."""
    orders = Orders(world, rate=0.02)
    world.metrics.answers["complaints"] = 0.01
    release = begun(world, RATE, COUNTED)
    for _ in range(5):
        orders.come()
        served(world, release)
    console = Console(width=300, record=True, file=io.StringIO())
    for part in evidence_lines(msgspec.to_builtins(world.views.release(release.id, intervals=True))):
        console.print(shown(part))
    text = console.export_text()
    assert "0.01, within the maximum of 0.05: passed." in text
    assert "of being worse than 1.2 times stable's odds" in text


def test_at_most_so_many_are_asked_at_once_and_the_lost_are_told(world: World) -> None:
    """What never comes back is an error after its time-out, and holds up nobody else for ever."""
    begun_work: list[Any] = []
    clock = [0.0]
    names = [f"m{number}" for number in range(AT_ONCE + 1)]
    world.metrics.answers |= dict.fromkeys(names, 0.5)
    release = begun(
        world,
        *(
            f"{{metric: custom, name: {name}, source: {{python: {name}}}, max: 1, timeout: 5s}}"
            for name in names
        ),
    )
    custom = CustomMetrics(
        world.metrics, world.executor.version, begin=begun_work.append, clock=lambda: clock[0]
    )
    evidence = msgspec.structs.replace(world.evidence.evidence(release.id), states={}, sequence=0)
    for _ in range(3):
        assert custom.strata(release, evidence, sequence=0, now=1_000.0) == ()
    assert len(begun_work) == AT_ONCE
    clock[0] = 16.0
    later = msgspec.structs.replace(release, step=1)
    found = custom.strata(later, evidence, sequence=0, now=1_016.0)
    assert len(begun_work) == AT_ONCE + 1
    assert [one.custom.guardrail for one in found if one.custom] == names[:AT_ONCE]
    assert all("given up" in one.custom.error for one in found if one.custom)
    begun_work[-1]()
    last = custom.strata(later, evidence, sequence=0, now=1_016.0)[-1]
    assert last.custom
    assert (last.custom.guardrail, last.custom.reading, last.stage) == (names[-1], Numbers(0.5), 1)


def test_counts_that_were_under_way_as_the_split_changed_are_asked_for_anew(world: World) -> None:
    """Nobody can say under which split the last of them came, so they belong to neither step."""
    orders = Orders(world, rate=0.02)
    begun_work: list[Any] = []
    release = world.release(begun(world, COUNTED).id)
    custom = CustomMetrics(world.metrics, world.executor.version, begin=begun_work.append)
    evidence = msgspec.structs.replace(world.evidence.evidence(release.id), states={}, sequence=0)
    later = msgspec.structs.replace(release, step=1)
    assert custom.strata(release, evidence, sequence=0, now=1_000.0) == ()
    orders.come()
    begun_work.pop()()
    assert custom.strata(later, evidence, sequence=0, now=1_001.0) == ()
    begun_work.pop()()
    (only,) = custom.strata(later, evidence, sequence=0, now=1_002.0)
    assert only.custom
    assert (only.stage, only.custom.number, only.custom.at) == (1, 1, 1_001.0)


def test_who_waits_too_long_for_a_turn_was_not_measured(world: World) -> None:
    """What nobody has asked for is no pass: it is an error, and says for whom it waited."""
    clock = [0.0]
    slow = [
        f"{{metric: custom, name: s{number}, source: {{python: s}}, max: 1, timeout: 10m}}"
        for number in range(AT_ONCE)
    ]
    world.metrics.answers |= {"s": 0.5, "complaints": 0.01}
    release = begun(world, *slow, RATE)
    custom = CustomMetrics(
        world.metrics, world.executor.version, begin=lambda _work: None, clock=lambda: clock[0]
    )
    evidence = msgspec.structs.replace(world.evidence.evidence(release.id), states={}, sequence=0)
    for second in (0.0, 69.0):
        clock[0] = second
        assert custom.strata(release, evidence, sequence=0, now=1_000.0) == ()
    clock[0] = 71.0
    (only,) = custom.strata(release, evidence, sequence=0, now=1_000.0)
    assert only.custom
    assert only.custom.guardrail == "complaints"
    assert "waited" in only.custom.error
    assert custom.strata(release, evidence, sequence=0, now=1_000.0) == (only,)
