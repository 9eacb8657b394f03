"""Watching a release until it is over: a line for each change, and below them, on a terminal, how it stands."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from lastgood.analysis.sentences import count, plural
from lastgood.cli.client import NoServerError
from lastgood.cli.data_words import data_ended
from lastgood.cli.output import Output, grid, shown, styled
from lastgood.cli.session import Session
from lastgood.cli.wording import (
    duration,
    full_name_of,
    labels_awaited,
    name_of,
    percent,
    phase_name,
    verdict_style,
)
from lastgood.errors import (
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_ROLLED_BACK,
    EXIT_STUCK,
    Code,
    LastgoodError,
)

_POLL_SECONDS: Final = 0.1
DROUGHT_SECONDS: Final = 60.0
_NO_REQUESTS: Final = "No request has reached {name} for a minute: is there traffic on the gateway? The step cannot end without."
_EXIT: Final = {
    "succeeded": EXIT_OK,
    "rolled_back": EXIT_ROLLED_BACK,
    "aborted": EXIT_REFUSED,
    "stuck": EXIT_STUCK,
}
_COLOURS: Final = {
    "succeeded": "green",
    "rolled_back": "red",
    "rolling_back": "red",
    "aborted": "yellow",
    "stuck": "bold red",
    "paused": "yellow",
}


def follow(session: Session, identifier: int, timeout: float | None) -> dict[str, Any]:
    """Show a release until it is over or stuck, and return it as it is then.

    A server that restarts meanwhile is waited for.

    :raises LastgoodError: ``timeout`` when it is not over after ``timeout`` seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    told: tuple[object, ...] | None = None
    absent = False
    drought = Drought()
    with _live(session.output) as show:
        while True:
            try:
                view = session.read_from_server("releases", identifier)
                absent = False
            except NoServerError as error:
                if not absent:
                    session.output.note(f"{error.message} Waiting for it.")
                absent = True
                view = None
            if view is not None:
                news = (view["phase"], view["step"], view["cause"])
                if news != told:
                    session.output.say(change_line(view))
                    told = news
                if view["phase"] in _EXIT:
                    return dict(view)
                if drought.begins(view, time.monotonic()):
                    session.output.note(_NO_REQUESTS.format(name=name_of(view["version"])))
                show(view)
            if deadline is not None and time.monotonic() >= deadline:
                raise _timed_out(identifier, timeout or 0.0, view)
            time.sleep(_POLL_SECONDS)


