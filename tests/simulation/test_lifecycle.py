"""The life of a release on the fake clock: steps, pauses, gates, guardrails, deadlines, failed tags."""

import msgspec
import pytest
from world import PLAN, World

from lastgood.domain.plan import Guardrail, Metric, OnDeadline, OnFail, Plan, Step, StepKind, Strategy
from lastgood.domain.release import HoldReason, Phase
from lastgood.errors import Code, LastgoodError
from lastgood.settings import Settings


@pytest.fixture
def world() -> World:
    """A deployment that serves v1.0, with more versions registered."""
    made = World()
    made.register("v1.0", "v1.1", "v1.2")
    made.serve("v1.0")
    return made


def _plan(*steps: Step, **changes: object) -> Plan:
    return msgspec.structs.replace(PLAN, steps=steps, **changes)


def test_the_first_version_becomes_stable_after_validation() -> None:
    """There is nothing to compare with, so it validates and serves."""
    world = World()
    world.register("v1.0")
    release = world.start("v1.0")
    world.turn()
    world.turn()

    assert world.release(release.id).phase is Phase.SUCCEEDED
    assert world.routed() == "v1.0"


def test_weights_follow_the_plan_and_wait_for_time_and_samples(world: World) -> None:
    """A step ends when both its time and its sample minimum are reached, not before."""
    release = world.start("v1.1")
    world.turn()
    route = world.router.page.routes[0]
    assert (route.weight, route.release, route.stage) == (1000, release.id, 0)
    world.turn(20.0)
    assert world.release(release.id).step == 0, "no requests yet"
    world.reports.feed(release.id, 0, (60, 0), (540, 0))
    world.turn(0.1)
    assert world.router.page.routes[0].weight == 5000
    world.reports.feed(release.id, 1, (300, 0), (300, 0))
    world.turn(5.0)
    assert world.release(release.id).step == 1, "its time is not over"
    world.turn(6.0)
    assert world.release(release.id).phase is Phase.WATCHING
    assert world.routed() == "v1.1"
    world.turn(6.0)
    assert world.release(release.id).phase is Phase.SUCCEEDED


def test_a_failing_candidate_is_rolled_back_with_its_evidence_and_stays_failed(world: World) -> None:
    """The tag carries cause and numbers, and the same bytes are refused until somebody overrides."""
    failed = world.fail("v1.1")
    assert failed.phase is Phase.ROLLED_BACK
    assert failed.evidence["guardrail"] == "errors"
    assert failed.timings["verified"] >= 0
    assert world.stable() == "v1.0"

    with pytest.raises(LastgoodError) as refused:
        world.start("v1.1")
    assert refused.value.code is Code.REFUSED
    assert "tagged failed" in refused.value.message
    assert "--override" in refused.value.next_step

    again = world.start("v1.1", override="the upstream table was broken, not the model")
    assert again.override is not None
    assert again.override.by == "ada"


def test_the_tag_is_bound_to_the_bytes_not_to_the_number(world: World) -> None:
    """The same bytes registered under another label are refused as well."""
    world.fail("v1.1")
    original = world.registry.resolve("churn", "v1.1")
    from lastgood.domain.event import EventDraft

    event = EventDraft(type="lastgood.version.registered", at=world.clock, actor="ada", model="churn")
    world.versions.add_version(msgspec.structs.replace(original, label="v1.9"), event)

    with pytest.raises(LastgoodError) as refused:
        world.start("v1.9")
    assert refused.value.code is Code.REFUSED


def test_an_override_that_succeeds_lifts_the_tag(world: World) -> None:
    """After a second try that went well, the version is a rollback target again."""
    world.fail("v1.1")
    world.start("v1.1", override="it was the data")
    for _ in range(10):
        world.turn(11.0)
        deployment = world.store.deployment("churn")
        assert deployment is not None
        if deployment.release is None:
            break
        now = world.release(deployment.release)
        world.reports.feed(now.id, max(now.plan.stage_at(now.step), 0), (200, 0), (1800, 0))
    assert world.stable() == "v1.1"
    world.serve("v1.2")

    assert world.commands.roll_back("churn", version=None, reason="", keep=False, actor="ada").label == "v1.1"


