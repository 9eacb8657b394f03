"""What ``plan lint`` found, in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lastgood.cli.output import styled
from lastgood.cli.wording import duration, percent

_FEW = 60  # recorded minutes below which a day's ups and downs are unknown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lastgood.analysis.limits import LimitAlarms
    from lastgood.control.traffic_views import TrafficView
    from lastgood.domain.plan import Plan


def told(
    plan: "Plan", deployment: str, view: "TrafficView", limits: Sequence["LimitAlarms"]
) -> list["RenderableType"]:
    """Say how often each hard limit would have fired, or why that cannot be said."""
    if not limits:
        return [
            "The plan sets no 'max' on what gateways count, so there is no limit to try on recorded traffic."
        ]
    if not any(one.counts.requests for one in view.minutes):
        stable = "has no stable version yet" if view.version is None else f"version {view.version}"
        why = (
            f"{deployment} {stable}" if view.version is None else f"none is recorded of {deployment} {stable}"
        )
        text = f"No traffic of the last 24 hours to try the limits on: {why}."
        then = "The present minute is still open and counts once it is over: serve requests for a while, then lint again."
        return [styled(f"Warning: {text} {then}", "yellow")]
    minutes = _minutes(len(view.minutes))
    lines: list[RenderableType] = [
        f"Hard limits, tried on a candidate just like version {view.version} of {deployment} ({minutes} recorded):"
    ]
    lines += [_limit(plan, one) for one in limits]
    if len(view.minutes) < _FEW:
        text = f"Warning: {minutes} of traffic says little of a whole day. Lint again when more is recorded."
        lines.append(styled(text, "yellow"))
    return lines


def _minutes(count: int) -> str:
    return "1 minute" if count == 1 else f"{count} minutes"


def _limit(plan: "Plan", one: "LimitAlarms") -> "RenderableType":
    bound = percent(one.maximum * 100)
    if one.quantile is not None:
        bound = f"p{one.quantile * 100:g} {duration(one.maximum)}"
    head = f"  {one.guardrail} (max {bound})"
    if one.rate is None:
        why = "the plan has no steps with traffic" if one.minutes else "nothing of it is recorded"
        return styled(f"{head}: cannot be tried, {why}.", "yellow")
    text = f"{head}: would have fired in {percent(round(one.rate * 100, 2))} of {one.runs} replays"
    text += f" of {_minutes(one.minutes)}."
    if one.unjudged:
        text += f" In {one.unjudged} it was never looked at: too few requests before the deadline."
    if one.rate > plan.false_rollback_rate:
        rate = percent(plan.false_rollback_rate * 100)
        return styled(f"{text} That is over the plan's false_rollback_rate of {rate}.", "yellow")
    return text
