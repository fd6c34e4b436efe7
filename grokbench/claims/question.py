"""What is asked of two arms, of whichever runs: the part of a claim that a verdict needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass


@dataclass(frozen=True)
class Question(ABC):
    """A statement about a candidate against a baseline, and the rule that decides it.

    test: the name of an endpoint, see `grokbench.verdicts.endpoints`. margin, for times: the statement is T_candidate <
    margin · T_baseline, so 1.1 is non-inferiority and 0.5 "twice as early". level: of every one-sided test, after
    correction over the cells. comparisons: how many it is one of that are decided together; its level is divided by
    that. sequential: pairs are looked at as they come in. paired: replicas of one number share
    their random stream. scope: where what is trained differs from what was published. asserted: its refutation is a
    failure. per_cell: it is decided in each cell. pooled: it is decided over all cells together. unit: what a pair is
    called; a run where the baseline is a number.
    """

    name: str
    statement: str
    source: str
    _: KW_ONLY
    test: str = "first"
    margin: float = 1.0
    level: float = 0.05
    comparisons: int = 1
    sequential: bool = False
    paired: bool = True
    protocol: str = "published"
    scope: str = ""
    asserted: bool = False
    per_cell: bool = True
    pooled: bool = True
    unit: str = "pair"

    @property
    def bound(self) -> float:
        """The level that is left for its own cells, on either side."""
        return self.level / self.comparisons

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """What tables call the arms, the baseline first; none where there are no arms."""


@dataclass(frozen=True)
class Comparison(Question):
    """A question about anyone's times, of arms that have no more than a label."""

    between: tuple[str, str]

    @property
    def labels(self) -> tuple[str, str]:
        return self.between
