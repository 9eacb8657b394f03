"""What a Python program may import from the package itself."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lastgood

PUBLIC = (
    "TRANSITIONS Code Deployment Event Finding Format LastgoodError Phase Plan Release Role Settings Signature "
    "Step Strategy Tensor Verdict Version __version__ built_in count load_settings parse_plan plan_schema"
).split()
HEAVY = ("sqlalchemy", "alembic", "uvicorn", "starlette", "numpy", "onnxruntime", "httpx2", "click", "rich")


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_public_names_are_pinned():
    """A name is added or taken away on purpose only: others' programs depend on this list."""
    assert lastgood.__all__ == PUBLIC
    assert set(dir(lastgood)) == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name):
    """Each name resolves to something, and asking again gives the same object."""
    found = getattr(lastgood, name)
    assert found is getattr(lastgood, name)
    assert name == "__version__" or getattr(found, "__name__", name) == name


def test_a_type_checker_sees_what_the_program_gets():
    """The imports for type checkers name the same modules as the lazy table does."""
    source = Path(lastgood.__file__).read_text(encoding="utf-8")
    block = source.partition("if TYPE_CHECKING:")[2].partition("_HOMES")[0]
    told: dict[str, object] = {}
    imports = [line.strip() for line in block.splitlines() if line.strip().startswith("from ")]
    exec("\n".join(imports), told)
    names = set(told) - {"__builtins__"}
    assert names == set(PUBLIC) - {"__version__"}
    assert all(told[name] is getattr(lastgood, name) for name in names)


def test_an_unknown_name_is_an_attribute_error():
    """A slip of the pen is told as Python tells it."""
    with pytest.raises(AttributeError, match="no attribute 'rollback'"):
        _ = lastgood.rollback
    with pytest.raises(ImportError):
        exec("from lastgood import nothing")


def test_importing_the_package_loads_nothing_heavy():
    """'import lastgood' brings no database, server, array library or command line with it."""
    assert loaded_after("import lastgood").isdisjoint({*HEAVY, "msgspec", "yaml"})


def test_using_every_name_loads_nothing_heavy_either():
    """The public names are values and rules: even all of them together need none of the heavy packages."""
    loaded = loaded_after("from lastgood import *")
    assert "msgspec" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_docstrings_example_runs(tmp_path, monkeypatch, capsys):
    """The lines that the package's own docstring shows print what they seem to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LASTGOOD_HOME", raising=False)
    (tmp_path / "plan.yaml").write_text("steps:\n  - weight: 5%\n")
    lines = [line for line in (lastgood.__doc__ or "").splitlines() if line.startswith("    ")]
    exec(textwrap.dedent("\n".join(lines)), {})
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "weight 500"
    assert told[1].startswith("not_found")
    assert "lastgood init" in told[1]


def test_counting_outside_a_host_does_nothing_and_costs_nothing():
    """A model's own tests may call lastgood.count: nothing is kept, and nothing heavy is imported for it."""
    code = """
import lastgood
lastgood.count("low_confidence", [True, False])
lastgood.count("No Name", object())
from lastgood.host.counting import _Ear
assert _Ear.said == []
"""
    assert loaded_after(code).isdisjoint({*HEAVY, "msgspec"})
