"""Which columns slices may name: those of the version's signature, before anything moves."""

import msgspec
import pytest
from world import World

from lastgood.control.preflight import check_slices
from lastgood.domain.event import EventDraft
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.plan_slices import unknown_columns
from lastgood.domain.version import Format, Signature, Tensor, Version
from lastgood.errors import Code, LastgoodError

NAMED = Signature(
    inputs=(Tensor("age", "FP64", (-1,)), Tensor("country", "BYTES", (-1, 1)), Tensor("x", "FP64", (-1, 30))),
    outputs=(),
)
MATRIX = Signature(inputs=(Tensor("x", "FP64", (-1, 30)),), outputs=())
OPEN = Signature(inputs=(Tensor("x", "FP64", (-1, -1)), Tensor("y", "FP64", (-1,))), outputs=())
ONE = Signature(inputs=(Tensor("age", "FP64", (-1, 1)),), outputs=())


@pytest.mark.parametrize(
    ("signature", "columns", "unknown"),
    [
        (NAMED, ["age", "country", "x[0]", "x[29]", "age[0]"], []),
        (NAMED, ["x", "x[30]", "y[0]", "city", "age[1]"], ["x", "x[30]", "y[0]", "city", "age[1]"]),
        (MATRIX, ["x[3]", "country", "mean radius"], []),  # a table's own names are not in the signature
        (MATRIX, ["x", "x[30]", "y[3]"], ["x", "x[30]", "y[3]"]),
        (OPEN, ["x[900]", "y", "x"], []),
        (OPEN, ["z"], ["z"]),
        (ONE, ["age", "age[0]"], []),
        (ONE, ["country"], ["country"]),
    ],
)
def test_a_column_is_an_input_or_a_place_of_one(
    signature: Signature, columns: list[str], unknown: list[str]
) -> None:
    """By its name, by its place within its width, and by any name where a table may be sent to one matrix."""
    assert unknown_columns(columns, signature) == unknown


def version(signature: Signature | None) -> Version:
    return Version(
        model="churn",
        number=2,
        label="v1.1",
        digest="sha256:0",
        size_bytes=1,
        format=Format.ONNX,
        signature=signature,
        created_at=0.0,
        created_by="ada",
    )


def test_a_column_that_nobody_can_send_is_refused_with_those_that_they_can() -> None:
    """A version without a signature is not asked."""
    plan = parse_plan("guardrails: [{metric: accuracy, slices: [age, city]}]")
    check_slices(plan, version(None))
    with pytest.raises(LastgoodError) as caught:
        check_slices(plan, version(NAMED))
    assert caught.value.code is Code.REFUSED
    assert "accuracy has slices by 'city'" in caught.value.message
    assert caught.value.message.endswith("v1.1 takes: age, country, x[0] to x[29].")


def test_a_release_is_refused_before_anything_moves() -> None:
    """The command that starts it says so, and no release is there."""
    world = World()
    world.register("v1.0")
    world.serve("v1.0")
    plan = parse_plan("guardrails: [{metric: accuracy, slices: [city]}]")
    signed = msgspec.structs.replace(version(ONE), digest="sha256:churn-v1.1")
    world.versions.add_version(
        signed, EventDraft(type="lastgood.version.registered", at=world.clock, actor="ada", model="churn")
    )
    with pytest.raises(LastgoodError, match="'city'"):
        world.start("v1.1", plan=plan)
    assert world.deployment().release is None