class Drought:
    """Notices, once, that a candidate which should get requests gets none."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told = False

    def begins(self, view: dict[str, Any], now: float) -> bool:
        """Whether to tell now: no request for :data:`DROUGHT_SECONDS` at a step with a weight, not told yet."""
        share = max(view["weight_percent"], view["shadow_percent"])
        dry = view["phase"] in ("progressing", "shadowing") and share > 0 and not view["requests"]
        if not dry:
            self._since = None
        elif self._since is None:
            self._since = now
        tell = self._since is not None and not self._told and now - self._since >= DROUGHT_SECONDS
        self._told = self._told or tell
        return tell


def exit_status(view: dict[str, Any]) -> int:
    """Return how a command ends that waited for this release."""
    return _EXIT.get(view["phase"], EXIT_STUCK)


def change_line(view: dict[str, Any]) -> Any:
    """Say in one line where a release is now."""
    phase = phase_name(view["phase"])
    what = view["cause"]
    if view["phase"] == "progressing":
        what = f"step {view['step']} of {view['steps']}: {percent(view['weight_percent'])} of the requests"
    elif view["phase"] == "shadowing":
        what = f"step {view['step']} of {view['steps']}: copies of {percent(view['shadow_percent'])} of the requests"
    elif view["phase"] == "rolled_back" and "verified" in view["timings"]:
        what = f"verified in {view['timings']['verified']:.1f} ms"
    return styled(f"  {phase:<13} {what}", _COLOURS.get(view["phase"], ""))


def outcome(view: dict[str, Any], stable: dict[str, Any] | None) -> list[Any]:
    """Say how a release ended and what is deployed now."""
    version = full_name_of(view["version"])
    head = f"Release {view['id']} of {view['deployment']}"
    lines: list[Any] = {
        "succeeded": [f"{head} succeeded: {version} is stable."],
        "rolled_back": [f"{head} was rolled back: {view['cause']}"],
        "aborted": [f"{head} was aborted: {view['cause']}"],
        "stuck": [
            f"{head} is stuck: {view['cause']}",
            f"See 'lastgood status {view['deployment']}' and docs/when-a-rollback-is-stuck.md.",
        ],
    }[view["phase"]]
    if view["version"]["failed"]:
        lines.append(f"{name_of(view['version'])} is tagged failed.")
    if view["phase"] in ("rolled_back", "aborted"):
        lines += data_ended(view["data"])
    return [*lines, deployed(stable)]


def deployed(stable: dict[str, Any] | None) -> str:
    """Return the last line of everything that changes what is served."""
    return f"Deployed model version: {name_of(stable)}"


def block(view: dict[str, Any], *, brief: bool = False) -> list[Any]:
    """Say how a release under way stands: weight, waiting, guardrails; with ``brief`` one line for each of these."""
    lines: list[Any] = []
    if view["shadow_percent"]:
        lines.append(f"  {_copies(view)}")
    elif view["phase"] in ("progressing", "paused"):
        lines.append(
            f"  {_bar(view['weight_percent'])} {percent(view['weight_percent'])} to {name_of(view['version'])}"
        )
        lines.append(f"  {count(view['requests'])} candidate requests in this step; {view['waiting']}")
    if view["phase"] == "watching" and view.get("hold"):
        lines.append(f"  {view['waiting']}")
    rows = [
        [
            f"  {one['guardrail']}",
            styled(one["verdict"] + (" (dry run)" if one["dry_run"] else ""), verdict_style(one["verdict"])),
            one["sentence"].removeprefix(f"{one['guardrail']}: ") + _awaited(one),
        ]
        for one in view["findings"]
    ]
    return [*lines, grid(rows, brief=brief)] if rows else lines


def _copies(view: dict[str, Any]) -> str:
    """Say who answers copies, how many there are, and what is waited for."""
    pairs = plural(view["pairs"], "pair", "pairs")
    share = percent(view["shadow_percent"])
    if view["phase"] == "watching":
        told = f"copies of {share} to {name_of(view['previous'])}: {pairs} in this watch"
    else:
        told = f"copies of {share} to {name_of(view['version'])}: {pairs} in this step; {view['waiting']}"
    dropped = view["copies_dropped"]
    return (
        f"{told}; {plural(dropped, 'copy', 'copies')} dropped since the gateways started" if dropped else told
    )


def _awaited(finding: dict[str, Any]) -> str:
    awaited = labels_awaited(finding)
    return f" Labels pending: {awaited}." if awaited else ""


def _bar(value: float) -> str:
    filled = round(value / 100 * 30)
    return "━" * filled + "╌" * (30 - filled)


@contextlib.contextmanager
def _live(output: Output) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that shows the block in place, or does nothing where nobody watches."""
    if not output.live:
        yield lambda _view: None
        return
    from rich.console import Group
    from rich.live import Live

    began = time.monotonic()
    with Live(console=output.console(), transient=True, auto_refresh=False) as live:
        output.use(live.console)

        def show(view: dict[str, Any]) -> None:
            since = styled(
                f"  {duration(time.monotonic() - began)} (Ctrl-C stops watching, not the release)", "dim"
            )
            parts = [shown(part) for part in block(view)]
            live.update(Group(*parts, since), refresh=True)

        try:
            yield show
        finally:
            output.use(None)


def _timed_out(identifier: int, timeout: float, view: dict[str, Any] | None) -> LastgoodError:
    where = "not known: no server answers" if view is None else phase_name(view["phase"])
    waiting = "" if view is None else f" ({view['waiting']})"
    return LastgoodError(
        Code.TIMEOUT,
        f"Release {identifier} is not over after {duration(timeout)}; it is {where}{waiting}.",
        f"It goes on by itself: lastgood show release {identifier}",
        details={"release": identifier, "phase": None if view is None else view["phase"]},
    )
