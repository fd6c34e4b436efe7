"""The law of the initial weights."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from grokbench.models.transformer import initial_row, layout
from grokbench.spec import ModelSpec


def test_initial_weights_are_normal_with_the_deviations_that_are_stated() -> None:
    """Of about 1 000 and more numbers each, so a deviation off by a tenth is seen."""
    model = ModelSpec(width=32, depth=1, heads=2, feed_forward=96)
    slices = layout(model, 40, 31)
    row = initial_row(model, slices, 7).double()
    seen = set()
    for s in slices:
        drawn = row[s.offset : s.offset + s.size]
        if len(s.shape) == 1:
            assert torch.equal(drawn, torch.ones(s.size))
            continue
        deviation = 1.0 if s.name == "embedding.weight" else s.shape[1] ** -0.5
        assert float(drawn.std()) == pytest.approx(deviation, rel=0.1), s.name
        assert stats.kstest((drawn / deviation).numpy(), "norm").pvalue > 1e-3, s.name
        seen.add(round(deviation, 3))
    assert len(seen) == 3  # the embedding, matrices from 32 and from 96
