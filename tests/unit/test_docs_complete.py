"""The pages written by hand name only what there is: links, commands, options, settings, exit codes, messages."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from world import World

from lastgood import errors
from lastgood.cli.main import root
from lastgood.cli.output import fail
from lastgood.control.moves import roll_back
from lastgood.domain.release import Phase
from lastgood.errors import LastgoodError
from lastgood.settings import Settings, described

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BY_HAND = [page for page in PAGES if "docs/generate" not in page.read_text(encoding="utf-8")[:200]]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(root))


def typed(text: str) -> Iterator[str]:
    """Yield every command line of Lastgood's on a page: in fences, and between backticks in the text."""
    fences = re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for fence in fences:
        for line in fence.splitlines():
            if line.removeprefix("$ ").startswith("lastgood "):
                yield line.removeprefix("$ ").partition(" #")[0]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (" ".join(found.split()) for found in re.findall(r"`(lastgood\s[^`]+)`", prose))


def fault(line: str) -> str:
    """Return what is wrong with a command line, empty when nothing is."""
    words = shlex.split(line)[1:]
    words = words[: words.index("&")] if "&" in words else words
    if words == ["COMMAND", "--help"]:
        return ""
    path = next((path for path in COMMANDS if tuple(words[: len(path)]) == path), None)
    if path is None:
        return f"no such command: {line}"
    options = {name for one in COMMANDS[path].params for name in (*one.opts, *one.secondary_opts)}
    unknown = [word for word in words if word.startswith("--") and word not in {*options, "--help"}]
    return f"{line}: no option {unknown}" if unknown else ""


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_relative_link_leads_somewhere(page):
    """No page sends its reader to a file, a folder or a heading that is not there."""
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        if not link.startswith(("http://", "https://")):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_can_be_reached_from_the_readme():
    """A reader who follows links finds every page of docs/, decisions apart."""
    seen, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page not in seen and page.suffix == ".md" and page.exists():
            seen.add(page)
            links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
            left += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert {page for page in PAGES if page.parent.name != "decisions"} <= seen


@each_page
def test_every_command_on_a_page_exists_with_its_options(page):
    """Whoever types what a page shows is not told of a usage error."""
    wrong = [said for said in map(fault, typed(page.read_text(encoding="utf-8"))) if said]
    assert wrong == []


def test_a_command_that_is_not_there_would_be_found():
    """The check above sees unknown commands and unknown options."""
    assert "no such command" in fault("lastgood unrelease churn")
    assert "--now" in fault("lastgood rollback churn --now")
    assert fault("lastgood audit verify --head HASH") == ""
    assert list(typed("Type `lastgood\nstatus churn`.\n```sh\nlastgood init  # here\n```\n"))[1:] == [
        "lastgood status churn"
    ]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_on_the_reference_page(path):
    """Each command has its heading and each of its options its row."""
    page = (ROOT / "docs" / "cli-reference.md").read_text(encoding="utf-8")
    section = page.partition(f"## lastgood {' '.join(path)}\n")[2].partition("\n## ")[0]
    assert section
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option) and parameter.name not in {"as_json", "home"}:
            assert parameter.opts[-1] in section


def test_the_exit_codes_told_are_the_exit_codes():
    """README and command reference give each number the meaning that the code gives it."""
    told = re.search(r"Exit codes: (.+?)\.\n", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert told is not None
    readme = {int(code): words for code, words in (part.split(" ", 1) for part in told[1].split(", "))}
    table = (ROOT / "docs" / "cli-reference.md").read_text(encoding="utf-8")
    reference = {int(code): words for code, words in re.findall(r"^\| (\d) \| (.+) \|$", table, re.MULTILINE)}
    known = {
        getattr(errors, name) for name in dir(errors) if name.startswith("EXIT_") and name != "EXIT_STATUS"
    }
    words = {
        "OK": "done",
        "ERROR": "error",
        "USAGE": "usage",
        "REFUSED": "refused",
        "ROLLED_BACK": "rolled back",
    }
    assert set(readme) == set(reference) == known
    for name, word in {**words, "STUCK": "stuck"}.items():
        code = getattr(errors, f"EXIT_{name}")
        assert word in readme[code]
        assert word in reference[code]


def test_every_setting_is_on_its_page_and_every_one_said_there_exists():
    """The page has each field with its default, and its environment variable is one that is read."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.+\| (?:`(\w+)`|only in the file) \| .+\. \|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == [one.name for one in described()]
    assert {name for name, _ in rows} == set(Settings.__struct_fields__) - {"home"}
    assert all(environ == f"LASTGOOD_{name.upper()}" for name, environ in rows if environ)


@pytest.mark.parametrize("page", BY_HAND, ids=lambda page: page.name)
def test_every_setting_named_on_a_page_exists(page):
    """A name with an underscore that a page gives a value, or calls a setting, is one."""
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]+_[a-z_]+) = ", text)) | set(re.findall(r"LASTGOOD_([A-Z_]+)", text))
    known = {
        *Settings.__struct_fields__,
        "ACTOR",
        "DEBUG",
        "HOME",
        *(name.upper() for name in Settings.__struct_fields__),
    }
    assert named <= known


def test_the_message_of_a_stuck_rollback_is_the_one_on_its_page(capsys):
    """Worker 1 is deaf: what the command prints then stands on the page, letter for letter."""
    world = World()
    world.register("v1.0", "v1.1")
    world.serve("v1.0")
    release = world.start("v1.1")
    world.turn()
    world.router.deaf = True
    deployment = world.store.deployment("churn")
    now = world.release(release.id)
    move = roll_back(now, deployment, world.observer.situation(deployment, now, measure=False), cause="bad")
    world.executor.apply(deployment, now, move)
    world.router.acknowledged[0] = world.router.generation()
    world.turn(31.0)
    assert world.release(release.id).phase is Phase.STUCK
    with pytest.raises(LastgoodError) as stuck:
        world.rollback.settling.settle(world.release(release.id))

    status = fail(stuck.value, as_json=False)

    page = (ROOT / "docs" / "when-a-rollback-is-stuck.md").read_text(encoding="utf-8")
    shown = page.partition("```console\n")[2].partition("```")[0].splitlines()
    assert shown[1:3] == capsys.readouterr().err.splitlines()
    assert shown[-1] == str(status)
