"""What ``doctor`` looks at in a running server: its controller, the routes of its gateways, its model hosts."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from lastgood.cli.client import NoServerError, ask_health, is_supervised
from lastgood.errors import LastgoodError
from lastgood.settings import Settings

if TYPE_CHECKING:
    from lastgood.bootstrap import Services
    from lastgood.ports import Router

_FREE_BYTES: Final = 200 * 1000**2
_RESTART: Final = "Restart 'lastgood serve'."
_ACKNOWLEDGE_SECONDS: Final = 2.0


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. ``state`` is ``ok``, ``note`` (nothing wrong) or ``problem``; ``next`` says what to do."""

    name: str
    state: str
    what: str
    next: str = ""


def disk(settings: Settings) -> Iterator[Finding]:
    """Say whether the store can still grow: releases and rollbacks are saved before they are done."""
    for name, folder in (("disk", Path(settings.home)), ("run disk", settings.run)):
        try:
            free = shutil.disk_usage(folder).free
            same = name != "disk" and folder.stat().st_dev == Path(settings.home).stat().st_dev
        except OSError:
            continue  # there is no such folder, which its own check says
        if same:
            continue
        if free < _FREE_BYTES:
            yield Finding(
                name,
                "problem",
                f"Only {free // 1000**2} MB are free for {folder}, and what cannot be recorded is not done: releases stop first.",
                "Make room: 200 MB or more.",
            )
        else:
            yield Finding(name, "ok", f"{free // 1000**2} MB free")


def controller(settings: Settings) -> Iterator[Finding]:
    """Say whether the controller takes its turns."""
    try:
        works, why, trouble = ask_health(settings)
    except NoServerError:
        return  # said by the check of the server
    except LastgoodError as error:
        yield Finding("controller", "problem", error.message, error.next_step)
        return
    fine = works and not trouble
    log = f"See {settings.run / 'logs' / 'controller.log'}."
    yield Finding("controller", "ok" if fine else "problem", why, "" if fine else log)


def routes(services: "Services") -> Finding:
    """Say whether every gateway worker obeys the route in force, and whether that is the store's."""
    from lastgood.wire.page import RoutePage

    router = services.router
    page = RoutePage.open(services.settings.run / "route.page")
    try:
        page.read()
    except LastgoodError as error:
        return Finding("routes", "problem", error.message, error.next_step)
    finally:
        page.close()
    wanted = max((view.generation for view in services.views.deployments()), default=0)
    supervised = is_supervised(services.settings)
    behind = _behind(router, wanted) if supervised else []
    generation, workers = router.generation(), router.workers()
    if not workers:
        state = "problem" if supervised else "note"
        return Finding("routes", state, "No gateway worker runs.", "Start: lastgood serve")
    if supervised and generation < wanted:
        return Finding(
            "routes",
            "problem",
            f"Generation {generation} is in force, and the store says {wanted}.",
            _RESTART,
        )
    if behind:
        return Finding(
            "routes",
            "problem",
            f"{len(workers) - len(behind)} of {len(workers)} gateway workers are on generation {generation}; "
            f"behind: {', '.join(map(str, behind))}.",
            "See docs/when-a-rollback-is-stuck.md.",
        )
    return Finding("routes", "ok", f"all {len(workers)} gateway workers are on generation {generation}")


def hosts(services: "Services") -> Finding:
    """Say whether every model host that is wanted is ready."""
    from lastgood.wire.fleet import HostState, read_desired

    try:
        wanted = read_desired(services.settings.run).hosts
        observed = services.fleet.observe().hosts
    except msgspec.DecodeError as error:
        return Finding("hosts", "problem", f"What is kept of the hosts cannot be read ({error}).", _RESTART)
    if not wanted:
        return Finding("hosts", "ok", "no model host is wanted yet")
    if not is_supervised(services.settings):
        return Finding("hosts", "note", f"{len(wanted)} model hosts are wanted, and no server runs.")
    missing = []
    for spec in wanted:
        status = observed.get(spec.key)
        if status is None or status.state is not HostState.READY:
            state = "not running" if status is None else f"{status.state.value} {status.error}".strip()
            missing.append(f"{spec.model} {spec.label or f'version {spec.version}'} is {state}")
    if missing:
        return Finding(
            "hosts", "problem", f"{'; '.join(missing)}.", f"See the logs in {services.settings.run / 'logs'}."
        )
    return Finding("hosts", "ok", f"all {len(wanted)} model hosts that are wanted are ready")


def predictions(services: "Services") -> Finding:
    """Say whether every answer gets into the prediction log."""
    from lastgood.web.predictions import recording

    try:
        found = recording(services)
    except LastgoodError as error:
        return Finding("predictions", "problem", error.message, error.next_step)
    if not found.on:
        return Finding(
            "predictions", "note", "Answers are not recorded.", "See the setting record_predictions."
        )
    held = f"{found.predictions} in the log"
    if found.dropped:
        what = f"{found.dropped} of {found.recorded + found.dropped} answers were dropped; {held}."
        log = services.settings.run / "logs"
        return Finding(
            "predictions", "problem", what, f"See the disk, and the gateways' and recorder's logs in {log}."
        )
    return Finding("predictions", "ok", f"{held}, none dropped")


def _behind(router: "Router", wanted: int) -> list[int]:
    """Return the workers that have not followed, after the moment that an idle one may take."""
    deadline = time.monotonic() + _ACKNOWLEDGE_SECONDS
    while True:
        generation = router.generation()
        behind = [one.slot for one in router.workers() if one.generation < generation]
        if (not behind and generation >= wanted) or time.monotonic() >= deadline:
            return behind
        time.sleep(0.05)


SERVING_CHECKS: Final = (routes, hosts, predictions)
