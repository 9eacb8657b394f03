"""Evidence in words: each guardrail's rates, difference, bets and bounds, and what is missing."""

import math
from collections.abc import Mapping
from typing import Any

from lastgood.analysis import sentences
from lastgood.cli.drift_words import METRICS, drift_rows
from lastgood.cli.output import grid, styled
from lastgood.cli.slice_words import worst_told
from lastgood.cli.watch_words import QUESTION, going_back, pair_rows
from lastgood.cli.wording import labels_awaited, verdict_style


def evidence_lines(view: Mapping[str, Any]) -> list[Any]:
    """Return what the guardrails of a release rest on, a block for each."""
    lines: list[Any] = [f"  {row}" for row in baseline_lines(view["baseline"])]
    if not view["findings"]:
        return [*lines, "  no guardrail has been judged yet"]
    return [*lines, *(line for block in evidence_blocks(view) for line in block)]


def evidence_blocks(view: Mapping[str, Any], *, failed_first: bool = False) -> list[list[Any]]:
    """Return what each guardrail rests on as lines of its own, in the plan's order or the failed ones first."""
    findings = list(view["findings"])
    if failed_first:
        findings.sort(key=lambda one: one["verdict"] != "failed")
    return [_block(finding, view["baseline"]) for finding in findings]


def sealed_lines(evidence: Mapping[str, Any]) -> list[str]:
    """Say what a rollback rests on: the bet, then the other plain numbers. The sentence is the cause, which stands elsewhere."""
    plain = {name: value for name, value in evidence.items() if isinstance(value, int | float | str)}
    name = f"{plain.pop('guardrail')}: " if "guardrail" in plain else ""
    told = [f"{name}{_bet(plain)}"] if "log_e" in plain else []
    if "log_likelihood" in plain:
        told.append(
            f"{name}{sentences.to_one(float(plain['log_likelihood']))}, for a version that fails every other request"
        )
    hidden = ("sentence", "log_e", "e_value", "log_likelihood", *(["bound"] if "log_e" in plain else []))
    return told + [f"{name} = {value}" for name, value in plain.items() if name not in hidden and value != ""]


def _block(finding: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[Any]:
    verdict = finding["verdict"] + (", dry run: nothing follows" if finding["dry_run"] else "")
    head = styled(f"  {finding['guardrail']}: {verdict}", verdict_style(finding["verdict"]))
    rows = [(f"    {name}", value) for name, value in evidence_rows(finding, baseline)]
    return ["", head, grid([(styled(name, "dim"), value) for name, value in rows])]


def baseline_lines(baseline: Mapping[str, Any]) -> list[str]:
    """Say what was known of stable when the release began, and which units follow from it."""
    if not baseline:
        return []
    told = [f"units: {baseline['units']}, because {baseline['why']}"]
    if baseline["requests"]:
        spread = baseline["dispersion"]
        varied = "too few to say how much they vary" if spread is None else f"dispersion {spread:.2f}"
        told.append(
            f"stable before: {sentences.count(baseline['requests'])} requests in "
            f"{sentences.plural(baseline['minutes'], 'minute', 'minutes')}, "
            f"{sentences.count(baseline['keyed'])} with a key; bad ones: {varied}"
        )
    return told


def evidence_rows(finding: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of what one guardrail rests on."""
    numbers = finding["numbers"]
    rows = [("says", finding["sentence"].removeprefix(f"{finding['guardrail']}: "))]
    if finding["metric"] in METRICS:
        return rows + drift_rows(finding)
    if "candidate" not in numbers:
        return rows
    arms = ((name, numbers[name]) for name in ("candidate", "stable"))
    rows += [(name, _arm(arm) if "value" not in arm else _kpi(finding["metric"], arm)) for name, arm in arms]
    difference = numbers.get("difference")
    if difference is not None:
        name = "difference" if "value" not in numbers["candidate"] else "difference of wrong rows"
        rows.append((name, _difference(difference)))
    rows += [*_bets(numbers), *pair_rows(numbers)]
    if answer := going_back(finding):
        rows.append((QUESTION, answer))
    if worst := worst_told(finding):
        rows.append(("slices", worst))
    if numbers.get("minimum") is not None:
        rows.append(("minimum", f"{sentences.percent(numbers['minimum'])}, a hard limit"))
    elif numbers.get("maximum") is not None:
        latency = finding["metric"] == "latency"
        said = sentences.as_given if latency else sentences.percent
        rows.append(("maximum", f"{said(numbers['maximum'])}, a hard limit"))
    units = numbers.get("units", "")
    why = baseline.get("why", "") if units == baseline.get("units") else "what this metric counts"
    rows.append(("units", f"{units}: {why}" if why else units))
    rows.append(("missing", _missing(finding)))
    if pending := labels_awaited(finding):
        rows.append(("pending", pending))
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
        what = "labelled candidate rows" if "candidate_rows" in numbers else "candidate requests"
        what = "candidate trials" if "source" in numbers else what
        told.append(f"{sentences.count(numbers['missing'])} {what} until it may pass")
    if numbers.get("missing_bad") and numbers.get("log_e") is not None:
        told.append(f"{sentences.count(numbers['missing_bad'])} candidate failures before it may fail")
    if finding["proven"] is False:
        told.append("proof")
    if finding["no_data"] is not None:
        told.append(f"any data at all ({finding['no_data']} until then)")
    return "; ".join(told) or "nothing"


def _arm(arm: Mapping[str, Any]) -> str:
    if not arm["requests"]:
        return "no request yet"
    if arm["bad"] is None:
        return f"{sentences.count(arm['requests'])} measured"
    told = f"{sentences.percent(arm['rate'])} ({sentences.count(arm['bad'])} of {sentences.count(arm['requests'])})"
    return told + _between(arm.get("interval"), sentences.percent)


def _kpi(metric: str, arm: Mapping[str, Any]) -> str:
    """Say an arm's value in its own unit, then the wrong rows that the tests count."""
    labelled = sentences.plural(arm["labelled"], "labelled row", "labelled rows")
    if arm["value"] is None:
        return f"{labelled}, none that counts"
    if arm["bad"] is None:
        return f"{metric} {arm['value']:.4g} of {labelled}"
    wrong = f"{sentences.count(arm['bad'])} wrong of {sentences.count(arm['requests'])}"
    share = _between(arm.get("interval"), sentences.percent)
    return f"{metric} {sentences.percent(arm['value'])}; {wrong}{share}; {labelled}"


def _difference(difference: Mapping[str, Any]) -> str:
    return _points(difference["estimate"]) + _between(difference.get("interval"), _points)


def _between(interval: Any, said: Any) -> str:
    if not interval:
        return ""
    return f", between {said(interval[0])} and {said(interval[1])} (95 %, at every look)"


def _bet(bet: Mapping[str, Any]) -> str:
    return sentences.bet(bet["log_e"], math.log(bet["bound"]))


def _margin(kind: str | None, value: float | None) -> str:
    if kind is None or value is None:
        return "stable"
    if kind == "value":  # of a mean, in its own unit
        return f"stable by {value:g}"
    return f"{value:g} times stable's odds" if kind == "odds" else f"stable plus {100.0 * value:g} points"


def _points(rate: float) -> str:
    return f"{100.0 * rate:+.3g} points"