def test_guardrails_are_judged_before_a_gate(world: World) -> None:
    """A candidate that fails while it waits for an approval is rolled back all the same."""
    plan = _plan(
        Step(kind=StepKind.WEIGHT, weight=1000), Step(kind=StepKind.APPROVE, message="ask the fraud team")
    )
    release = world.start("v1.1", plan=plan)
    world.turn()
    world.turn(1.0)
    hold = world.release(release.id).hold
    assert hold is not None
    assert hold.reason is HoldReason.APPROVAL
    world.reports.feed(release.id, 0, (200, 100), (1800, 0))
    world.turn(0.1)

    assert world.release(release.id).phase is Phase.ROLLED_BACK


def test_approve_opens_the_gate_and_resume_does_not(world: World) -> None:
    """Only approve goes through an approve step; after the last step that is the promotion."""
    plan = _plan(Step(kind=StepKind.WEIGHT, weight=1000), Step(kind=StepKind.APPROVE))
    release = world.start("v1.1", plan=plan)
    world.turn()
    world.turn(1.0)
    with pytest.raises(LastgoodError) as conflict:
        world.commands.resume("churn", actor="ada")
    assert conflict.value.code is Code.CONFLICT

    world.commands.approve("churn", actor="grace")
    world.turn()

    assert world.release(release.id).phase is Phase.WATCHING


def test_a_timed_pause_ends_by_itself_and_an_open_one_does_not(world: World) -> None:
    """`pause: 10s` goes on after ten seconds; a pause without end waits for resume."""
    first = Step(kind=StepKind.WEIGHT, weight=1000)
    plan = _plan(first, Step(kind=StepKind.PAUSE, duration=10.0), Step(kind=StepKind.PAUSE, duration=None))
    release = world.start("v1.1", plan=plan)
    world.turn()
    world.reports.feed(release.id, 0, (200, 0), (1800, 0))
    world.turn(1.0)
    assert world.release(release.id).phase is Phase.PAUSED
    world.turn(11.0)
    world.turn(500.0)
    assert (world.release(release.id).phase, world.release(release.id).step) == (Phase.PAUSED, 2)

    world.commands.resume("churn", actor="ada")
    world.turn()

    assert world.release(release.id).phase is Phase.WATCHING


def test_pause_and_resume_by_hand_keep_the_step(world: World) -> None:
    """A person may hold a release; its weight stays and its guardrails go on."""
    release = world.start("v1.1")
    world.turn()
    world.commands.pause("churn", reason="lunch", actor="ada")
    assert world.router.page.routes[0].weight == 1000
    world.turn(100.0)
    assert world.release(release.id).phase is Phase.PAUSED

    world.commands.resume("churn", actor="ada")

    assert (world.release(release.id).phase, world.release(release.id).step) == (Phase.PROGRESSING, 0)


def test_promote_skips_a_step_and_promote_full_skips_all(world: World) -> None:
    """promote goes one step on; promote --full goes to 100 %."""
    release = world.start("v1.1")
    world.turn()
    world.commands.promote("churn", full=False, actor="ada")
    assert world.router.page.routes[0].weight == 5000
    world.commands.promote("churn", full=True, actor="ada")
    world.turn()

    assert world.release(release.id).phase is Phase.WATCHING
    assert world.routed() == "v1.1"


def test_abort_blames_nobody(world: World) -> None:
    """An aborted release ends as aborted, traffic is back on stable, and the version may be released again."""
    release = world.start("v1.1")
    world.turn()

    assert world.commands.abort("churn", reason="wrong week", actor="ada").phase is Phase.ABORTED
    assert world.router.page.routes[0].candidate is None
    assert world.registry.failures(world.registry.versions("churn")) == {}
    assert world.start("v1.1").id > release.id


