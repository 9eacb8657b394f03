"""What crosses a process boundary on one machine, and nothing else.

Belongs here: the formats that both sides of a boundary must agree on (frames between gateway and host,
the shared route page, the gateways' reports, the fleet's desired and observed state), the reading
and writing of them, and the sockets and private places they go through. Does not belong here: any policy, such as which arm to choose or when to restart.
"""
