"""``audit --request``: which version answered a request, with what."""

import time
from typing import Any, Final

import msgspec

from lastgood.cli.client import is_supervised
from lastgood.cli.session import Session
from lastgood.cli.wording import moment
from lastgood.domain.given_text import check_given, visible
from lastgood.domain.kpi import UNKNOWN
from lastgood.errors import Code, LastgoodError

_FRESH_SECONDS: Final = 2.0
_SLICES_SHOWN: Final = 10  # rows; --json has all


def show_request(session: Session, id_: str) -> None:
    """Say who answered the request, when, how long it took, and with what."""
    found = _find(session, check_given(id_, "request's id"))
    session.output.result(found, *_lines(found))


def _find(session: Session, id_: str) -> dict[str, Any]:
    """Ask for it, and again for a moment: an answer is in the log a little after its caller has it."""
    deadline = time.monotonic() + _FRESH_SECONDS
    while True:
        try:
            found: dict[str, Any] = session.read("predictions", id=id_)
        except LastgoodError as error:
            late = time.monotonic() > deadline or not is_supervised(session.settings)
            if error.code is not Code.NOT_FOUND or late:
                raise
        else:
            return found
        time.sleep(0.2)


def _lines(found: dict[str, Any]) -> list[str]:
    also = f" (also {visible(found['also'])})" if found["also"] else ""
    who = f"version {found['version']} of {found['model']} as {found['role']}"
    lines = [
        f"{visible(found['id'])}{also}",
        f"  asked      {found['deployment']}, {moment(found['at'])}",
        f"  answered   by {who}, status {found['status']}, in {1000 * found['seconds']:.1f} ms",
    ]
    if found["release"] is not None:
        lines.append(f"  release    {found['release']}{_standing(found)}")
    if found["fallback"] is not None:
        lines.append(f"  fallback   {found['fallback']}")
    lines.append(f"  answer     {_content(found['answer'], found['answer_bytes'])}")
    if found["copy"] is not None:
        lines += _copy(found["copy"])
    if found["inputs"] is not None:
        lines.append(f"  inputs     {_content(found['inputs'], 0)}")
    lines += [f"  slice      {_slice(name, texts)}" for name, texts in found["slices"].items()]
    lines += [f"  label      {_label(one)}" for one in found["labels"]]
    return lines


def _copy(copy: dict[str, Any]) -> list[str]:
    how = f"as shadow, status {copy['status']}, in {1000 * copy['seconds']:.1f} ms"
    answer = "not kept" if copy["answer"] is None else _content(copy["answer"], 0)
    return [f"  copy       answered by version {copy['version']} {how}", f"  its answer {answer}"]


def _slice(name: str, texts: list[str]) -> str:
    values = ", ".join(visible(text) if text else UNKNOWN for text in texts[:_SLICES_SHOWN])
    more = f" and {len(texts) - _SLICES_SHOWN} more rows" if len(texts) > _SLICES_SHOWN else ""
    return f"{visible(name)}: {values or UNKNOWN}{more}"


def _label(label: dict[str, Any]) -> str:
    row = f"row {label['row']}: " if label["row"] else ""
    return f"{row}{visible(str(label['value']))}, known {moment(label['at'])}"


def _standing(found: dict[str, Any]) -> str:
    if found["arm"] is None:
        return ", not counted for either arm"
    keyed = ", by key" if found["key"] is not None else ""
    return f", counted for {found['arm']}{keyed}"


def _content(content: Any, size: int) -> str:
    if content is None:
        return f"not kept ({size} bytes)"
    return visible(content if isinstance(content, str) else msgspec.json.encode(content).decode())
