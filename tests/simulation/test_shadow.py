"""A candidate that answers copies, and the version before that answers them in the watch, on the fake clock."""

from collections import Counter

import msgspec
import pytest
from world import PLAN, Crash, World

from lastgood.cli.release_page import render
from lastgood.domain.plan import Step, StepKind
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.release import Phase
from lastgood.domain.route import Route
from lastgood.errors import Code, LastgoodError

SHADOW = Step(kind=StepKind.SHADOW, rate=1000, duration=10.0, samples=50)
STANDS = Step(kind=StepKind.SHADOW, rate=2500, duration=None)
COPIED = msgspec.structs.replace(PLAN, steps=(SHADOW, *PLAN.steps))
STANDING = msgspec.structs.replace(PLAN, steps=(STANDS, *PLAN.steps))


@pytest.fixture
def world() -> World:
    """A deployment that serves v1.0, with more versions registered."""
    made = World()
    made.register("v1.0", "v1.1")
    made.serve("v1.0")
    return made


def _route(world: World) -> Route:
    return world.router.page.routes[0]


def _phase(world: World, identifier: int) -> Phase:
    return world.release(identifier).phase


def test_a_good_candidate_answers_copies_before_it_gets_traffic(world: World) -> None:
    """In the shadow step the route has no candidate; then the plan goes on as it would without."""
    release = world.start("v1.1", plan=COPIED)
    world.turn()
    now = world.release(release.id)
    assert (now.phase, now.traffic_since) == (Phase.SHADOWING, None)
    route = _route(world)
    assert (route.candidate, route.weight, route.release) == (None, 0, None)
    assert route.shadow is not None
    assert (route.shadow.target.label, route.shadow.rate) == ("v1.1", 1000)
    assert (route.shadow.release, route.shadow.stage, route.shadow.arm) == (release.id, 0, "candidate")
    assert [target.label for target in route.targets()] == ["v1.0", "v1.1"]

    world.reports.feed(release.id, 0, (60, 0), (60, 0))
    world.turn(5.0)
    assert _phase(world, release.id) is Phase.SHADOWING, "its time is not over"
    world.turn(6.0)
    now = world.release(release.id)
    assert (now.phase, now.step, now.traffic_since) == (Phase.PROGRESSING, 1, world.clock)
    route = _route(world)
    assert (route.weight, route.release, route.stage, route.shadow) == (1000, release.id, 1, None)

    world.reports.feed(release.id, 1, (60, 0), (540, 0))
    world.turn(11.0)
    world.reports.feed(release.id, 2, (300, 0), (300, 0))
    world.turn(11.0)
    assert _phase(world, release.id) is Phase.WATCHING


def test_a_bad_candidate_is_rolled_back_without_any_traffic(world: World) -> None:
    """Pairs convict it like requests: it never stands in a route with a weight, and is tagged failed."""
    before = len(world.router.publications)
    release = world.start("v1.1", plan=COPIED)
    for _ in range(20):
        world.turn(1.0)
        if world.release(release.id).terminal:
            break
        world.reports.feed(release.id, 0, (20, 6), (20, 0))
    ended = world.release(release.id)
    assert (ended.phase, ended.traffic_since) == (Phase.ROLLED_BACK, None)
    assert ended.evidence["guardrail"] == "errors"
    routes = [one.routes[0] for one in world.router.publications[before:]]
    assert all(route.candidate is None and route.weight == 0 for route in routes)
    assert routes[-1].shadow is None
    with pytest.raises(LastgoodError, match="tagged failed"):
        world.start("v1.1", plan=COPIED)


def test_a_standing_shadow_stays_until_a_person_promotes_it(world: World) -> None:
    """No time, no pairs and no deadline end it; the deadline begins behind it."""
    release = world.start("v1.1", plan=STANDING)
    world.turn()
    for _ in range(5):
        world.reports.feed(release.id, 0, (500, 1), (500, 1))
        world.turn(5 * 86_400.0)
    assert _phase(world, release.id) is Phase.SHADOWING
    assert "lastgood promote churn" in world.views.release(release.id).waiting

    with pytest.raises(LastgoodError) as refused:
        world.commands.resume("churn", actor="ada")
    assert refused.value.code is Code.CONFLICT
    assert "lastgood promote churn" in refused.value.next_step

    world.commands.promote("churn", full=False, actor="ada")
    now = world.release(release.id)
    assert (now.phase, now.step) == (Phase.PROGRESSING, 1)
    assert now.deadline == world.clock + STANDING.deadline


def test_a_standing_shadow_that_fails_is_rolled_back(world: World) -> None:
    """Its guardrails are judged for as long as it stands."""
    release = world.start("v1.1", plan=STANDING)
    world.turn()
    world.turn(30 * 86_400.0)
    world.reports.feed(release.id, 0, (200, 90), (200, 0))
    world.turn(1.0)
    world.turn(1.0)
    assert _phase(world, release.id) is Phase.ROLLED_BACK


