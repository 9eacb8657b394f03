"""What the commands say of copies: of a plan, of a release under way, and of what was asked wrongly."""

from typing import Any

import pytest
from click.testing import CliRunner

from lastgood.analysis.foresight import foresee
from lastgood.analysis.limits import false_alarms
from lastgood.analysis.traps import traps
from lastgood.cli.main import root
from lastgood.cli.plan_explain import undivided
from lastgood.cli.plan_words import in_words
from lastgood.cli.progress import Drought, block, change_line
from lastgood.domain.plan import Strategy
from lastgood.domain.plan_built_in import standing_shadow
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.traffic import ArmCounts, TrafficMinute
from lastgood.errors import LastgoodError
from lastgood.web.bodies import ReleaseOrder
from lastgood.web.releases import _plan as plan_of

PLAN = """\
steps:
  - {shadow: 10%, for: 1h, samples: 500}
  - {weight: 5%, for: 10m, samples: 100}
guardrails:
  - {metric: errors, max: 20%, min_samples: 50}
watch: 10m
"""
STANDING = "steps:\n  - {shadow: 10%, for: until resumed}\n"


def _view(**more: Any) -> dict[str, Any]:
    return {
        "phase": "shadowing",
        "cause": "loaded",
        "step": 1,
        "steps": 4,
        "weight_percent": 0.0,
        "shadow_percent": 10.0,
        "requests": 412,
        "pairs": 412,
        "copies_dropped": 0,
        "waiting": "waiting for 88 s more",
        "version": {"number": 3, "label": "v1.3"},
        "previous": {"number": 2, "label": "v1.2"},
        "timings": {},
        "findings": [],
        **more,
    }


def test_a_plan_with_copies_is_told_in_words() -> None:
    """Each shadow step, what ends it, and the copies of the watch."""
    told = [str(line).strip() for line in in_words(parse_plan(PLAN))]
    copies = (
        "1. Copies of 10 % of the requests go to the candidate for at least 1h and until there are 500 pairs."
    )
    assert copies in told
    assert any(
        "The version before answers copies of 1 % of the requests, to nobody." in line for line in told
    )
    standing = [str(line).strip() for line in in_words(parse_plan(STANDING))]
    assert "1. Copies of 10 % of the requests go to the candidate, until somebody promotes it." in standing
    by_a_person = "Promoted when a person ends the last step: nothing is promoted on copies alone."
    assert by_a_person in standing
    assert not any(line.startswith("Not promoted") for line in standing)
    assert by_a_person not in told
    silent = [str(line) for line in in_words(parse_plan(PLAN + "watch_shadow: 0%\n"))]
    assert not any("version before answers" in line for line in silent)


def test_a_release_in_a_shadow_step_is_told() -> None:
    """Who answers copies, how many pairs there are, what is waited for, and what was dropped."""
    assert str(change_line(_view())).strip() == "shadowing     step 1 of 4: copies of 10 % of the requests"
    first = str(block(_view())[0]).strip()
    assert first == "copies of 10 % to v1.3: 412 pairs in this step; waiting for 88 s more"
    held = str(block(_view(phase="paused", waiting="paused by ada", copies_dropped=7))[0])
    assert held.strip().endswith("paused by ada; 7 copies dropped since the gateways started")
    watched = str(block(_view(phase="watching", shadow_percent=1.0, pairs=1))[0]).strip()
    assert watched == "copies of 1 % to v1.2: 1 pair in this watch"


def test_a_shadow_step_without_requests_is_told_like_any_other() -> None:
    """A minute without a copy, once."""
    drought, dry = Drought(), _view(requests=0)
    assert [drought.begins(dry, now) for now in (0.0, 59.0, 60.0, 61.0)] == [False, False, True, False]


def test_a_shadow_is_warned_of_where_a_model_may_do_more_than_answer() -> None:
    """Copies are computed by both; a plan without shadow steps is not warned."""
    assert any("happens twice" in one.sentence for one in traps(parse_plan(PLAN), ()))
    assert not any("happens twice" in one.sentence for one in traps(parse_plan("watch: 10m"), ()))


def _minutes(requests: int) -> list[TrafficMinute]:
    counts = ArmCounts(requests=requests)
    return [
        TrafficMinute(deployment="churn", version=1, minute=minute, counts=counts) for minute in range(60)
    ]


def test_pairs_that_never_come_are_warned_of() -> None:
    """A shadow step's pairs are reckoned at its own rate; a standing one waits for nothing."""
    slow = PLAN + "deadline: 2h\n"
    assert any("Step 1 waits for 500" in one.sentence for one in traps(parse_plan(slow), _minutes(10)))
    assert not any("waits for" in one.sentence for one in traps(parse_plan(slow), _minutes(1000)))
    assert not any("waits for" in one.sentence for one in traps(parse_plan(STANDING), _minutes(1)))


def test_a_hard_limit_is_tried_in_shadow_steps_too() -> None:
    """It has looked at pairs before there is any traffic, also where the shadow stands."""
    for text in (PLAN, STANDING + "guardrails:\n  - {metric: errors, max: 20%, min_samples: 50}\n"):
        (found,) = false_alarms(parse_plan(text), _minutes(1000), seed=1, runs=100)
        assert (found.fired, found.unjudged, found.runs) == (0, 0, 100)


def test_what_a_plan_would_notice_begins_with_its_pairs() -> None:
    """A standing shadow notices a drop of ten points at its rate, and nothing is after the plan's end."""
    (found, *_) = foresee(
        parse_plan(STANDING), rates={"errors": 0.01}, per_minute=1000, latency={}, seed=1, runs=3
    )
    worst = found.notices[-1]
    assert worst.requests is not None
    assert worst.requests < 1_000
    assert worst.in_plan == 1.0


def test_release_offers_a_standing_shadow() -> None:
    """The option is in the help, and means the built-in plan behind a shadow that stands."""
    assert "--shadow SHARE" in CliRunner().invoke(root, ["release", "--help"]).stdout
    order = ReleaseOrder(model="churn", version="5", actor="ada", shadow="10%")
    assert plan_of(order) == standing_shadow(Strategy.CANARY, 1000)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"plan": "watch: 10m"}, "Both a plan and a shadow"),
        ({"strategy": Strategy.ALL_AT_ONCE}, "has no steps"),
        ({"shadow": "0%"}, "not possible"),
        ({"shadow": "10"}, "sign"),
    ],
)
def test_a_shadow_that_cannot_be_is_refused(more: dict[str, Any], said: str) -> None:
    """With a plan, with all_at_once, or as no share: each refusal says why and what to do."""
    order = ReleaseOrder(**{"model": "churn", "version": "5", "actor": "ada", "shadow": "10%", **more})
    with pytest.raises(LastgoodError) as caught:
        plan_of(order)
    assert said in caught.value.message + caught.value.next_step


def test_a_plan_that_never_divides_the_traffic_is_compared_in_its_watch_alone() -> None:
    """And where nothing is copied there, nowhere."""
    whole = "strategy: all_at_once\nwatch: 10m\nguardrails: [{metric: errors}]\n"
    assert "In the watch it is" in undivided(parse_plan(whole))
    for none in (whole + "watch_shadow: 0%\n", whole.replace("10m", "0s")):
        assert undivided(parse_plan(none)).endswith("so nothing is noticed.")
