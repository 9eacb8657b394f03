"""The key ``slices`` of a plan file's KPI guardrails."""

import msgspec
import pytest

from lastgood.domain.plan import Plan
from lastgood.domain.plan_file import parse_plan
from lastgood.errors import Code, LastgoodError


def plan_with(slices, metric="accuracy", strategy="canary"):
    return parse_plan(f"strategy: {strategy}\nguardrails: [{{metric: {metric}, slices: {slices}}}]")


@pytest.mark.parametrize("metric", ["accuracy", "recall, positive: 1", "mean, range: [0, 1], margin: 0.1"])
def test_every_kpi_may_name_columns(metric):
    """They reach the guardrail in their order, and survive the store."""
    plan = plan_with("[country, 'x[3]']", metric)
    assert plan.guardrails[-1].slices == ("country", "x[3]")
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_no_slices_unless_asked():
    """A plan that names no column has none, and is read from what was written before there were any."""
    plan = parse_plan("guardrails: [{metric: accuracy}]")
    assert plan.guardrails[-1].slices == ()
    before = msgspec.to_builtins(plan)
    for one in before["guardrails"]:
        del one["slices"]
    assert msgspec.convert(before, Plan) == plan


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        ("[]", "length >= 1"),
        ("[a, b, c, d, e, f]", "length <= 5"),
        ("[country, country]", "'country' is named twice"),
        ("country", "takes a list, not text"),
        ("[3]", "not a whole number"),
        (f"[{'x' * 101}]", "length <= 100"),
        ("[' country']", "names no column"),
        ('["a\\u200bb"]', "names no column"),
    ],
)
def test_what_names_no_column_is_refused_at_its_place(slices, said):
    """At most five columns, each once, each a text of up to 100 letters that can be seen."""
    with pytest.raises(LastgoodError, match=r"^plan.yaml:2:") as caught:
        plan_with(slices)
    assert caught.value.code is Code.INVALID
    assert said in str(caught.value)


def test_slices_need_a_stable_arm_to_compare_with():
    """A hard limit is of all rows, so a strategy that compares nothing has no slices."""
    with pytest.raises(LastgoodError, match="'min' is of all rows"):
        plan_with("[country], min: 80%", strategy="blue_green")


def test_other_guardrails_have_no_slices():
    """Requests are counted by gateways, which know no columns."""
    with pytest.raises(LastgoodError, match="'slices' is not known"):
        plan_with("[country]", "errors")
