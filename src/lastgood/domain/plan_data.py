"""The ``data`` of a plan file: what each key means, and the rules that span its keys."""

from typing import Annotated, Final

import msgspec

from lastgood.domain.data_file import SOURCE_NAME_HINT, SOURCE_NAME_PATTERN, is_source_name
from lastgood.domain.placed_yaml import Placed
from lastgood.domain.plan import DataPlan, OnRollback, Strategy
from lastgood.domain.plan_meaning import means
from lastgood.domain.plan_quantity import Duration

_MIGRATE_HINT: Final = "Give the program and its arguments: [python, migrate.py]."


class DataDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The live data that the release depends on, and what becomes of it when the release is rolled back.

    It is captured and read back before anything changes; a release whose data cannot be captured does not start.
    """

    source: Annotated[
        str,
        means(
            "Which data: the NAME of a table [data.NAME] in lastgood.toml.",
            None,
            "features",
            pattern=SOURCE_NAME_PATTERN,
        ),
    ]
    on_rollback: Annotated[
        OnRollback,
        means(
            "What a rollback does with it: 'restore' puts it back as it was captured, together with the model, and "
            "keeps and counts what that replaces; 'keep' takes the model back and leaves the data; 'freeze', for a "
            "migration that is one-way, stops once that has begun: nothing moves by itself, and a person is told."
        ),
    ] = OnRollback.RESTORE
    migrate: Annotated[
        tuple[str, ...] | None,
        means(
            "A program and its arguments that changes the data before the candidate has traffic, run in the "
            "project's folder and without a shell. When it fails, the release is rolled back. Needs "
            "trust_plan_commands in lastgood.toml. Default: none.",
            None,
            ["python", "migrate.py"],
            minItems=1,
        ),
    ] = None
    migrate_timeout: Annotated[
        Duration | None,
        means("How long 'migrate' may take; then it is ended, and has failed. Above 0.", "10m", "1h"),
    ] = None
    hold: Annotated[
        bool,
        means(
            "With true, requests wait (each for at most request_timeout) from before the migration until all traffic "
            "is on the candidate: for data that the stable version cannot read any more. Needs 'migrate' and "
            "'strategy: all_at_once'."
        ),
    ] = False


def read_data(placed: Placed, strategy: Strategy, document: DataDocument | None) -> DataPlan | None:
    """Return what the plan says of data, None where it says nothing.

    :raises LastgoodError: ``invalid`` with the place of the key at fault.
    """
    if document is None:
        return None
    if not is_source_name(document.source):
        message = f"{document.source[:60]!r} cannot name a data source."
        raise placed.refusal("$.data.source", message, SOURCE_NAME_HINT)
    _check_migration(placed, document)
    if document.hold:
        _check_hold(placed, strategy, document)
    usual = DataPlan(source=document.source)
    return DataPlan(
        source=document.source,
        on_rollback=document.on_rollback,
        migrate=document.migrate or (),
        migrate_timeout=usual.migrate_timeout
        if document.migrate_timeout is None
        else float(document.migrate_timeout),
        hold=document.hold,
    )


def _check_migration(placed: Placed, document: DataDocument) -> None:
    migrate = document.migrate
    if migrate is not None and (not migrate or not migrate[0].strip()):
        raise placed.refusal("$.data.migrate", "The migration names no program.", _MIGRATE_HINT)
    for index, argument in enumerate(migrate or ()):
        if "\0" in argument:
            path = f"$.data.migrate[{index}]"
            raise placed.refusal(path, "The migration holds a NUL character.", "Remove it.")
    if document.migrate_timeout is None:
        return
    path = "$.data.migrate_timeout"
    if migrate is None:
        message = "There is no migration that a migrate_timeout could end."
        raise placed.refusal(path, message, "Remove it, or add the program: 'migrate: [python, migrate.py]'.")
    if document.migrate_timeout <= 0:
        raise placed.refusal(path, "migrate_timeout must be above 0.", "Give a time such as 10m.")


def _check_hold(placed: Placed, strategy: Strategy, document: DataDocument) -> None:
    """Refuse to let requests wait for nothing, or for as long as a release goes step by step."""
    if document.migrate is None:
        message = "With hold, requests wait for a migration, and this plan has none."
        raise placed.refusal("$.data.hold", message, "Remove it, or add 'migrate'.")
    if strategy is not Strategy.ALL_AT_ONCE:
        message = f"With hold, requests wait until all traffic is on the candidate, and {strategy.value} goes there in steps."
        next_step = (
            "Use 'strategy: all_at_once', or leave hold out and migrate to data that both versions can read."
        )
        raise placed.refusal("$.data.hold", message, next_step)
