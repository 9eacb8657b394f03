"""The guardrail of a plan file whose numbers come from outside, as a person writes it.

Part of :mod:`lastgood.domain.plan_document`; the rules that span keys are :mod:`lastgood.domain.plan_custom_rules`.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from lastgood.domain.plan import NoData, OnFail
from lastgood.domain.plan_guardrail_keys import DryRun, Name, ProofMargin, RateMargin, Share, WhatFollows
from lastgood.domain.plan_meaning import means
from lastgood.domain.plan_quantity import Duration

MAX_ASKED: Final = 10_000
"""The longest URL, statement or query, in characters."""

_Text = Annotated[str, Meta(min_length=1, max_length=MAX_ASKED)]
_Bound = float | Annotated[str, Meta(max_length=20)] | None


class CustomSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is asked: exactly one of 'http', 'python', 'sql' and 'prometheus'."""

    http: Annotated[
        _Text | None,
        means(
            "A URL that answers JSON. Names in braces, such as {candidate.version}, are put into its path and query, "
            "URL-encoded. Or env:NAME, file:PATH where it holds a key.",
            None,
            "https://metrics.example.org/churn.json?version={candidate.version}",
        ),
    ] = None
    python: Annotated[
        _Text | None,
        means(
            "A function: an entry point of the group 'lastgood.metrics', or module:function where "
            "trust_plan_commands = true. It is given a mapping, and runs in a process of its own.",
            None,
            "complaints",
        ),
    ] = None
    sql: Annotated[
        _Text | None,
        means(
            "One SELECT statement. :candidate, :stable (version numbers), :since, :now (seconds since the epoch), "
            ":release, :deployment, :model, :candidate_label and :stable_label are bound parameters.",
            None,
            "SELECT avg(refunded) FROM orders WHERE version = :candidate",
        ),
    ] = None
    prometheus: Annotated[
        _Text | None,
        means(
            "An instant query that gives one value. Names in braces, such as {candidate.version}, are put into it; write "
            "quotes around them.",
            None,
            'sum(rate(complaints_total{version="{candidate.version}"}[5m]))',
        ),
    ] = None
    url: Annotated[
        Annotated[str, Meta(min_length=1, max_length=2000)] | None,
        means(
            "With 'sql' the database, with 'prometheus' its address; a URL, or env:NAME, file:PATH where it holds one.",
            None,
            "env:ORDERS_URL",
            "http://127.0.0.1:9090",
        ),
    ] = None
    value: Annotated[
        Annotated[str, Meta(min_length=1, max_length=200)] | None,
        means(
            "With 'http': where in the document the answer is, keys and places in lists with dots between. Default: the "
            "whole document.",
            None,
            "data.rate",
        ),
    ] = None


class CustomGuardrail(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric", tag="custom"
):
    """Fails when a number from outside is out of bounds, or counts from outside are worse than stable's.

    It needs 'max', 'min' or both; or 'compare: counts'.
    """

    name: Name = None
    source: Annotated[CustomSource, means("Who is asked, and what.")]
    compare: Annotated[
        Literal["counts"] | None,
        means(
            "'counts': the answers are bad ones among all of candidate and stable since the candidate's traffic began, and "
            "are compared like errors. Default: the answer is one number.",
            None,
            "counts",
        ),
    ] = None
    every: Annotated[Duration | None, means("How often it is asked, from 1s on.", "1m", "5m")] = None
    timeout: Annotated[
        Duration | None, means("How long an answer may take, at most 10m; then it is an error.", "10s", "30s")
    ] = None
    maximum: Annotated[
        _Bound,
        means(
            "The largest number allowed. Of counts, a hard limit on the candidate's rate.", None, 0.05, "5%"
        ),
    ] = msgspec.field(default=None, name="max")
    minimum: Annotated[_Bound, means("The smallest number allowed; not of counts.", None, 0.9)] = (
        msgspec.field(default=None, name="min")
    )
    failures: Annotated[
        int,
        Meta(ge=1, le=1000),
        means(
            "Measurements in a row that are out of bounds until it fails, or that say nothing until the verdict changes."
        ),
    ] = 3
    margin: RateMargin = None
    proof: ProofMargin = msgspec.field(default=None, name="proof_margin")
    min_bad: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        means("Of counts: bad ones of the candidate that must be there before the comparison may fail.", 2),
    ] = None
    min_samples: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000_000)] | None,
        means(
            "Of counts: all of the candidate that must be there before 'max' is judged, and before it can pass.",
            50,
        ),
    ] = None
    share: Share = None
    on_fail: WhatFollows = OnFail.ROLLBACK
    no_data: Annotated[
        NoData,
        means(
            "What follows when there is no data: 'hold' stands in the way of the promotion, 'fail' counts as failed at the "
            "end of a step, 'ignore' is not waited for. An error is not 'no data', and stands in the way."
        ),
    ] = NoData.HOLD
    dry_run: DryRun = False
