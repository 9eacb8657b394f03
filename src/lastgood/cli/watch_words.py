"""Pairs and the watch in words: what both versions said of the same requests, and whether going back would help."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lastgood.analysis import sentences
from lastgood.analysis.going_back import compared

if TYPE_CHECKING:
    from lastgood.domain.plan import Guardrail

QUESTION: Final = "Would going back help?"

_ANSWERS: Final = {
    "yes": "yes: the version before does better on the same requests",
    "no": "no: it does {better}",
    "unknown": "nobody knows yet",
}


def agreement_when(one: "Guardrail") -> list[str]:
    """Say when a guardrail on agreement fails; nothing of any other."""
    terms = one.agreement
    if terms is None:
        return []
    same = "are the same" if terms.within is None else f"are within {terms.within:g} of each other"
    least = sentences.percent(terms.minimum)
    return [
        f"under {least} of both versions' answers to copied requests {same} (looked at from {one.min_samples} rows on)"
    ]


def pair_rows(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of the pairs of shadow steps, and of the watch; none where there were none."""
    rows = []
    if numbers.get("pairs"):
        rows.append(("pairs", _pairs(numbers["pairs"])))
    watch = numbers.get("watch")
    if watch:
        arms = " against ".join(_arm(watch[arm]) for arm in ("candidate", "stable"))
        rows.append(("watch", f"{arms} of the version before"))
        if (watch.get("pairs") or {}).get("pairs"):
            rows.append(("pairs of the watch", _pairs(watch["pairs"])))
        rows += [(f"change, {part['name']}", _alarm(part)) for part in watch["parts"]]
    return rows


def going_back(finding: Mapping[str, Any]) -> str:
    """Return the answer to :data:`QUESTION`; nothing where it is not asked, as nothing has failed."""
    helps = finding["numbers"].get("helps")
    if not helps or finding["verdict"] != "failed":
        return ""
    own, other = helps["candidate_wrong"], helps["stable_wrong"]
    told = _ANSWERS[helps["verdict"]].format(better=compared(own, other))
    if own is not None and other is not None:
        told += f"; wrong there: {sentences.percent(own)} against {sentences.percent(other)}"
    if helps["pairs"] and helps["differ"] is not None:
        told += f", of {sentences.plural(helps['pairs'], 'pair', 'pairs')} they differ in {sentences.count(helps['differ'])}"
    return told


def _pairs(pairs: Mapping[str, int]) -> str:
    alone = f"just the candidate wrong in {sentences.count(pairs['only1'])}"
    other = f"just the other in {sentences.count(pairs['only0'])}, both in {sentences.count(pairs['both'])}"
    return f"{sentences.count(pairs['pairs'])}: {alone}, {other}"


def _arm(arm: Mapping[str, Any]) -> str:
    if arm["rate"] is None:
        return "none"
    return f"{sentences.percent(arm['rate'])} ({sentences.count(arm['bad'])} of {sentences.count(arm['requests'])})"


def _alarm(part: Mapping[str, Any]) -> str:
    money = math.floor(math.exp(min(part["log_e"], 34.0)))
    if part["reached"]:
        return f"alarm: at {sentences.count(round(part['bound']))}"
    return f"{sentences.count(money)}, alarm at {sentences.count(round(part['bound']))}"
