"""What must hold before a release may start. Refusals name the broken rule and the way out."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from lastgood.domain.deployment import Deployment, Failure
from lastgood.domain.plan import DataPlan, Guardrail, Metric, Plan
from lastgood.domain.plan_slices import columns_told, unknown_columns
from lastgood.domain.release import Release
from lastgood.domain.version import Format, Version, input_differences
from lastgood.errors import Code, LastgoodError
from lastgood.ports import Blobs
from lastgood.settings import Settings
from lastgood.wire.asking import check_may_ask, host_of, is_loopback, lies_outside

_TRUST_PLANS: Final = "set trust_plan_commands = true there"
_NAMED_MAX: Final = 20


def check_free(deployment: Deployment, version: Version) -> None:
    """Refuse when another release is under way, or when the version serves already."""
    if deployment.release is not None:
        raise LastgoodError(
            Code.CONFLICT,
            f"Release {deployment.release} of {deployment.name} is still under way.",
            f"Wait for it, or end it: 'lastgood abort {deployment.name}', in its watch 'lastgood rollback {deployment.name}'.",
        )
    if deployment.model != version.model:
        raise LastgoodError(
            Code.CONFLICT,
            f"{deployment.name} serves the model {deployment.model}, not {version.model}.",
            "Choose another name with --deployment.",
        )
    if deployment.stable == version.number:
        raise LastgoodError(
            Code.REFUSED,
            f"{version.display} is the stable version of {deployment.name} already.",
            "There is nothing to release.",
        )


def check_data(
    plan: DataPlan, deployment: Deployment, under_way: Iterable[Release], known: Sequence[str]
) -> None:
    """Refuse data that the settings do not know, or that another release is at work on."""
    check_source_known(plan, known)
    source = plan.source
    for other in under_way:
        if (
            other.deployment != deployment.name
            and other.plan.data is not None
            and other.plan.data.source == source
        ):
            raise LastgoodError(
                Code.CONFLICT,
                f"Release {other.id} of {other.deployment} is at work on the data source {source!r}.",
                f"Wait for it, or end it: lastgood abort {other.deployment}",
            )


def check_source_known(plan: DataPlan, known: Sequence[str]) -> None:
    """Refuse data that the settings do not know; ``known`` are the sources that they do."""
    if plan.source not in known:
        raise LastgoodError(
            Code.REFUSED,
            f"The plan speaks of the data source {plan.source!r}, which the settings do not know"
            f" ({', '.join(known) or 'they know none'}).",
            f"Add a table [data.{plan.source}] to lastgood.toml and restart the server.",
        )


def check_fits(plan: Plan, version: Version, misfits: Callable[[Version], tuple[str, ...]]) -> None:
    """Refuse a version that does not fit the live data of today, unless the plan migrates that first."""
    if plan.data is not None and plan.data.migrate:
        return
    found = misfits(version)
    if found:
        raise LastgoodError(
            Code.REFUSED,
            f"{version.display} does not fit the live data: {'; '.join(found)}. Nothing was changed.",
            "Migrate the data first, or let the plan do it (data: migrate).",
        )


def check_takes_the_same(stable: Version | None, version: Version) -> None:
    """Refuse a candidate that does not take what the callers of the stable version send."""
    if stable is None or stable.signature is None or version.signature is None:
        return
    found = input_differences(stable.signature, version.signature)
    if found:
        raise LastgoodError(
            Code.REFUSED,
            f"{version.display} does not take what callers of {stable.display} send: {'; '.join(found)}.",
            "Serve it under a name of its own, for callers that know its inputs: --deployment NAME.",
        )


def check_not_failed(version: Version, failure: Failure | None, override: str | None) -> None:
    """Refuse bytes that failed before, unless a named person overrides it with a reason."""
    if failure is None or failure.lifted_by is not None or override:
        return
    raise LastgoodError(
        Code.REFUSED,
        f"{version.display} is tagged failed: release {failure.release} of {failure.deployment} was rolled back "
        f"(by {failure.by}; {failure.cause.rstrip('.')}).",
        'Release a repaired version, or say why these bytes deserve another try: --override "reason".',
        details={
            "failure": {"release": failure.release, "cause": failure.cause, "evidence": failure.evidence}
        },
    )


def check_trusted(version: Version, settings: Settings) -> None:
    """Refuse formats that run code unless the operator's settings trust them."""
    if version.format in (Format.PICKLE, Format.JOBLIB) and not settings.trust_pickle:
        raise LastgoodError(
            Code.UNTRUSTED,
            f"{version.display} is a {version.format.value} file, and loading one runs whatever code it carries.",
            "Export the model to ONNX or skops; or, if you trust where it came from, set trust_pickle = true in "
            "lastgood.toml.",
        )
    if version.format is Format.CALLABLE and not settings.trust_callable:
        raise LastgoodError(
            Code.UNTRUSTED,
            f"{version.display} is Python code, and these settings do not trust code (trust_callable = false).",
            "Export the model to ONNX or skops, or change that setting.",
        )


