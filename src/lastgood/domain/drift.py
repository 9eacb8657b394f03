"""Drift: what its guardrails look at, and what a stratum holds of it."""

import msgspec

from lastgood.domain.sketch import Feature, Sketch


class DriftTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a drift guardrail looks at: ``features`` of the training reference (empty for all), or one ``output``.

    An empty ``output`` stands for all that the model gives. ``distance`` is the total variation that is tolerated, above 0
    and below 1: no set of values may become that much likelier.
    """

    features: tuple[str, ...] = ()
    output: str = ""
    distance: float = 0.1


class BinCounts(msgspec.Struct, frozen=True, array_like=True):
    """How often values fell into each bin, and how many were ``missing``.

    The last bin is for values that fit none of the others: another class, or no number where there were numbers.
    ``middles`` sums, over the numbers, the bucket of the median of the stratum that they came in.
    """

    bins: tuple[int, ...]
    missing: int = 0
    middles: int = 0

    @property
    def present(self) -> int:
        """All values that are not missing."""
        return sum(self.bins)

    @property
    def all(self) -> int:
        """All values, missing ones among them."""
        return self.present + self.missing

    def plus(self, other: "BinCounts") -> "BinCounts":
        """Return the sum; both have the same bins."""
        return BinCounts(
            tuple([one + more for one, more in zip(self.bins, other.bins, strict=True)]),
            self.missing + other.missing,
            self.middles + other.middles,
        )


class ArmBins(msgspec.Struct, frozen=True, array_like=True):
    """Both arms' counts of one output."""

    candidate: BinCounts
    stable: BinCounts

    def plus(self, other: "ArmBins") -> "ArmBins":
        """Return the sum."""
        return ArmBins(self.candidate.plus(other.candidate), self.stable.plus(other.stable))


class DriftCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a stratum holds of drift: the values of one ``minute`` (epoch seconds // 60), counted by bin.

    ``rows`` are those of ``inputs``, which are by feature, both arms together. ``outputs`` are by output. ``reference`` are the
    features as they were in training, over ``reference_rows``, in the first stratum that counts any; ``bins`` those of outputs, in the stratum from
    which on they are used; ``looked_at`` names the outputs that are ever looked at, in the first stratum with any. While an
    output has no bins its values are in ``learning``, from which the bins come, and are no evidence. Sketches have been
    read up to ``read``.
    """

    minute: int
    rows: int = 0
    inputs: dict[str, BinCounts] = {}
    outputs: dict[str, ArmBins] = {}
    reference: dict[str, Feature] = {}
    reference_rows: int = 0
    bins: dict[str, Feature] = {}
    looked_at: tuple[str, ...] = ()
    learning: dict[str, Sketch] = {}
    read: int = 0