def test_a_second_release_is_a_conflict(world: World) -> None:
    """One release of a deployment at a time."""
    world.start("v1.1")

    with pytest.raises(LastgoodError) as conflict:
        world.start("v1.2")
    assert conflict.value.code is Code.CONFLICT


def test_no_traffic_is_never_promoted(world: World) -> None:
    """Without measurements the deadline decides: hold by default, roll back where the plan says so."""
    plan = _plan(Step(kind=StepKind.WEIGHT, weight=1000, duration=1.0), deadline=60.0)
    release = world.start("v1.1", plan=plan)
    world.turn()
    world.turn(50.0)
    assert world.release(release.id).phase is Phase.PROGRESSING
    world.turn(20.0)
    held = world.release(release.id)
    assert held.phase is Phase.PAUSED
    assert held.hold is not None
    assert held.hold.reason is HoldReason.INCONCLUSIVE
    world.commands.abort("churn", reason="", actor="ada")

    plan = msgspec.structs.replace(plan, on_deadline=OnDeadline.ROLLBACK)
    release = world.start("v1.2", plan=plan)
    world.turn()
    world.turn(70.0)
    assert world.release(release.id).phase is Phase.ABORTED
    assert world.stable() == "v1.0"


def test_a_guardrail_may_hold_and_a_person_may_overrule_it(world: World) -> None:
    """on_fail: hold pauses once; after resume the same guardrail does not hold again."""
    guardrails = (Guardrail(name="errors", metric=Metric.ERRORS, share=1.0, on_fail=OnFail.HOLD),)
    plan = msgspec.structs.replace(PLAN, guardrails=guardrails)
    release = world.start("v1.1", plan=plan)
    world.turn()
    world.reports.feed(release.id, 0, (200, 100), (1800, 0))
    world.turn(1.0)
    hold = world.release(release.id).hold
    assert hold is not None
    assert hold.reason is HoldReason.GUARDRAIL
    world.commands.resume("churn", actor="ada")
    world.turn(1.0)

    assert world.release(release.id).phase is Phase.PROGRESSING


def test_a_guardrail_may_only_alert(world: World) -> None:
    """on_fail: alert records an event once and goes on."""
    guardrails = (Guardrail(name="errors", metric=Metric.ERRORS, share=1.0, on_fail=OnFail.ALERT),)
    release = world.start("v1.1", plan=msgspec.structs.replace(PLAN, guardrails=guardrails))
    world.turn()
    world.reports.feed(release.id, 0, (200, 100), (1800, 0))
    world.turn(1.0)
    world.turn(1.0)

    told = [event for event in world.journal.chain() if event.type == "lastgood.guardrail.alerted"]
    assert len(told) == 1
    assert world.release(release.id).phase is Phase.PROGRESSING


def test_a_candidate_that_cannot_load_is_rolled_back_and_one_that_is_corrupt_is_aborted(world: World) -> None:
    """A model that fails its warm-up is at fault; bytes that do not match their digest are not the version's."""
    world.fleet.sick[world.key("v1.1")] = ("refused", "it answered NaN to its warm-up")
    first = world.start("v1.1")
    world.turn()
    world.turn()
    assert world.release(first.id).phase is Phase.ROLLED_BACK
    assert "sha256:churn-v1.1" in world.registry.failures(world.registry.versions("churn"))

    world.fleet.sick[world.key("v1.2")] = ("corrupt", "the bytes do not match their digest")
    second = world.start("v1.2")
    world.turn()
    assert world.release(second.id).phase is Phase.ABORTED
    assert "sha256:churn-v1.2" not in world.registry.failures(world.registry.versions("churn"))


def test_a_host_that_stops_answering_fails_health(world: World) -> None:
    """n misses in a row roll back, with the health guardrail named."""
    release = world.start("v1.1")
    world.turn()
    world.fleet.missed[world.key("v1.1")] = 3
    world.turn(1.0)

    now = world.release(release.id)
    assert (now.phase, now.evidence["guardrail"]) == (Phase.ROLLED_BACK, "health")