def test_pause_and_resume_go_back_to_the_copies(world: World) -> None:
    """While it is held copies go on and are judged; resuming goes on with the shadow step, and says so."""
    release = world.start("v1.1", plan=COPIED)
    world.turn()
    world.commands.pause("churn", reason="lunch", actor="ada")
    assert _phase(world, release.id) is Phase.PAUSED
    assert _route(world).shadow is not None
    world.reports.feed(release.id, 0, (60, 0), (60, 0))
    world.turn(20.0)
    assert _phase(world, release.id) is Phase.PAUSED

    world.commands.resume("churn", actor="ada")
    assert (_phase(world, release.id), world.release(release.id).step) == (Phase.SHADOWING, 0)
    told = [event.type.rpartition(".")[2] for event in world.journal.chain() if event.release == release.id]
    assert told[-3:] == ["validated", "paused", "resumed"]
    world.turn()
    assert _phase(world, release.id) is Phase.PROGRESSING


@pytest.mark.parametrize(("verb", "told"), [("approve", "approved"), ("promote", "resumed")])
def test_the_record_knows_an_approval_that_leads_to_copies(world: World, verb: str, told: str) -> None:
    """It is told as one that leads to traffic is: by what the person typed."""
    gate = Step(kind=StepKind.APPROVE, message="ask the fraud team")
    release = world.start("v1.1", plan=msgspec.structs.replace(COPIED, steps=(gate, *COPIED.steps)))
    world.turn()
    assert _phase(world, release.id) is Phase.PAUSED
    if verb == "approve":
        world.commands.approve("churn", actor="grace")
    else:
        world.commands.promote("churn", full=False, actor="grace")

    assert _phase(world, release.id) is Phase.SHADOWING
    (event,) = [one for one in world.journal.chain() if one.release == release.id][-1:]
    assert (event.type, event.actor) == (f"lastgood.release.{told}", "grace")


def test_abort_ends_a_shadow_without_blame(world: World) -> None:
    """It is observed like any way back, and the bytes may be released again."""
    release = world.start("v1.1", plan=STANDING)
    world.turn()
    world.commands.abort("churn", reason="enough seen", actor="ada")
    assert _phase(world, release.id) is Phase.ABORTED
    assert _route(world).shadow is None
    world.start("v1.1", plan=STANDING)


def test_the_view_tells_of_the_copies(world: World) -> None:
    """What is copied, how many pairs count, and how many copies could not be made."""
    release = world.start("v1.1", plan=COPIED)
    world.turn()
    world.reports.feed(release.id, 0, (30, 0), (30, 0))
    world.reports.lives[0, 1].copies_dropped = 4
    world.turn(1.0)
    view = world.views.release(release.id)
    assert (view.phase, view.weight_percent, view.shadow_percent) == ("shadowing", 0.0, 10.0)
    assert (view.pairs, view.requests, view.copies_dropped) == (30, 30, 4)
    assert "30 of 50 pairs" in view.waiting


def test_in_the_watch_the_version_before_answers_copies(world: World) -> None:
    """The standby shadows the promoted version, counted in the plan's pair stage, until the watch is over."""
    release = world.start("v1.1")
    for _ in range(20):
        world.turn(11.0)
        now = world.release(release.id)
        if now.phase is Phase.WATCHING:
            break
        world.reports.feed(release.id, now.plan.stage_at(now.step), (200, 0), (1800, 0))
    route = _route(world)
    assert (route.stable and route.stable.label, route.release) == ("v1.1", release.id)
    assert route.shadow is not None
    assert (route.shadow.target.label, route.shadow.arm, route.shadow.rate) == ("v1.0", "stable", 100)
    assert route.shadow.stage == PLAN.pair_stage == 3
    assert world.views.release(release.id).shadow_percent == 1.0
    world.turn(6.0)
    assert _phase(world, release.id) is Phase.SUCCEEDED
    assert _route(world).shadow is None


def test_a_plan_may_want_no_copies_in_its_watch(world: World) -> None:
    """``watch_shadow: 0%`` leaves the version before alone."""
    release = world.start("v1.1", plan=msgspec.structs.replace(PLAN, watch_shadow=0))
    for _ in range(20):
        world.turn(11.0)
        now = world.release(release.id)
        assert _route(world).shadow is None
        if now.terminal:
            break
        world.reports.feed(release.id, max(now.plan.stage_at(now.step), 0), (200, 0), (1800, 0))
    assert _phase(world, release.id) is Phase.SUCCEEDED


