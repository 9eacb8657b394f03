"""How values are said: versions, times, sizes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lastgood.analysis import sentences


def name_of(version: Mapping[str, Any] | None) -> str:
    """Return what a person calls a version: ``v1.1``, or ``version 2`` where it has no label."""
    if version is None:
        return "none"
    return str(version["label"] or f"version {version['number']}")


def full_name_of(version: Mapping[str, Any] | None) -> str:
    """Label and number: ``v1.1 (version 2)``."""
    if version is None:
        return "none"
    number = f"version {version['number']}"
    return f"{version['label']} ({number})" if version["label"] else number


def number_and_label(number: int, label: str | None) -> str:
    """Return the number first: ``version 2 (v1.1)``."""
    return f"version {number} ({label})" if label else f"version {number}"


def moment(seconds: float | None) -> str:
    """Return local time to the second."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Return the two largest units: ``1h 5m``, ``12s``, ``250ms``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms" if seconds else "0s"
    parts = []
    left = round(seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def size(count: int) -> str:
    """Return bytes as a person says them."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def short_digest(digest: str) -> str:
    """Return the first twelve hexadecimal digits, with the algorithm."""
    algorithm, _, digits = digest.partition(":")
    return f"{algorithm}:{digits[:12]}"


def phase_name(phase: str) -> str:
    """Return a phase in words."""
    return phase.replace("_", " ")


def verdict_style(verdict: str) -> str:
    """Return the colour of a verdict."""
    return {"passed": "green", "failed": "red", "error": "red", "inconclusive": "dim"}.get(verdict, "")


def percent(value: float) -> str:
    """Return 25 % or 0.5 %."""
    return f"{value:g} %"


def labels_awaited(finding: Mapping[str, Any]) -> str:
    """Say how many predictions of each arm have no label yet; nothing for a guardrail that needs none."""
    pending = finding.get("pending") or {}
    return " and ".join(f"{sentences.count(number)} {arm}" for arm, number in pending.items())


def reference_told(rows: int, features: int) -> str:
    """Say how large a training reference is."""
    return f"{rows} {'row' if rows == 1 else 'rows'}, {features} {'feature' if features == 1 else 'features'}"
