"""``status`` and ``history``: what is served now, and what was before."""

import time
from typing import TYPE_CHECKING, Any, Final

import click

from lastgood.cli.command import command
from lastgood.cli.data_words import data_now
from lastgood.cli.evidence import baseline_lines, evidence_blocks, evidence_lines
from lastgood.cli.output import shown, styled, table
from lastgood.cli.progress import block
from lastgood.cli.session import Session
from lastgood.cli.wording import full_name_of, moment, name_of, phase_name
from lastgood.errors import LastgoodError

if TYPE_CHECKING:
    from rich.console import Console

_WATCH_SECONDS: Final = 0.5


@command("status")
@click.argument("deployment", required=False)
@click.option("--watch", is_flag=True, help="Show it again and again until Ctrl-C.")
@click.option("--evidence", is_flag=True, help="Show what every guardrail of the release rests on.")
def status(session: Session, deployment: str | None, watch: bool, evidence: bool) -> None:
    """Show what serves now, and the release under way."""
    if not watch or not session.output.live:
        found, views = _read(session, deployment, evidence)
        session.output.result(found, *_text(views, evidence), *_dropped(found))
        return
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=session.output.console(), screen=True, auto_refresh=False) as live:
        while True:
            views = _read(session, deployment, evidence)[1]
            room = live.console.height - 2
            parts = [shown(part) for part in fitted(live.console, views, evidence=evidence, room=room)]
            live.update(Group(*parts, Text("\nCtrl-C ends this view.", style="dim")), refresh=True)
            time.sleep(_WATCH_SECONDS)


@command("history")
@click.argument("deployment")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
def history(session: Session, deployment: str, limit: int) -> None:
    """Show what was stable when, and the releases, newest first."""
    found = session.read("deployments", deployment, "history", limit=limit)
    stable = [
        (
            full_name_of(one["version"]),
            moment(one["since"]),
            moment(one["until"]) or "now",
            one["release"],
            "yes" if one["good"] else styled("failed", "red"),
        )
        for one in found["stable"]
    ]
    releases = [
        (one["id"], one["kind"], name_of(one["version"]), phase_name(one["phase"]), one["cause"])
        for one in found["releases"]
    ]
    if not (stable or releases):
        session.output.result(found, f"{deployment} has no history yet.")
        return
    session.output.result(
        found,
        styled("Stable versions", "bold"),
        table(("VERSION", "FROM", "UNTIL", "RELEASE", "GOOD"), stable),
        "",
        styled("Releases", "bold"),
        table(("ID", "KIND", "VERSION", "PHASE", "CAUSE"), releases, fold="CAUSE"),
    )


def _read(session: Session, deployment: str | None, evidence: bool) -> tuple[Any, list[dict[str, Any]]]:
    if deployment is None:
        found = session.read("deployments", evidence=evidence)
        found["recording"] = _recording(session)
        return found, found["deployments"]
    found = session.read("deployments", deployment, evidence=evidence)
    return found, [found]


def _recording(session: Session) -> dict[str, Any]:
    try:
        found: dict[str, Any] = session.read("recording")
    except LastgoodError as error:  # what serves does not need the prediction log
        return error.as_data()
    return found


def _dropped(found: dict[str, Any]) -> list[Any]:
    """Return a line where answers do not get into the prediction log."""
    recording = found.get("recording") or {}
    if "error" in recording:
        return ["", styled(recording["error"], "red")]
    if recording.get("dropped"):
        told = f"{recording['dropped']} answers are in no prediction log, because something was full: lastgood doctor"
        return ["", styled(told, "yellow")]
    return []


def _text(views: list[dict[str, Any]], evidence: bool, *, brief: bool = False) -> list[Any]:
    if not views:
        return ["Nothing is deployed yet: lastgood release MODEL --version 1"]
    lines: list[Any] = []
    for view in views:
        lines += [*([""] if lines else []), *_deployment(view, evidence, brief)]
    return lines


