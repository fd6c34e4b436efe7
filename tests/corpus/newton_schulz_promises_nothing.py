"""The same reshape in place of a transpose, in an optimizer that promises no ratio: it is said."""

from corpus import newton_schulz_reshapes as promising

MATRICES = True
ONLY_SAID = True
EXPECT = "spectrum", "alignment of U Vᵀ with the gradient's is 0.0"


class Sound(promising.Sound):
    grokbench_condition = None


class Faulty(promising.Faulty):
    grokbench_condition = None
