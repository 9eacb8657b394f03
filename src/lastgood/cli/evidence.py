"""Evidence in words: each guardrail's rates, difference, bets and bounds, and what is missing."""

import math
from collections.abc import Mapping
from typing import Any

from lastgood.cli.output import grid, styled
from lastgood.cli.wording import duration, verdict_style

_FINE = 1e-12  # 40 : 1 is not 39.999 : 1


def evidence_lines(view: Mapping[str, Any]) -> list[Any]:
    """Return what the guardrails of a release rest on, a block for each."""
    lines: list[Any] = [f"  {row}" for row in baseline_lines(view["baseline"])]
    if not view["findings"]:
        return [*lines, "  no guardrail has been judged yet"]
    for finding in view["findings"]:
        verdict = finding["verdict"] + (", dry run: nothing follows" if finding["dry_run"] else "")
        lines += ["", styled(f"  {finding['guardrail']}: {verdict}", verdict_style(finding["verdict"]))]
        rows = [(f"    {name}", value) for name, value in _rows(finding, view["baseline"])]
        lines.append(grid([(styled(name, "dim"), value) for name, value in rows]))
    return lines


def baseline_lines(baseline: Mapping[str, Any]) -> list[str]:
    """Say what was known of stable when the release began, and which units follow from it."""
    if not baseline:
        return []
    told = [f"units: {baseline['units']}, because {baseline['why']}"]
    if baseline["requests"]:
        spread = baseline["dispersion"]
        varied = "too few to say how much they vary" if spread is None else f"dispersion {spread:.2f}"
        told.append(
            f"stable before: {_count(baseline['requests'])} requests in {baseline['minutes']} minutes, "
            f"{_count(baseline['keyed'])} with a key; bad ones: {varied}"
        )
    return told


def _rows(finding: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[tuple[str, str]]:
    numbers = finding["numbers"]
    rows = [("says", finding["sentence"].removeprefix(f"{finding['guardrail']}: "))]
    if "candidate" not in numbers:
        return rows
    rows += [("candidate", _arm(numbers["candidate"])), ("stable", _arm(numbers["stable"]))]
    difference = numbers.get("difference")
    if difference is not None:
        rows.append(("difference", _difference(difference)))
    rows += _bets(numbers)
    if numbers.get("maximum") is not None:
        latency = finding["metric"] == "latency"
        rows.append(("maximum", f"{(duration if latency else _percent)(numbers['maximum'])}, a hard limit"))
    units = numbers.get("units", "")
    why = baseline.get("why", "") if units == baseline.get("units") else "what this metric counts"
    rows.append(("units", f"{units}: {why}" if why else units))
    rows.append(("missing", _missing(finding)))
    return rows


def _bets(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the evidence of each test against its bound, then the proof."""
    rows = []
    parts = numbers.get("parts") or []
    if len(parts) > 1:
        rows += [(f"evidence, {part['name']}", _bet(part)) for part in parts]
    elif numbers.get("log_e") is not None:
        worse = f"worse than {_margin(numbers.get('margin_kind'), numbers.get('margin'))}"
        if any(part["name"] == "distribution" for part in parts):  # its margin is a factor of time
            worse = f"over {numbers['margin']:g} times as slow as stable"
        rows.append(("evidence", f"{_bet(numbers)}, of being {worse}"))
    else:
        rows.append(("evidence", "none: it compares nothing, or has not begun"))
    proof = numbers.get("proof")
    if proof is not None:
        reached = "proven" if proof["reached"] else "not proven yet"
        several = len({one["part"] for one in proof["margins"]}) > 1
        told = [
            f"{one['part'] + ', ' if several else ''}{_margin(one['kind'], one['value'])} {_bet(one)}"
            for one in proof["margins"]
        ]
        rows.append(("proof", f"{reached}; {'; '.join(told)}" if told else reached))
    return rows


def _missing(finding: Mapping[str, Any]) -> str:
    numbers, told = finding["numbers"], []
    if numbers.get("missing"):
        told.append(f"{_count(numbers['missing'])} candidate requests until it may pass")
    if numbers.get("missing_bad") and numbers.get("log_e") is not None:
        told.append(f"{_count(numbers['missing_bad'])} candidate failures before it may fail")
    if finding["proven"] is False:
        told.append("proof")
    if finding["no_data"] is not None:
        told.append(f"any data at all ({finding['no_data']} until then)")
    return "; ".join(told) or "nothing"


def _arm(arm: Mapping[str, Any]) -> str:
    if not arm["requests"]:
        return "no request yet"
    if arm["bad"] is None:
        return f"{_count(arm['requests'])} measured"
    told = f"{_percent(arm['rate'])} ({_count(arm['bad'])} of {_count(arm['requests'])})"
    return told + _between(arm.get("interval"), _percent)


def _difference(difference: Mapping[str, Any]) -> str:
    return _points(difference["estimate"]) + _between(difference.get("interval"), _points)


def _between(interval: Any, said: Any) -> str:
    if not interval:
        return ""
    return f", between {said(interval[0])} and {said(interval[1])} (95 %, at every look)"


def _bet(bet: Mapping[str, Any]) -> str:
    bound = bet["bound"]
    return f"{_to_one(bet['log_e'])}, bound {_count(round(bound))} : 1"


def _to_one(log_e: float) -> str:
    if log_e > math.log(1_000_000):
        return "over 1 000 000 : 1"
    value = math.exp(log_e) * (1.0 + _FINE)
    if value < 0.1:
        return "under 0.1 : 1"
    return f"{value:.1f} : 1" if value < 10.0 else f"{_count(math.floor(value))} : 1"


def _margin(kind: str | None, value: float | None) -> str:
    if kind is None or value is None:
        return "stable"
    return f"{value:g} times stable's odds" if kind == "odds" else f"stable plus {100.0 * value:g} points"


def _percent(rate: float) -> str:
    return f"{100.0 * rate:.3g} %"


def _points(rate: float) -> str:
    return f"{100.0 * rate:+.3g} points"


def _count(value: int) -> str:
    return f"{value:,}".replace(",", " ")