def fitted(console: "Console", views: list[dict[str, Any]], *, evidence: bool, room: int) -> list[Any]:
    """Return what fits into ``room`` lines of a window: all but the evidence, failed guardrails, then the others.

    A last line says how many guardrails found no room. Without evidence each guardrail has one line where they do not fit.
    """

    def height(parts: list[Any]) -> int:
        return sum(len(console.render_lines(shown(part), pad=False)) for part in parts)

    if not evidence:
        whole = _text(views, evidence)
        return whole if height(whole) <= room else _text(views, evidence, brief=True)
    blocks = [block for view in views for block in _blocks(view)]
    bare = [
        view if view["release"] is None else {**view, "release": {**view["release"], "findings": []}}
        for view in views
    ]
    lines = _text(bare, evidence=False)
    left = room - height(lines)
    heights = [height(block) for block in blocks]
    if sum(heights) > left:
        left -= 1  # for the line that says so
    fitting = next((n for n in range(len(blocks), 0, -1) if sum(heights[:n]) <= left), 0)
    lines += [line for block in blocks[:fitting] for line in block]
    hidden = len(blocks) - fitting
    if hidden:
        more = "1 more guardrail" if hidden == 1 else f"{hidden} more guardrails"
        told = styled(f"  {more}: widen the window or leave out --watch", "yellow")
        lines = [*lines, told] if left >= 0 else [told, *lines]  # at the top where the bottom is cut off
    return lines


def _blocks(view: dict[str, Any]) -> list[list[Any]]:
    """Return the evidence of a deployment's release, failed ones first; the first says whose and on which units."""
    release = view["release"]
    if release is None or not release["findings"]:
        return []
    first, *others = evidence_blocks(release, failed_first=True)
    known = [f"  {row}" for row in baseline_lines(release["baseline"])]
    head = styled(f"Evidence of release {release['id']} of {view['deployment']}", "bold")
    return [["", head, *known, *first], *others]


def _deployment(view: dict[str, Any], evidence: bool, brief: bool) -> list[Any]:
    lines: list[Any] = [
        styled(view["deployment"], "bold"),
        f"  stable     {_version(view['stable'])}",
        f"  last good  {_version(view['last_good'])}",
        _gateways(view),
        _way_back(view),
    ]
    release = view["release"]
    if release is not None:
        lines.append(
            f"  release {release['id']}  {full_name_of(release['version'])}: {phase_name(release['phase'])}"
            + (f", step {release['step']} of {release['steps']}" if release["steps"] else "")
        )
        host = release["version"]["host"]
        if release["phase"] not in ("shadowing", "progressing", "paused"):
            host = f" (host: {host})" if host else ""
            lines.append(f"  {release['cause'].rstrip('.')}{host}")
        if release["data"] is not None:
            lines.append(f"  data       {data_now(release['data'], known=release['cause'])}")
        lines += (
            [*block({**release, "findings": []}), *evidence_lines(release)]
            if evidence
            else block(release, brief=brief)
        )
    elif view["last_release"] is not None:
        last = view["last_release"]
        ended = phase_name(last["phase"])
        how = last["cause"] if last["cause"].startswith(ended) else f"{ended}; {last['cause']}"
        lines.append(f"  last release {last['id']}  {full_name_of(last['version'])}: {how}")
    return lines


def _version(version: dict[str, Any] | None) -> str:
    if version is None:
        return "none"
    host = f"  host {version['host']}" if version["host"] else "  host not running"
    failed = "  tagged failed" if version["failed"] else ""
    return f"{full_name_of(version)}{host}{failed}"


def _gateways(view: dict[str, Any]) -> Any:
    workers, generation = view["gateways"], view["generation"]
    if not workers:
        return "  gateways   none running"
    behind = [str(one["slot"]) for one in workers if one["generation"] < generation]
    if not behind:
        return f"  gateways   {len(workers)}, all on generation {generation}"
    followed = len(workers) - len(behind)
    told = f"{followed} of {len(workers)} on generation {generation}; behind: {', '.join(behind)}"
    return styled(f"  gateways   {told}", "red")


def _way_back(view: dict[str, Any]) -> Any:
    found = view.get("readiness")
    if found is None:
        return f"  way back   not looked at yet; to look now: lastgood verify {view['deployment']}"
    broken = next((link for link in found["links"] if link["state"] == "broken"), None)
    if broken is None:
        drill = next((link["sentence"] for link in found["links"] if link["name"] == "last drill"), "")
        return f"  way back   open; last drill: {drill}"
    style = "red" if view["last_good"] or view["release"] else "dim"
    return styled(f"  way back   not open ({broken['name']}): {broken['sentence']}", style)


COMMANDS = (status, history)