def test_one_exit_of_a_host_is_forgiven_and_three_are_not(world: World) -> None:
    """Somebody may kill a host; a version whose host keeps exiting is unhealthy."""
    release = world.start("v1.1")
    world.turn()
    world.fleet.starts[world.key("v1.1")] = 2
    world.turn(1.0)
    assert world.release(release.id).phase is Phase.PROGRESSING
    world.fleet.starts[world.key("v1.1")] = 4
    world.turn(1.0)

    assert world.release(release.id).phase is Phase.ROLLED_BACK


def test_a_failure_during_the_watch_goes_back_to_the_old_version(world: World) -> None:
    """The old version is still resident, so the watch can end in a rollback."""
    release = world.start("v1.1")
    world.turn()
    world.commands.promote("churn", full=True, actor="ada")
    world.turn()
    assert world.routed() == "v1.1"
    world.fleet.missed[world.key("v1.1")] = 5
    world.turn(1.0)

    assert world.release(release.id).phase is Phase.ROLLED_BACK
    assert (world.stable(), world.routed()) == ("v1.0", "v1.0")


def test_a_hard_maximum_is_judged_during_the_watch(world: World) -> None:
    """What the promoted version answers counts for its release: over the maximum it goes back, and the numbers say so."""
    limit = Guardrail(name="errors", metric=Metric.ERRORS, maximum=0.05)
    plan = msgspec.structs.replace(
        PLAN, strategy=Strategy.ALL_AT_ONCE, steps=(), guardrails=(limit,), watch=60.0
    )
    release = world.start("v1.1", plan=plan)
    world.turn()
    route = world.router.page.routes[0]
    assert (route.release, route.stage, route.candidate) == (release.id, 0, None)
    world.reports.feed(release.id, 0, (200, 8), (0, 0))
    world.turn(1.0)
    assert world.release(release.id).phase is Phase.WATCHING
    world.reports.feed(release.id, 0, (100, 10), (0, 0))
    world.turn(1.0)
    back = world.release(release.id)

    assert back.phase is Phase.ROLLED_BACK
    assert (back.evidence["guardrail"], back.evidence["candidate_requests"]) == ("errors", 300)
    assert world.router.page.routes[0].release is None


def test_a_guardrail_that_holds_tells_during_the_watch(world: World) -> None:
    """There is no step left to hold, so a person is told, once, and the version serves on."""
    limit = Guardrail(name="errors", metric=Metric.ERRORS, maximum=0.05, on_fail=OnFail.HOLD)
    plan = msgspec.structs.replace(
        PLAN, strategy=Strategy.ALL_AT_ONCE, steps=(), guardrails=(limit,), watch=60.0
    )
    release = world.start("v1.1", plan=plan)
    world.turn()
    world.reports.feed(release.id, 0, (200, 80), (0, 0))
    world.turn(1.0)
    world.turn(1.0)
    told = [event for event in world.journal.events(limit=500) if event.type == "lastgood.guardrail.alerted"]

    assert world.release(release.id).phase is Phase.WATCHING
    assert [event.data["guardrail"] for event in told] == ["errors"]


def test_nothing_is_compared_during_the_watch(world: World) -> None:
    """Without a version beside it a comparison knows no more than at the promotion, and no route names a release that is over."""
    release = world.start("v1.1")
    world.turn()
    world.commands.promote("churn", full=True, actor="ada")
    world.turn()
    world.reports.feed(release.id, 2, (1000, 400), (0, 0))
    world.turn(1.0)
    assert world.release(release.id).phase is Phase.WATCHING
    assert world.router.page.routes[0].release == release.id
    world.turn(10.0)

    assert world.release(release.id).phase is Phase.SUCCEEDED
    assert world.router.page.routes[0].release is None


