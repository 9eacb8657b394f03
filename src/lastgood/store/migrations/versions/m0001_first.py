"""The first layout: registry, deployments and releases, the record, evidence, and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "m0001"
down_revision = None
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables and the one row of the ledger."""
    _registry()
    _deployments()
    _history()
    _record()
    _evidence()
    _outbox()


def _registry() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("newest", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_models"),
    )
    op.create_table(
        "versions",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("label", sa.Text()),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "number", name="pk_versions"),
        sa.UniqueConstraint("model", "label", name="uq_versions_model_label"),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_versions_model"),
    )
    op.create_index("versions_by_digest", "versions", ["model", "digest", "number"])
    op.create_table(
        "failures",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("lifted_by", _WHOLE),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_failures"),
    )
    op.create_index("failures_by_digest", "failures", ["digest", "id"])


def _deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("stable", sa.Integer()),
        sa.Column("release", _WHOLE),
        sa.Column("generation", _WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_deployments"),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_deployments_model"),
    )
    op.create_table(
        "releases",
        sa.Column("id", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("revision", _WHOLE, nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_releases"),
        sa.ForeignKeyConstraint(["deployment"], ["deployments.name"], name="fk_releases_deployment"),
    )
    op.create_index("releases_by_deployment", "releases", ["deployment", "id"])
    under_way = sa.text("(phase NOT IN ('aborted', 'rolled_back', 'succeeded'))")
    _partial("one_release_under_way", "releases", ["deployment"], under_way, under_way, unique=True)


def _history() -> None:
    op.create_table(
        "history",
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("until", sa.Double()),
        sa.Column("release", _WHOLE, nullable=False),
        sa.Column("good", sa.Boolean(), nullable=False),
        sa.Column("latest", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("deployment", "sequence", name="pk_history"),
        sa.ForeignKeyConstraint(
            ["model", "version"], ["versions.model", "versions.number"], name="fk_history_model_version"
        ),
        sa.ForeignKeyConstraint(["deployment"], ["deployments.name"], name="fk_history_deployment"),
    )
    op.create_index("history_by_time", "history", ["deployment", "since", "sequence"])
    op.create_index("history_by_digest", "history", ["model", "digest"])
    unclosed = sa.text("until IS NULL")
    _partial("history_open", "history", ["deployment"], unclosed, unclosed, unique=True)
    _partial(
        "way_back",
        "history",
        ["deployment", "sequence"],
        sa.text("good = 1 AND latest = 1"),
        sa.text("good = true AND latest = true"),
    )
    _partial(
        "history_latest",
        "history",
        ["deployment", "version"],
        sa.text("latest = 1"),
        sa.text("latest = true"),
        unique=True,
    )


def _record() -> None:
    book = op.create_table(
        "ledger",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("release", _WHOLE, nullable=False),
        sa.Column("generation", _WHOLE, nullable=False),
        sa.Column("sequence", _WHOLE, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger"),
    )
    op.bulk_insert(book, [{"id": 1, "release": 0, "generation": 0, "sequence": 0, "hash": "0" * 64}])
    op.create_table(
        "events",
        sa.Column("sequence", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text()),
        sa.Column("release", _WHOLE),
        sa.Column("version", sa.Integer()),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_events"),
    )
    op.create_index("events_by_deployment", "events", ["deployment", "sequence"])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER events_no_{verb} BEFORE {verb.upper()} ON events "
                "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
            )


def _evidence() -> None:
    op.create_table(
        "evidence",
        sa.Column("release", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("sequence", _WHOLE, nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("release", name="pk_evidence"),
        sa.ForeignKeyConstraint(["release"], ["releases.id"], name="fk_evidence_release"),
    )
    op.create_table(
        "strata",
        sa.Column("release", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("sequence", _WHOLE, autoincrement=False, nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("release", "sequence", name="pk_strata"),
        sa.ForeignKeyConstraint(["release"], ["releases.id"], name="fk_strata_release"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("event", _WHOLE, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("key", name="uq_outbox_key"),
        sa.ForeignKeyConstraint(["event"], ["events.sequence"], name="fk_outbox_event"),
    )
    waiting = sa.text("outcome IS NULL")
    _partial("outbox_waiting", "outbox", ["due_at", "id"], waiting, waiting)


def _partial(
    name: str,
    table: str,
    columns: list[str],
    sqlite: sa.TextClause,
    postgresql: sa.TextClause,
    *,
    unique: bool = False,
) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sqlite, postgresql_where=postgresql)
