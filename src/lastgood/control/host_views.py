"""A model host as a decision sees it."""

from lastgood.control.moves import HostView
from lastgood.control.routes import host_key
from lastgood.wire.fleet import HostState, Observed


def host_view(observed: Observed, model: str, number: int) -> HostView:
    """Return how the host of a version is; neither ready nor failed where none runs."""
    status = observed.hosts.get(host_key(model, number))
    if status is None:
        return HostView()
    ready, failed = status.state is HostState.READY, status.state is HostState.FAILED
    return HostView(ready=ready, failed=failed, error=status.error, code=status.code, starts=status.starts)
