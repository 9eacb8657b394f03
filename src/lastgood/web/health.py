"""``/health``: whether the controller still works, not merely whether this process answers."""

from typing import Final

import msgspec

from lastgood.bootstrap import Services

_LEAST_SECONDS: Final = 2.0
_TICKS: Final = 3


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``status`` is ``ok`` or ``failing``, ``why`` says it in a sentence.

    ``trouble`` names the deployments that could not be driven in the last turn; the reasons are in the log,
    because this answer needs no token. ``turn_seconds_ago`` is None before the first turn.
    """

    status: str
    why: str
    turn_seconds_ago: float | None
    trouble: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the controller works."""
        return self.status == "ok"


def health_of(services: Services, now: float) -> Health:
    """Return how the controller does at ``now`` (CLOCK_MONOTONIC seconds)."""
    last, trouble = services.controller.last_turn, tuple(sorted(services.controller.trouble))
    if not last:
        why = "The controller has not finished its first turn."
        return Health(status="failing", why=why, turn_seconds_ago=None, trouble=trouble)
    ago = round(max(now - last, 0.0), 3)
    limit = max(_TICKS * services.settings.tick_seconds, _LEAST_SECONDS)
    if ago > limit:
        why = (
            f"The controller's last turn that worked was {ago:.1f} s ago (limit {limit:g} s): releases are not "
            "judged, and candidates get no traffic. The reason is in its log."
        )
        return Health(status="failing", why=why, turn_seconds_ago=ago, trouble=trouble)
    why = "The controller works."
    if trouble:
        why += f" It cannot drive {', '.join(trouble)}; the reason is in its log."
    return Health(status="ok", why=why, turn_seconds_ago=ago, trouble=trouble)
