"""The tables. Look-ups go by key or by an index that is named after what it serves.

A document (version, release ...) is kept whole as JSON beside the columns that queries need; ``format`` says
which layout of JSON it is. Ids and numbers are allotted by us under the write lock, so they have no gaps.
"""

from typing import Final

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
    literal_column,
    text,
    true,
)

from lastgood.domain.release import TERMINAL

Whole: Final = BigInteger().with_variant(Integer, "sqlite")  # in SQLite only INTEGER may be the row's own id
metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

ledger: Final = Table(  # one row: what was allotted last. Locking it is the write lock of PostgreSQL
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("release", Whole, nullable=False),
    Column("generation", Whole, nullable=False),
    Column("sequence", Whole, nullable=False),
    Column("hash", Text, nullable=False),
    Column("bound_from", Whole, nullable=False, server_default=text("1")),  # events carry effects from here
)

models: Final = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("newest", Integer, nullable=False),  # the highest version number
)

versions: Final = Table(
    "versions",
    metadata,
    Column("model", Text, ForeignKey("models.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("label", Text),
    Column("digest", Text, nullable=False),
    Column("format", Integer, nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("model", "label"),
    Index("versions_by_digest", "model", "digest", "number"),
)

deployments: Final = Table(
    "deployments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("model", Text, ForeignKey("models.name"), nullable=False),
    Column("revision", Whole, nullable=False),
    Column("stable", Integer),
    Column("release", Whole),
    Column("generation", Whole, nullable=False),
)

releases: Final = Table(
    "releases",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=False),
    Column("deployment", Text, ForeignKey("deployments.name"), nullable=False),
    Column("revision", Whole, nullable=False),
    Column("phase", Text, nullable=False),
    Column("format", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Index("releases_by_deployment", "deployment", "id"),
)
UNDER_WAY: Final = (
    releases.c.phase.not_in(  # spelt out: SQLite does not match parameters with an index's WHERE
        [literal_column(f"'{phase}'") for phase in sorted(phase.value for phase in TERMINAL)]
    )
)
Index(
    "one_release_under_way",
    releases.c.deployment,
    unique=True,
    sqlite_where=UNDER_WAY,
    postgresql_where=UNDER_WAY,
)

history: Final = Table(  # ``latest``: no newer entry of this version in this deployment
    "history",
    metadata,
    Column("deployment", Text, ForeignKey("deployments.name"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double),
    Column("release", Whole, nullable=False),
    Column("good", Boolean, nullable=False),
    Column("latest", Boolean, nullable=False),
    Column("event", Whole),  # its sequence; NULL where the entry is older than effects
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
    Index("history_by_time", "deployment", "since", "sequence"),
    Index("history_by_digest", "digest"),
)
OPEN: Final = history.c.until.is_(None)
Index("history_open", history.c.deployment, unique=True, sqlite_where=OPEN, postgresql_where=OPEN)
LATEST: Final = history.c.latest == true()
WAY_BACK: Final = (history.c.good == true()) & LATEST
Index(
    "way_back",
    history.c.deployment,
    history.c.sequence,
    sqlite_where=WAY_BACK,
    postgresql_where=WAY_BACK,
)
Index(
    "history_latest",
    history.c.deployment,
    history.c.version,
    unique=True,
    sqlite_where=LATEST,
    postgresql_where=LATEST,
)

failures: Final = Table(
    "failures",
    metadata,
    Column("id", Whole, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("lifted_by", Whole),
    Column("format", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Index("failures_by_digest", "digest", "id"),
)
STANDING: Final = failures.c.lifted_by.is_(None)

events: Final = Table(
    "events",
    metadata,
    Column("sequence", Whole, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("deployment", Text),
    Column("release", Whole),
    Column("version", Integer),
    Column("data", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("events_by_deployment", "deployment", "sequence"),
)
for _verb in ("update", "delete"):
    event.listen(
        events,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER events_no_{_verb} BEFORE {_verb.upper()} ON events "
            "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
        ).execute_if(dialect="sqlite"),
    )

evidence: Final = Table(
    "evidence",
    metadata,
    Column("release", Whole, ForeignKey("releases.id"), primary_key=True, autoincrement=False),
    Column("sequence", Whole, nullable=False),
    Column("format", Integer, nullable=False),
    Column("document", Text, nullable=False),
)

strata: Final = Table(
    "strata",
    metadata,
    Column("release", Whole, ForeignKey("releases.id"), primary_key=True, autoincrement=False),
    Column("sequence", Whole, primary_key=True, autoincrement=False),
    Column("format", Integer, nullable=False),
    Column("document", Text, nullable=False),
)

traffic: Final = Table(  # refers to nothing: what is counted of a deployment never stands in anybody's way
    "traffic",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("minute", Whole, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("format", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Index("traffic_by_minute", "minute"),
)

kept: Final = Table(  # by the token under which a source keeps it
    "kept",
    metadata,
    Column("token", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("release", Whole, nullable=False),
    Column("kind", Text, nullable=False),
    Column("freed_at", Double),
    Column("format", Integer, nullable=False),
    Column("document", Text, nullable=False),
)
HERE: Final = kept.c.freed_at.is_(None)
Index("kept_here", kept.c.source, kept.c.release, sqlite_where=HERE, postgresql_where=HERE)

outbox: Final = Table(  # ``outcome``: NULL while it waits, then sent or given_up
    "outbox",
    metadata,
    Column("id", Whole, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("event", Whole, ForeignKey("events.sequence"), nullable=False),
    Column("channel", Text, nullable=False),
    Column("format", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("outcome", Text),
    Column("finished_at", Double),
    Column("error", Text),
)
WAITING: Final = outbox.c.outcome.is_(None)
Index("outbox_waiting", outbox.c.due_at, outbox.c.id, sqlite_where=WAITING, postgresql_where=WAITING)
SENT: Final = outbox.c.outcome == literal_column("'sent'")
Index("outbox_sent", outbox.c.finished_at, sqlite_where=SENT, postgresql_where=SENT)
