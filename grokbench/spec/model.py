"""A model: its sizes."""

from __future__ import annotations

from dataclasses import dataclass

from grokbench.spec.errors import choose, require, whole

DTYPES = ("float32", "float64")

# Matrices whose sides are multiples of 16 begin on a cache line in every slot of a stack. Kernels choose their
# path by alignment, so without this the bits of a run could depend on the slot that it was given.
ALIGNMENT = 16


@dataclass(frozen=True)
class ModelSpec:
    """A decoder-only transformer: width and feed-forward width in units of floats, dropout as a probability.

    `gated` selects the SwiGLU feed-forward, down(silu(gate x) * up x), instead of down(silu(up x)).
    """

    width: int = 128
    depth: int = 2
    heads: int = 4
    feed_forward: int = 512
    gated: bool = False
    dropout: float = 0.0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for field in ("width", "depth", "heads", "feed_forward"):
            whole(field, getattr(self, field), 1)
        for field in ("width", "feed_forward"):
            value = getattr(self, field)
            require(value % ALIGNMENT == 0, f"{field} must be a multiple of {ALIGNMENT}, not {value}")
        require(self.width % self.heads == 0, f"{self.heads} heads do not divide width {self.width}")
        head = self.width // self.heads
        require(head % 2 == 0, f"rotary positions need an even width of a head, not {head} = {self.width}/{self.heads}")
        require(0 <= self.dropout < 1, f"dropout must lie in [0, 1), not {self.dropout!r}")
        choose("dtype", self.dtype, DTYPES)
