"""The keys that several guardrails of a plan file share: what each may hold, and what it means."""

from typing import Annotated

from msgspec import Meta

from lastgood.domain.plan import NoData, OnFail
from lastgood.domain.plan_meaning import means
from lastgood.domain.plan_quantity import Percent, WrittenMargin, WrittenMargins

Name = Annotated[
    str | None,
    means(
        "What this guardrail is called in events and reports. Unique within the plan. Default: its metric; "
        "for a counter its counter.",
        None,
        "errors",
    ),
]
WhatFollows = Annotated[
    OnFail,
    means(
        "What happens when it fails: 'rollback' goes back to the last good version, 'hold' pauses the "
        "release until a person decides, 'alert' only notifies."
    ),
]
RateMargin = Annotated[
    WrittenMargin | None,
    means(
        "How much worse the candidate may be before it counts as worse: odds of at least 1 (with 1.2, its odds "
        "of a bad request may be 1.2 times stable's), or percentage points (with 0.5pp, its rate may be half a "
        "point above stable's).",
        1.2,
        1.5,
        "0.5pp",
    ),
]
ProofMargin = Annotated[
    WrittenMargins | None,
    means(
        "With 'promote_when: proven': the candidate must be shown to be less than this much worse than stable. "
        "Odds, points, or a list of one of each, of which either is enough. Wider than the 'margin' of the same "
        "kind. Default: odds of 2 or 1pp, of which one that is not wider than 'margin' falls away.",
        None,
        1.5,
        "0.5pp",
        [2, "1pp"],
    ),
]
MinBad = Annotated[
    Annotated[int, Meta(ge=1, le=1_000_000)] | None,
    means("Bad requests of the candidate that must have been seen before the comparison may fail.", 2),
]
Share = Annotated[
    Percent | None,
    means(
        "This guardrail's part of the plan's false_rollback_rate. The guardrails that compare the candidate "
        "with stable, dry runs apart, and give none divide the rest evenly; all parts together are 100%.",
        None,
        "60%",
    ),
]
MaxRate = Annotated[
    Percent | None,
    means(
        "A hard limit on the candidate's rate, whatever stable does. Where what a rollback would return to is hardly better, "
        "it holds instead of going back. Default: none for 'canary', 5% for "
        "'blue_green' and 'all_at_once', where no traffic is left on stable to compare with.",
        None,
        "5%",
    ),
]
MaxCounter = Annotated[
    Percent | None,
    means(
        "A hard limit on the candidate's rate, whatever stable does. Where what a rollback would return to is hardly better, "
        "it holds instead of going back. 'blue_green' and 'all_at_once' need it: "
        "they leave no traffic on stable to compare with.",
        None,
        "5%",
    ),
]
MinSamples = Annotated[
    int,
    Meta(ge=1, le=1_000_000_000),
    means("Requests that the candidate must have answered before 'max' is judged, and before it can pass."),
]
WithoutData = Annotated[
    NoData,
    means(
        "What follows when it has measured nothing at all by the end of the steps: 'hold' stands in the way of "
        "the promotion, 'fail' counts as failed, 'ignore' is not waited for."
    ),
]
DryRun = Annotated[
    bool,
    means(
        "With true it is judged, at the whole false_rollback_rate, and shown, and nothing follows from it."
    ),
]
