"""Results as objects for a notebook or a script: `print` shows them as a terminal does, a notebook shows tables."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from grokbench.claims import Cell
from grokbench.report import layout, terminal
from grokbench.report.layout import Part
from grokbench.report.terminal import Runs
from grokbench.spec import UsageError, choose
from grokbench.stats.paired import Interval
from grokbench.verdicts.verdict import Status, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from grokbench.conformance import Finding
    from grokbench.gates import Result as GateResult
    from grokbench.perf import Result as PerfResult
    from grokbench.verdicts.table import Judged


class Shown(ABC):
    """A result that is shown as text by `print`, and as tables in a notebook."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """Its sentences and tables."""

    def __str__(self) -> str:
        return layout.text(self.parts(), layout.width_of(sys.stdout)).rstrip("\n")

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return layout.html(self.parts())


class Answer(Shown):
    """Verdicts, and the runs behind them.

    verdicts: of the cells and of all cells together, as the command line shows them. runs: each with its arm's label
    and its record; none where the times were given. `status`, `ratio`, `interval`, `p` and `reason` are those of all
    cells together; `answer["add", "softmax"]` is the verdict of one cell.
    """

    def __init__(self, verdicts: Sequence[Verdict], runs: Runs = ()) -> None:
        self.verdicts, self.runs = tuple(verdicts), tuple(runs)

    @property
    def verdict(self) -> Verdict:
        """The verdict over all cells, or that of the only cell. Raises `UsageError` if candidates are several."""
        candidates = list(dict.fromkeys(v.claim for v in self.verdicts))
        if len(candidates) != 1:
            labels = ", ".join(dict.fromkeys(v.arms[1] for v in self.verdicts))
            raise UsageError(
                f"there are several candidates, {labels}: take one of them by answer.of({labels.split(', ')[0]!r})"
            )
        whole = [v for v in self.verdicts if v.cell is None]
        return whole[0] if whole else self.verdicts[0]

    @property
    def status(self) -> Status:
        """SUPPORTED, REFUTED or INCONCLUSIVE."""
        return self.verdict.status

    @property
    def ratio(self) -> float | None:
        """The candidate's restricted mean time over the baseline's."""
        return self.verdict.ratio

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of `ratio`."""
        return self.verdict.interval

    @property
    def p(self) -> float:
        """The adjusted p of the claim that the candidate is earlier."""
        return self.verdict.p_adjusted

    @property
    def reason(self) -> str:
        """One line that says why."""
        return self.verdict.reason

    def of(self, candidate: str) -> Answer:
        """The part that concerns one candidate. Raises `UsageError` that lists them."""
        choose("candidate", candidate, tuple(dict.fromkeys(v.arms[1] for v in self.verdicts)))
        mine = [v for v in self.verdicts if v.arms[1] == candidate]
        return Answer(mine, [entry for entry in self.runs if entry[1] in mine[0].arms])

    def __getitem__(self, place: str | tuple[str, str]) -> Verdict:
        """The verdict of one cell: `answer[task, softmax]`, or `answer[cell]` for times that were given."""
        names = {_place(v): v for v in self.verdicts if v.cell is not None and v.claim == self.verdict.claim}
        if place not in names:
            raise UsageError(f"unknown cell {place!r}: choose from {', '.join(map(repr, names))}")
        return names[place]

    def frame(self) -> pd.DataFrame:
        """One row a run: where it ran, its outcome and its times in epochs. Raises `UsageError` without pandas."""
        rows = [
            {
                **_run(run, arm),
                "outcome": record.time.outcome.value,
                "epochs": record.time.epochs,
                "fit": record.time.fit,
                "first": record.time.first,
                "sustained": record.time.sustained,
                "below": record.time.below,
                "seconds": record.seconds,
                "optimizer": str(run.optimizer),
                "digest": record.digest,
            }
            for run, arm, record in self.runs
        ]
        frame = self._pandas().DataFrame(rows)
        times = ["fit", "first", "sustained"]
        return frame.astype(dict.fromkeys(times, "Int64")) if rows else frame

    def curves(self) -> pd.DataFrame:
        """One row an evaluation of a run: the epoch, accuracies and losses; NaN where it was not needed.

        Raises `UsageError` without pandas.
        """
        pandas = self._pandas()
        frames = [pandas.DataFrame({**_run(run, arm), **vars(record.trace)}) for run, arm, record in self.runs]
        return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame()

    @staticmethod
    def _pandas() -> Any:
        try:
            import pandas
        except ImportError:
            raise UsageError("a frame needs pandas: pip install 'grokbench[frame]'") from None
        return pandas

    def parts(self) -> list[Part]:
        return terminal.parts(self.verdicts, self.runs)


class JudgedAnswer(Answer):
    """Verdicts on times that were given; there are no runs behind them. remarks: what a reader has to know of them."""

    def __init__(self, judged: Judged) -> None:
        super().__init__(judged.verdicts)
        self.judged, self.remarks = judged, tuple(judged.remarks)

    def of(self, candidate: str) -> JudgedAnswer:
        mine = super().of(candidate).verdicts
        return JudgedAnswer(self.judged._replace(verdicts=list(mine)))

    def frame(self) -> pd.DataFrame:
        """Raises `UsageError`: the runs are yours."""
        raise UsageError("these times were given, not trained: the frame of the runs is the one that you gave")

    curves = frame

    def parts(self) -> list[Part]:
        from grokbench.report import judged

        return judged.parts(self.judged)


def _place(v: Verdict) -> str | tuple[str, str] | None:
    return (v.cell.task.name, v.cell.softmax) if isinstance(v.cell, Cell) else v.cell


def _run(run: Any, arm: str) -> dict[str, Any]:
    return {"arm": arm, "task": run.task.name, "softmax": run.softmax, "replica": run.replica}


class GateAnswer(Shown):
    """What a gate said. `result` has all of it, see `grokbench.gates.Result`."""

    def __init__(self, result: GateResult) -> None:
        self.result = result

    @property
    def passed(self) -> bool:
        """Whether the candidate is shown to be fine: PASS or IMPROVED."""
        return self.result.passed

    @property
    def outcome(self) -> str:
        """PASS, IMPROVED, REGRESSION or INCONCLUSIVE."""
        return self.result.outcome.value

    @property
    def reason(self) -> str:
        """One line that says why."""
        return self.result.reason

    def parts(self) -> list[Part]:
        from grokbench.report import gate

        return gate.parts(self.result)


class RaceAnswer(Shown):
    """How long the candidate's steps took. `result` has all of it, see `grokbench.perf.Result`."""

    def __init__(self, result: PerfResult) -> None:
        self.result = result

    @property
    def passed(self) -> bool:
        """Whether nothing is shown to be slower."""
        return self.result.passed

    @property
    def ratios(self) -> dict[str, float]:
        """The candidate's time over the baseline's, by kind of step."""
        return {timing.name: timing.race.ratio for timing in self.result.timings}

    def parts(self) -> list[Part]:
        from grokbench.report import perf

        return perf.parts(self.result)


class CheckAnswer(Shown):
    """What an optimizer keeps to. findings: of each check, its outcome and what was seen."""

    def __init__(self, optimizer: str, findings: Sequence[Finding]) -> None:
        self.optimizer, self.findings = optimizer, tuple(findings)

    @property
    def passed(self) -> bool:
        """Whether nothing is broken."""
        return not self.broken

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The findings that say that something is wrong."""
        from grokbench.report import conformance

        return tuple(conformance.broken(self.findings))

    def parts(self) -> list[Part]:
        from grokbench.report import conformance

        return conformance.parts({"optimizer": {self.optimizer: self.findings}})
