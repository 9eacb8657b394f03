"""What stands on the route page, or in a key, cannot write an answer's headers."""

import pytest

from lastgood.domain.deployment import Role
from lastgood.domain.route import Route, RouteTable, Target
from lastgood.gateway.table import compile_table
from lastgood.gateway.telemetry import Telemetry


class FreeLink:
    """A way to no host."""

    path = "v1.sock"
    connection = None
    tried = False


@pytest.mark.parametrize("label", ["v1\r\nset-cookie: a=b", "v1\nx: y", "v1\rx", "v1\0", "v1\x85x", "\ud800"])
def test_a_label_with_a_line_end_reaches_no_header(label):
    """Such a label is left out of the answer's headers; the route is served all the same."""
    target = Target(version=1, label=label, digest="sha256:1", socket="v1.sock")
    route = Route(deployment="churn", model="churn", generation=1, stable=target)
    telemetry = Telemetry(slot=0, pid=1, epoch=1)
    table = compile_table(RouteTable(generation=1, routes=(route,)), lambda _: FreeLink(), telemetry)
    lane = table.routes["churn"].stable

    assert lane.role is Role.STABLE
    assert lane.head == b"content-type: application/json\r\nlastgood-version: 1\r\n"
