"""An endpoint: what may be asked, of which shape, and the plain function that answers.

The same table serves HTTP, the OpenAPI document and a command line that runs without a server.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from lastgood.bootstrap import Services
from lastgood.errors import Code, LastgoodError

PREFIX: Final = "/api/v1"
_PARAMETER: Final = re.compile(r"\{([a-z]+)\}")
_WHERE: Final = f"See GET {PREFIX}/openapi.json for what may be sent."


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One route. ``call`` takes the services, each path parameter, and ``query`` and ``body`` where it has them.

    With ``many`` the body is one such object or a list of them, and ``call`` takes a list. ``urgent`` ones run in threads of their own, so that a rollback never queues behind a question.
    """

    method: str
    path: str
    call: Callable[..., Any]
    answer: Any
    summary: str
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    many: bool = False
    urgent: bool = False
    status: int = 200

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters."""
        return _PARAMETER.findall(self.path)

    def match(self, path: str) -> dict[str, str] | None:
        """Return the path's parameters if ``path`` belongs to this endpoint."""
        found = re.fullmatch(_PARAMETER.sub(r"(?P<\1>[^/]+)", self.path), path)
        return None if found is None else found.groupdict()

    def run(self, services: Services, path: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Any:
        """Check what was sent and answer it.

        :raises LastgoodError: ``invalid`` with the place of what is wrong, and whatever the service raises.
        """
        given: dict[str, Any] = dict(path)
        if self.query is not None:
            given["query"] = _checked_query(query, self.query)
        elif query:
            raise LastgoodError(Code.INVALID, f"{self.path} takes no query parameters.", _WHERE)
        if self.body is not None:
            found = _checked_body(body, self.body | list[self.body] if self.many else self.body)  # type: ignore[name-defined]
            given["body"] = [found] if self.many and not isinstance(found, list) else found
        return self.call(services, **given)


def _checked_query(query: Mapping[str, str], kind: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.convert(dict(query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise LastgoodError(Code.INVALID, f"The query does not fit: {error}.", _WHERE) from None


def _checked_body(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise LastgoodError(Code.INVALID, f"The body does not fit: {error}.", _WHERE) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LastgoodError(Code.INVALID, f"The body is not valid JSON: {error}.", _WHERE) from None
