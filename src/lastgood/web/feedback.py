"""Labels: what turned out to be true of a request."""

from collections import Counter
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from lastgood.bootstrap import Services
from lastgood.domain.feedback import Fate, Fated, GivenLabel
from lastgood.errors import Code, LastgoodError
from lastgood.web.endpoint import PREFIX, Endpoint
from lastgood.web.moment import parse_moment

LABELS_MAX: Final = 10_000


class FeedbackOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was true of one row of the request ``id``: a class, a number or a reward."""

    id: Annotated[str, Meta(description="The answer's header lastgood-id, or the id of the V2 body.")]
    value: Annotated[Any, Meta(description="Text, a number, true or false.")]
    row: Annotated[int, Meta(description="Which row of the request; 0 is the first.")] = 0
    at: Annotated[
        str | float | None,
        Meta(description="When it was known: ISO 8601, or seconds since the epoch. Default: now."),
    ] = None


class FeedbackAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each label, in their order, and how many of each fate there are."""

    counts: dict[Fate, int]
    labels: list[Fated]


def give(services: Services, *, body: list[FeedbackOrder]) -> FeedbackAnswer:
    """Take one label or many. Giving one again changes nothing."""
    if len(body) > LABELS_MAX:
        raise LastgoodError(
            Code.TOO_LARGE,
            f"There are {len(body)} labels; at most {LABELS_MAX} come at once.",
            "Send them in several requests.",
        )
    labels = services.feedback.take([_given(one) for one in body])
    counted = Counter(one.fate for one in labels)
    return FeedbackAnswer(counts={fate: counted[fate] for fate in Fate}, labels=labels)


def _given(one: FeedbackOrder) -> GivenLabel:
    at = one.at
    if isinstance(at, str):
        try:
            at = parse_moment(at)
        except LastgoodError:
            at = float("nan")  # refused by itself, beside the others
    return GivenLabel(id=one.id, value=one.value, row=one.row, at=at)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path=f"{PREFIX}/feedback",
        call=give,
        body=FeedbackOrder,
        many=True,
        answer=FeedbackAnswer,
        summary="Say what was true: labels of predictions, one or many",
    ),
)
