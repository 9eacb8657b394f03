"""Which arm a request belongs to: a fixed point per key and release, compared with the weight.

The release is the salt, so that the keys that meet one candidate are not the same ones that meet the next.
The point of a key does not depend on the weight: raising the weight keeps everybody who is on the
candidate already.
"""

from hashlib import blake2b
from typing import Final

from lastgood.domain.route import FULL_WEIGHT

_POINTS: Final = 1 << 53  # as many as a float tells apart below 1
_MARKS: Final = 1 << 32
_CANDIDATE_IN_PAIRS: Final = 0x9E37_79B9
_STABLE_IN_PAIRS: Final = 0x7F4A_7C15


def hash_of(release: int, key: bytes) -> int:
    """Return the 64-bit hash of ``key`` within ``release`` (0 to 2**64 - 1): the same in every process."""
    digest = blake2b(key, digest_size=8, salt=release.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little")


def point_of(release: int, key: bytes) -> float:
    """Return the point of ``key`` in [0, 1) within ``release``: the high bits of its hash."""
    return point_at(hash_of(release, key))


def point_at(hashed: int) -> float:
    """Return the point in [0, 1) of a key with this 64-bit hash."""
    return (hashed >> 11) / _POINTS


def mark_of(hashed: int) -> int:
    """Return the 32 bits that counts know a key by: the low ones, in which the arms do not differ."""
    return hashed % _MARKS


def mark_in_pair(mark: int, *, candidate: bool) -> int:
    """Return the 32 bits that counts know a key by in one arm of pairs, for those that they know it by elsewhere.

    Where arms are split a key has one arm, and what came after its first bad request counts in neither. In pairs it has
    both: known by the same mark it would count in the arm that is counted first, and a key that was bad in a step would
    be left out of one arm of the watch and not of the other.
    """
    return mark ^ (_CANDIDATE_IN_PAIRS if candidate else _STABLE_IN_PAIRS)


def takes_candidate(point: float, weight: int) -> bool:
    """Whether the request at ``point`` in [0, 1) goes to a candidate of ``weight`` basis points (0 to 10 000)."""
    return point * FULL_WEIGHT < weight
