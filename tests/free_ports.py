"""Ports for the servers that tests start: no two tests of this machine get the same one, whatever runs beside them."""

import functools
import random
import socket
from pathlib import Path

_LOWEST = 12_000
_TRIES = 1_000
_reserved: list[socket.socket] = []
_chance = random.SystemRandom()  # two processes that begin at one place would only meet each other


def free_port() -> int:
    """Return a loopback port that nobody uses and that no other test gets before this process ends.

    It lies below the range from which the kernel takes ports for outgoing connections: a client's connection may
    take one from that range between this call and the server's bind, or while a server is stopped and started again.
    The reservation is a name that the kernel gives to one process of the machine and takes back at its end.
    """
    for _ in range(_TRIES):
        port = _chance.randrange(_LOWEST, _highest())
        reservation = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            reservation.bind(f"\0lastgood-test-port-{port}")
            with socket.create_server(("127.0.0.1", port)):
                _reserved.append(reservation)
                return port
        except OSError:
            reservation.close()
    raise RuntimeError(f"none of {_TRIES} ports is free")


@functools.cache
def _highest() -> int:
    """Return the first port that the kernel gives to outgoing connections, if there is room below it."""
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return lowest_outgoing if lowest_outgoing > _LOWEST + _TRIES else 65_536
