"""What must not be shown of a text that came from outside: users and passwords in URLs, and what is called a secret."""

import re
from typing import Final

BLOT: Final = "***"
_USER_IN_URL: Final = re.compile(r"(?<=://)[^/\s@]+@")
_PASSWORD_IN_URL: Final = re.compile(r"://[^/\s@:]*:[^/\s@]+@")
_NAMED: Final = re.compile(
    r"(?i)((?:\b|_)(?:[\w-]{0,40}(?:password|passwd|secret|token|signature|credential|(?:api|access|account)[-_]?key)|pwd|sig)"
    r"[\"']?\s*[=:]\s*|\bbearer\s+)(?:\"[^\"]*\"|'[^']*'|[^\s,;&]+)"
)


def has_password(text: str) -> bool:
    """Whether ``text`` holds a URL with a password."""
    return _PASSWORD_IN_URL.search(text) is not None


def without_credentials(text: str) -> str:
    """Return ``text`` without users and passwords in URLs, and without what is called a password, a secret or a token."""
    return _NAMED.sub(rf"\g<1>{BLOT}", _USER_IN_URL.sub(f"{BLOT}@", text))
