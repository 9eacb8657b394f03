"""The closed set of ways Lastgood says no.

Every error carries a code from :class:`Code`, one sentence that says what happened and why, and
one that says what to do next. Transports map the code once, here: :data:`EXIT_STATUS` for the
command line and :data:`HTTP_STATUS` for the control API. Anything that is not a
:class:`LastgoodError` is a bug and is shown as ``internal``.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


class Code(StrEnum):
    """Why something was not done."""

    INVALID = "invalid"  # the input is wrong: a plan, a label, a body, a flag
    NOT_FOUND = "not_found"  # no such model, version, deployment, release
    CONFLICT = "conflict"  # somebody else was first, or the state does not allow it now
    REFUSED = "refused"  # understood and possible, but a rule says no (failed version, no way back)
    UNTRUSTED = "untrusted"  # the operator's settings do not trust this format or caller
    CORRUPT = "corrupt"  # bytes do not match their digest, a row does not match its hash
    STORAGE = "storage"  # disk full, database not reachable
    UNAVAILABLE = "unavailable"  # no server, no host, an extra is not installed
    TIMEOUT = "timeout"  # it did not happen in time; nothing is known to be broken
    STUCK = "stuck"  # a rollback did not take effect
    TOO_LARGE = "too_large"  # body, batch or artifact over its limit
    INTERNAL = "internal"  # a bug


EXIT_OK: Final = 0
EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
EXIT_REFUSED: Final = 3
EXIT_ROLLED_BACK: Final = 4
EXIT_STUCK: Final = 5

EXIT_STATUS: Final[Mapping[Code, int]] = MappingProxyType(
    {
        Code.INVALID: EXIT_USAGE,
        Code.NOT_FOUND: EXIT_ERROR,
        Code.CONFLICT: EXIT_ERROR,
        Code.REFUSED: EXIT_REFUSED,
        Code.UNTRUSTED: EXIT_REFUSED,
        Code.CORRUPT: EXIT_ERROR,
        Code.STORAGE: EXIT_ERROR,
        Code.UNAVAILABLE: EXIT_ERROR,
        Code.TIMEOUT: EXIT_STUCK,
        Code.STUCK: EXIT_STUCK,
        Code.TOO_LARGE: EXIT_USAGE,
        Code.INTERNAL: EXIT_ERROR,
    }
)

HTTP_STATUS: Final[Mapping[Code, int]] = MappingProxyType(
    {
        Code.INVALID: 400,
        Code.NOT_FOUND: 404,
        Code.CONFLICT: 409,
        Code.REFUSED: 422,
        Code.UNTRUSTED: 403,
        Code.CORRUPT: 500,
        Code.STORAGE: 507,
        Code.UNAVAILABLE: 503,
        Code.TIMEOUT: 504,
        Code.STUCK: 504,
        Code.TOO_LARGE: 413,
        Code.INTERNAL: 500,
    }
)


class LastgoodError(Exception):
    """An error with a code, a sentence for a person, and the next step.

    ``details`` is data for machines (plain JSON values); it never holds a secret.
    """

    def __init__(
        self, code: Code, message: str, next_step: str = "", *, details: Mapping[str, Any] | None = None
    ) -> None:
        """Keep the parts apart, so that each transport can show them its own way."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.next_step = next_step
        self.details: dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        """Both sentences, for logs and plain terminals."""
        return f"{self.message} {self.next_step}".strip()

    def as_data(self) -> dict[str, Any]:
        """Return the body that the control API answers and ``--json`` prints."""
        return {
            "error": self.message,
            "code": self.code.value,
            "next": self.next_step,
            "details": self.details,
        }


def from_data(data: Mapping[str, Any]) -> LastgoodError:
    """Rebuild an error that crossed the control API; an unknown code reads as ``internal``."""
    raw = str(data.get("code", ""))
    code = next((known for known in Code if known.value == raw), Code.INTERNAL)
    details = data.get("details")
    return LastgoodError(
        code,
        str(data.get("error", "The server gave no reason.")),
        str(data.get("next", "")),
        details=details if isinstance(details, Mapping) else None,
    )
