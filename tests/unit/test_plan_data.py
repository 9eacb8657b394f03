"""The data of a plan file: what is accepted becomes what was meant; what is not is refused at its line."""

import pytest

from lastgood.cli.plan_words import in_words
from lastgood.domain.plan import DataPlan, DrillPlan, OnRollback
from lastgood.domain.plan_file import parse_plan
from lastgood.domain.plan_schema import plan_schema
from lastgood.errors import Code, LastgoodError

HELD = (
    "strategy: all_at_once\ndata:\n  source: features\n  migrate: [python, 'my migration.py']\n  hold: true\n"
)
BARE = "data:\n  source: features\n"


def test_every_key_is_read():
    """A whole section becomes exactly the data plan that it describes."""
    plan = parse_plan(f"{HELD}  on_rollback: freeze\n  migrate_timeout: 1h30m\n")
    assert plan.data == DataPlan(
        source="features",
        on_rollback=OnRollback.FREEZE,
        migrate=("python", "my migration.py"),
        migrate_timeout=5400.0,
        hold=True,
    )


def test_only_the_source_must_be_said():
    """What is left out is the data plan's own default; a plan without the section has none."""
    assert parse_plan(BARE).data == DataPlan(source="features")
    assert parse_plan("strategy: canary").data is None


def test_every_default_of_the_schema_is_the_one_in_force():
    """Writing a default out gives the same plan as leaving it out."""
    properties = plan_schema()["$defs"]["DataDocument"]["properties"]
    written = {key: found["default"] for key, found in properties.items() if "default" in found}
    assert set(written) == {"on_rollback", "migrate_timeout", "hold"}
    keys = "".join(f"  {key}: {str(value).lower()}\n" for key, value in written.items())
    migrated = f"{BARE}  migrate: [migrate]\n"
    assert parse_plan(migrated + keys) == parse_plan(migrated)


def test_drills_are_read_and_told_in_words():
    """A plan says how often the rollback is rehearsed, or nothing of it."""
    assert parse_plan("drill: {every: 1d}").drill == DrillPlan(every=86_400.0)
    assert parse_plan("strategy: canary").drill is None
    assert "Rehearses the rollback once the release is over, then every 1d" in told("drill: {every: 24h}")
    assert "Rehearses" not in told("strategy: canary")


FAULTS = [
    ("drill: {}", 1, 8, "every: 24h"),
    ("drill: 24h", 1, 8, "a mapping"),
    ("drill: {every: 24}", 1, 16, "a duration"),
    ("drill: {every: 59s}", 1, 16, "at least 1m"),
    ("drill: {evry: 24h}", 1, 9, "Did you mean 'every'?"),
    ("data: {}", 1, 7, "source: features"),
    ("data: features", 1, 7, "a mapping"),
    ("data:\n  source: F-1", 2, 11, "small letters"),
    ('data:\n  source: "features\\n"', 2, 11, "small letters"),
    ("data:\n  source: 5", 2, 11, "text"),
    (f"{BARE}  sauce: x", 3, 3, "Did you mean 'source'?"),
    (f"{BARE}  on_rollbak: keep", 3, 3, "Did you mean 'on_rollback'?"),
    (f"{BARE}  on_rollback: restor", 3, 16, "Did you mean 'restore'?"),
    (f"{BARE}  migrate: python migrate.py", 3, 12, "a list"),
    (f"{BARE}  migrate: []", 3, 12, "[python, migrate.py]"),
    (f"{BARE}  migrate: [' ']", 3, 12, "no program"),
    (f'{BARE}  migrate: [a, "b\\0"]', 3, 16, "NUL"),
    (f"{BARE}  migrate: [a, 5]", 3, 16, "text"),
    (f"{BARE}  migrate_timeout: 5m", 3, 20, "no migration"),
    (f"{BARE}  migrate: [a]\n  migrate_timeout: 0s", 4, 20, "above 0"),
    (f"{BARE}  migrate: [a]\n  migrate_timeout: 300", 4, 20, "no unit"),
    (f"{BARE}  hold: yes", 3, 9, "true or false"),
    (f"strategy: all_at_once\n{BARE}  hold: true", 4, 9, "this plan has none"),
    (f"{BARE}  migrate: [a]\n  hold: true", 4, 9, "strategy: all_at_once"),
    (f"strategy: blue_green\n{BARE}  migrate: [a]\n  hold: true", 5, 9, "strategy: all_at_once"),
]


@pytest.mark.parametrize(("text", "line", "column", "said"), FAULTS, ids=[fault[3] for fault in FAULTS])
def test_a_fault_is_told_at_its_line_with_what_to_do(text, line, column, said):
    """The error begins with file, line and column, and says what is accepted there."""
    with pytest.raises(LastgoodError) as caught:
        parse_plan(text)
    assert caught.value.code is Code.INVALID
    assert caught.value.message.startswith(f"plan.yaml:{line}:{column}: ")
    assert said in str(caught.value)
    assert caught.value.next_step


def told(text: str) -> str:
    return "\n".join(in_words(parse_plan(text)))


def test_a_held_migration_is_told_whole():
    """What is captured, what runs, that requests wait, and that model and data come back together."""
    words = told(HELD)
    assert "features is captured and read back before anything changes" in words
    assert "for at most 10m: python 'my migration.py'" in words
    assert "Requests wait from before it runs until all traffic is on the candidate; one" in words
    assert "504" in words
    assert "puts it back together with the model" in words


def test_a_migration_without_hold_warns_that_both_versions_read_it():
    """Stable answers meanwhile, so the words say what that asks of the data."""
    words = told(f"{BARE}  migrate: [migrate]\n")
    assert "Requests do not wait" in words
    assert "both versions must be able to read it" in words


@pytest.mark.parametrize(
    ("keys", "says", "never"),
    [
        ("", "puts it back together", "leaves the data"),
        ("  on_rollback: keep\n", "leaves the data as it is", "staged"),
        ("  on_rollback: freeze\n", "leaves the data as it is", "staged"),
        ("  on_rollback: freeze\n  migrate: [m]\n", "nothing goes back by itself", "is rolled back,"),
    ],
)
def test_what_a_rollback_does_with_the_data_is_told(keys, says, never):
    """Each choice has words of its own, and promises nothing of the others."""
    words = told(BARE + keys)
    assert says in words
    assert never not in words
