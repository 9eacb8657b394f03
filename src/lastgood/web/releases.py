"""Starting a release and looking at one."""

from lastgood.bootstrap import Services
from lastgood.control.release_report import ReleaseReport
from lastgood.control.starting import Order
from lastgood.control.views import ReleaseView
from lastgood.domain.plan import Plan, Strategy
from lastgood.domain.plan_built_in import built_in, standing_shadow
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.quantity import parse_weight
from lastgood.errors import Code, LastgoodError
from lastgood.web.bodies import EvidenceQuery, ReleaseOrder
from lastgood.web.endpoint import PREFIX, Endpoint


def start(services: Services, *, body: ReleaseOrder) -> ReleaseView:
    """Start a release, after every check that can be made before anything moves."""
    order = Order(
        model=body.model,
        version=str(body.version),
        deployment=body.deployment,
        plan=_plan(body),
        override=body.override,
        actor=body.actor,
    )
    return services.views.release(services.releases.start(order).id)


def release(services: Services, *, id: str, query: EvidenceQuery) -> ReleaseView:  # noqa: A002 - the name in the path
    """Return one release."""
    return services.views.release(_number(id), intervals=query.evidence)


def report(services: Services, *, id: str) -> ReleaseReport:  # noqa: A002 - the name in the path
    """Return all that is to be told of one release."""
    return services.hindsight.report(_number(id))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise LastgoodError(Code.INVALID, f"{text!r} is not a release's number.", "See 'lastgood history'.")
    return int(text)


def _plan(body: ReleaseOrder) -> Plan | None:
    if body.plan is not None and body.shadow is not None:
        raise LastgoodError(
            Code.INVALID,
            "Both a plan and a shadow were given, and a plan has its shadow steps itself.",
            "Leave one of them out, or add a step such as 'shadow: 10%' to the plan.",
        )
    if body.plan is not None and body.strategy is not None:
        raise LastgoodError(
            Code.INVALID,
            "Both a plan and a strategy were given, and a plan names its strategy itself.",
            "Leave one of them out.",
        )
    if body.plan is not None:
        return parse_plan(body.plan, source=body.plan_source)
    if body.shadow is not None:
        return _standing(body.shadow, body.strategy or Strategy.CANARY)
    return None if body.strategy is None else built_in(body.strategy)


def _standing(shadow: str, strategy: Strategy) -> Plan:
    if strategy is Strategy.ALL_AT_ONCE:
        raise LastgoodError(
            Code.INVALID,
            "The strategy all_at_once has no steps, so no shadow can stand before them.",
            "Use canary or blue_green.",
        )
    return standing_shadow(strategy, parse_weight(shadow))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path=f"{PREFIX}/releases",
        call=start,
        body=ReleaseOrder,
        answer=ReleaseView,
        summary="Start a release",
        status=201,
    ),
    Endpoint(
        method="GET",
        path=f"{PREFIX}/releases/{{id}}",
        call=release,
        query=EvidenceQuery,
        answer=ReleaseView,
        summary="One release",
    ),
    Endpoint(
        method="GET",
        path=f"{PREFIX}/releases/{{id}}/report",
        call=report,
        answer=ReleaseReport,
        summary="One release with its timeline, how its evidence grew, and what is left to do",
    ),
)