def _story(world: World, *, failing: bool) -> None:
    release = world.store.releases("churn", limit=1)[0]
    if release.version == 1:
        release = world.start("v1.1", plan=COPIED)
    for _ in range(30):
        now = world.release(release.id)
        if now.terminal:
            return
        if now.phase in (Phase.SHADOWING, Phase.PROGRESSING):
            stage = max(now.plan.stage_at(now.step), 0)
            world.reports.feed(release.id, stage, (200, 80 if failing else 0), (200, 0))
        world.turn(11.0)
    raise AssertionError(f"it never ended: {world.release(release.id)}")


def _end(world: World) -> tuple[object, ...]:
    release = world.store.releases("churn", limit=1)[0]
    return world.stable(), world.routed(), release.version, release.phase, _route(world).shadow


@pytest.mark.slow
@pytest.mark.parametrize("failing", [True, False])
def test_a_crash_in_a_shadow_step_ends_the_same(world: World, failing: bool) -> None:
    """Dying at any point of the way and starting again gives the same end."""
    world.passed.clear()
    _story(world, failing=failing)
    expected = _end(world)
    assert expected[3] is (Phase.ROLLED_BACK if failing else Phase.SUCCEEDED)
    effects = ("store.commit", "page.publish", "evidence.save_evidence")
    for point, times in Counter(one for one in world.passed if one.endswith(effects)).items():
        for visit in range(times):
            again = World()
            again.register("v1.0", "v1.1")
            again.serve("v1.0")
            again.fault = (point, visit)
            try:
                _story(again, failing=failing)
            except Crash:
                again.fault = None
                again.restart()
                _story(again, failing=failing)
            assert _end(again) == expected, (point, visit)


def test_copies_end_while_a_release_cannot_be_driven_and_begin_again_after(world: World) -> None:
    """They cost no other deployment its lease, end when the trouble lasts, and a standing shadow outlives it."""
    world.start("v1.1", plan=STANDING)
    world.turn()
    situation = world.observer.situation

    def fail(*_: object, **__: object) -> object:
        raise ValueError("it cannot be looked at")

    world.observer.situation = fail  # type: ignore[method-assign,assignment]
    world.router.lease = 0.0
    world.turn(1.0)
    assert (list(world.controller.trouble), world.router.lease) == (["churn"], 5.0)
    assert _route(world).shadow is not None

    world.controller._lease_seconds = -1.0
    world.turn(1.0)
    assert _route(world).shadow is None
    world.controller._lease_seconds = 5.0

    world.observer.situation = situation  # type: ignore[method-assign]
    before = world.router.page.generation
    world.turn(1.0)
    assert _route(world).shadow is not None
    after = world.router.page.generation
    assert after > before
    world.turn(1.0)
    assert world.router.page.generation == after, "once is enough"


def test_a_plan_tells_gateways_which_columns_tell_requests_apart(world: World) -> None:
    """The columns of the guardrails' slices are in the route while anything is counted, and in none before or after."""
    labelled = parse_plan(
        "steps:\n  - {shadow: 10%, for: 10s, samples: 50}\n  - {weight: 10%, for: 10s, samples: 50}\n"
        "guardrails:\n  - {metric: errors}\n"
        "  - {metric: accuracy, slices: [country, device], on_fail: alert, no_data: ignore}\n"
        "  - {metric: recall, positive: 1, slices: [country], on_fail: alert, no_data: ignore}\n"
        "watch: 5s\n"
    )
    seen = {Phase.SUCCEEDED: _route(world).columns}
    release = world.start("v1.1", plan=labelled)
    for _ in range(20):
        world.turn(11.0)
        now = world.release(release.id)
        seen[now.phase] = _route(world).columns
        if now.terminal:
            break
        world.reports.feed(release.id, max(now.plan.stage_at(now.step), 0), (100, 0), (100, 0))
    columns = ("country", "device")
    assert seen == {
        Phase.SUCCEEDED: (),
        Phase.SHADOWING: columns,
        Phase.PROGRESSING: columns,
        Phase.WATCHING: columns,
    }


def test_pairs_are_replayed_where_another_plan_has_its_copies(world: World) -> None:
    """Strata of a shadow step are those of the nearest step with copies, or of any step where there is none."""
    release = world.start("v1.1", plan=COPIED)
    for _ in range(20):
        world.turn(1.0)
        if world.release(release.id).terminal:
            break
        world.reports.feed(release.id, 0, (20, 6), (20, 0))
    pause = Step(kind=StepKind.PAUSE, duration=1.0)
    later = msgspec.structs.replace(PLAN, steps=(pause, SHADOW, *PLAN.steps))
    for plan, stage in ((COPIED, 0), (later, 1), (PLAN, 0)):
        found = world.hindsight.replay(release.id, plan)
        assert (found.rolled_back, found.turns[-1].stage) == (True, stage)
    (stage,) = world.hindsight.report(release.id).traces.stages
    assert (stage.stage, stage.pairs, stage.candidate) == (0, True, stage.stable)
    page = render(msgspec.to_builtins(world.hindsight.report(release.id)), as_html=False)
    assert "| step 1, copies |" in page
