"""Which arm a request belongs to: a fixed point per key and release, compared with the weight.

The release is the salt, so that the keys that meet one candidate are not the same ones that meet the next.
The point of a key does not depend on the weight: raising the weight keeps everybody who is on the
candidate already.
"""

from hashlib import blake2b
from typing import Final

from lastgood.domain.route import FULL_WEIGHT

_POINTS: Final = 1 << 53  # as many as a float tells apart below 1


def point_of(release: int, key: bytes) -> float:
    """Return the point of ``key`` in [0, 1) within ``release`` (0 to 2**64 - 1): the same in every process."""
    digest = blake2b(key, digest_size=8, salt=release.to_bytes(8, "little")).digest()
    return (int.from_bytes(digest, "little") >> 11) / _POINTS


def takes_candidate(point: float, weight: int) -> bool:
    """Whether the request at ``point`` in [0, 1) goes to a candidate of ``weight`` basis points (0 to 10 000)."""
    return point * FULL_WEIGHT < weight