def check_plan_trusted(plan: Plan, settings: Settings) -> None:
    """Refuse a plan whose notifications would make the server do more than the operator's settings allow.

    Whoever may start a release may send a plan; running programs, posting to other machines and signing with
    any file of the server's are the operator's to allow.

    :raises LastgoodError: ``untrusted``.
    """
    if settings.trust_plan_commands:
        return
    if plan.data is not None and plan.data.migrate:
        raise LastgoodError(
            Code.UNTRUSTED,
            f"The plan wants the server to run {plan.data.migrate[0]!r}, and these settings do not let plans run programs.",
            "To let them, set trust_plan_commands = true in lastgood.toml.",
        )
    known = {host_of(one.webhook) for one in settings.notify if one.webhook is not None}
    for channel in plan.notify:
        if channel.command:
            raise LastgoodError(
                Code.UNTRUSTED,
                f"The plan wants the server to run {channel.command[0]!r}, and these settings do not let plans run "
                "programs.",
                f"Name that command under notify in lastgood.toml, or {_TRUST_PLANS}.",
            )
        host = host_of(channel.webhook or "")
        if channel.webhook is not None and not is_loopback(host) and host not in known:
            raise LastgoodError(
                Code.UNTRUSTED,
                f"The plan wants the server to post to {host!r}, and no webhook of these settings is there.",
                f"Name a webhook on that host under notify in lastgood.toml, or {_TRUST_PLANS}.",
            )
        if channel.secret is not None and _lies_outside(channel.secret, settings):
            raise LastgoodError(
                Code.UNTRUSTED,
                "The plan wants to sign with a file outside the project's folder.",
                "Put the key into the project's folder or the server's environment (env:NAME), or set "
                "trust_plan_commands = true in lastgood.toml.",
            )


def check_metrics(plan: Plan, settings: Settings) -> None:
    """Refuse a plan whose custom metrics would ask somebody whom the operator's settings do not name.

    :raises LastgoodError: ``untrusted``.
    """
    for one in plan.guardrails:
        if one.custom is not None:
            check_may_ask(one.custom, settings)


def check_labels(plan: Plan, settings: Settings) -> None:
    """Refuse guardrails whose labels could never count: nothing is recorded, or it is dropped before it is mature.

    :raises LastgoodError: ``refused``.
    """
    needing = [one for one in plan.guardrails if one.kpi is not None]
    _check_recorded(needing, settings, "needs labels, and no predictions are recorded that they could meet")
    reading = [one for one in plan.guardrails if one.agreement is not None]
    _check_recorded(reading, settings, "looks at recorded answers, and no predictions are recorded")
    for one in needing:
        if one.kpi is not None and one.kpi.after >= settings.keep_predictions:
            raise LastgoodError(
                Code.REFUSED,
                f"{one.name} waits {one.kpi.after:g} s ('after'), and predictions are dropped after "
                f"{settings.keep_predictions:g} s.",
                "Raise keep_predictions in lastgood.toml, or give a shorter 'after'.",
            )


def check_slices(plan: Plan, version: Version) -> None:
    """Refuse slices by columns that no request for the version can have, as far as its signature is known.

    :raises LastgoodError: ``refused``, with the columns that there are.
    """
    if version.signature is None:
        return
    for one in plan.guardrails:
        unknown = unknown_columns(one.slices, version.signature)
        if unknown:
            raise LastgoodError(
                Code.REFUSED,
                f"{one.name} has slices by {unknown[0]!r}, and that is no column of what {version.display} takes: "
                f"{columns_told(version.signature)}.",
                "Name one of these, or leave it out of the guardrail's slices.",
            )


def check_sketches(plan: Plan, settings: Settings) -> None:
    """Refuse guardrails on values that nobody would look at: nothing is recorded.

    :raises LastgoodError: ``refused``.
    """
    needing = [one for one in plan.guardrails if one.drift is not None]
    _check_recorded(needing, settings, "looks at inputs and answers, and no predictions are recorded")


def _check_recorded(needing: list[Guardrail], settings: Settings, why: str) -> None:
    if needing and not settings.record_predictions:
        raise LastgoodError(
            Code.REFUSED,
            f"{needing[0].name} {why}.",
            "Set record_predictions = true in lastgood.toml and restart the server.",
        )


def check_reference(plan: Plan, version: Version) -> None:
    """Refuse a guardrail on inputs for a version of which nobody knows what it was trained on.

    :raises LastgoodError: ``refused``.
    """
    for one in plan.guardrails:
        if one.metric is not Metric.DRIFT or one.drift is None:
            continue
        if version.reference is None:
            raise LastgoodError(
                Code.REFUSED,
                f"{one.name} compares with what the version was trained on, and {version.display} has no reference.",
                "Register it with --reference FILE (its training data), or leave the guardrail out of the plan.",
            )
        names = {name for feature in version.reference.features for name in (feature.name, feature.shown)}
        unknown = [name for name in one.drift.features if name not in names]
        if unknown:
            shown = ", ".join(feature.shown for feature in version.reference.features[:_NAMED_MAX])
            raise LastgoodError(
                Code.REFUSED,
                f"{one.name} names the feature {unknown[0]!r}, which the reference of {version.display} does not have.",
                f"It has {len(version.reference.features)}: {shown}.",
            )


def _lies_outside(secret: str, settings: Settings) -> bool:
    kind, _, path = secret.partition(":")
    return kind == "file" and lies_outside(path, settings)


def check_artifact(version: Version, blobs: Blobs) -> None:
    """Read the artifact back and compare it with its digest."""
    try:
        blobs.verify(version.digest)
    except LastgoodError as error:
        if error.code not in (Code.CORRUPT, Code.NOT_FOUND):
            raise
        raise LastgoodError(
            Code.REFUSED,
            f"The artifact of {version.display} is not what was registered: {error.message}",
            "Restore the file from a backup, or register the model again under a new label.",
        ) from error
