"""The rules for a notification channel, wherever it is written down: a plan file or the settings."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from lastgood.errors import Code, LastgoodError

REFERENCE_PATTERN: Final = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"
_REFERENCE: Final = re.compile(REFERENCE_PATTERN, re.ASCII)


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """Where notifications go: a ``webhook`` URL or a ``command``.

    ``secret`` refers to the signing key (``env:NAME`` or ``file:PATH``); it is never the key itself.
    """

    webhook: str | None = None
    command: tuple[str, ...] | None = None
    secret: str | None = None


def check_channel(
    *, webhook: str | None = None, command: Sequence[str] | None = None, secret: str | None = None
) -> Channel:
    """Return the channel if notifications may go there.

    Neither a URL nor a secret is repeated in the error, because either may hold a key.

    :raises LastgoodError: ``invalid``; ``details["field"]`` names the field at fault when there is one.
    """
    if (webhook is None) == (command is None):
        what = "neither a webhook nor a command" if webhook is None else "both a webhook and a command"
        raise _refusal(f"A notification channel has {what}.", "Give exactly one of the two.", None)
    if webhook is not None:
        _check_webhook(webhook)
    if command is not None and (not command or not command[0].strip()):
        raise _refusal(
            "The command is empty.",
            'Give the program and its arguments: ["notify-send", "lastgood"].',
            "command",
        )
    if command is not None and any("\0" in argument for argument in command):
        raise _refusal("The command holds a NUL character.", "Remove it.", "command")
    if secret is not None:
        _check_secret(secret, signs=webhook is not None)
    return Channel(webhook=webhook, command=None if command is None else tuple(command), secret=secret)


def _check_webhook(webhook: str) -> None:
    hint = "Give a URL such as https://example.org/hook."
    try:
        parts = urlsplit(webhook)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise _refusal("The webhook is not a URL.", hint, "webhook") from None
    if parts.scheme not in ("http", "https") or not host or not webhook.isprintable() or " " in webhook:
        raise _refusal("The webhook is not an http or https URL.", hint, "webhook")


def _check_secret(secret: str, *, signs: bool) -> None:
    if not _REFERENCE.fullmatch(secret):
        raise _refusal(
            "The secret is written out here, where everybody who sees the plan can read it. It is not shown.",
            "Put it in the server's environment or in a file, and write env:NAME or file:PATH.",
            "secret",
        )
    if not signs:
        raise _refusal("A secret signs webhooks; a command has no use for it.", "Remove it.", "secret")


def _refusal(message: str, next_step: str, field: str | None) -> LastgoodError:
    return LastgoodError(Code.INVALID, message, next_step, details={"field": field} if field else {})