def test_all_at_once_promotes_after_validation(world: World) -> None:
    """No steps: validated, promoted, watched."""
    plan = msgspec.structs.replace(PLAN, strategy=Strategy.ALL_AT_ONCE, steps=())
    release = world.start("v1.1", plan=plan)
    world.turn()

    assert world.release(release.id).phase is Phase.WATCHING
    assert world.routed() == "v1.1"


def test_blue_green_switches_at_once_with_stable_beside_it(world: World) -> None:
    """Weight 0 is looked at by version number; the switch gives all traffic, and stable is still there."""
    steps = (Step(kind=StepKind.APPROVE), Step(kind=StepKind.WEIGHT, weight=10_000, duration=5.0))
    limit = Guardrail(name="errors", metric=Metric.ERRORS, share=1.0, maximum=0.05)
    plan = msgspec.structs.replace(PLAN, strategy=Strategy.BLUE_GREEN, steps=steps, guardrails=(limit,))
    release = world.start("v1.1", plan=plan)
    world.turn()
    route = world.router.page.routes[0]
    assert route.candidate is not None
    assert route.weight == 0
    world.commands.approve("churn", actor="ada")
    assert world.router.page.routes[0].weight == 10_000
    world.reports.feed(release.id, 1, (500, 0), (0, 0))
    world.turn(6.0)
    world.turn()

    assert world.routed() == "v1.1"


def test_no_way_back_no_way_forward(world: World) -> None:
    """A release is refused while the stable version's host is not ready."""
    world.fleet.slow.add(world.key("v1.0"))

    with pytest.raises(LastgoodError) as refused:
        world.start("v1.1")
    assert refused.value.code is Code.REFUSED
    assert "no way back" in refused.value.message


def test_every_phase_change_queues_one_notification_for_each_channel(world: World) -> None:
    """Settings' channels and the plan's both hear of each change."""
    from lastgood.domain.channel import Channel
    from lastgood.store.outbox import SqlOutbox

    plan = msgspec.structs.replace(PLAN, notify=(Channel(webhook="http://127.0.0.1:9/x"),))
    before = world.journal.head()[0]
    world.start("v1.1", plan=plan)
    world.turn()
    world.commands.abort("churn", reason="", actor="ada")

    queued = SqlOutbox(world.database).due(world.clock + 1, limit=100)
    assert [event.sequence for _, event in queued] == list(range(before + 1, world.journal.head()[0] + 1))
    assert Settings(home="x").notify == ()


def test_a_candidate_must_take_what_callers_send(world: World) -> None:
    """A version with other inputs is refused before anything moves, naming each difference."""
    from lastgood.domain.event import EventDraft
    from lastgood.domain.version import Signature, Tensor

    output = (Tensor("y", "FP32", (-1, 1)),)
    signatures = {
        "v2.0": Signature((Tensor("x", "FP32", (-1, 3)),), output),
        "v2.1": Signature((Tensor("x", "FP64", (-1, -1)),), output),
        "v2.2": Signature((Tensor("x", "FP32", (-1, 4)), Tensor("z", "INT64", (-1, 1))), output),
    }
    for label, signature in signatures.items():
        version = msgspec.structs.replace(
            world.registry.resolve("churn", "v1.0"),
            label=label,
            digest=f"sha256:{label}",
            signature=signature,
        )
        event = EventDraft(type="lastgood.version.registered", at=world.clock, actor="ada", model="churn")
        world.versions.add_version(version, event)
    world.serve("v2.0")

    assert world.serve("v2.1").phase is Phase.SUCCEEDED
    world.commands.roll_back("churn", version="v2.0", reason="", keep=True, actor="ada")
    with pytest.raises(LastgoodError) as refused:
        world.start("v2.2")

    assert refused.value.code is Code.REFUSED
    assert "'x' is FP32 [-1, 4], not FP32 [-1, 3]" in refused.value.message
    assert "'z' is new" in refused.value.message
