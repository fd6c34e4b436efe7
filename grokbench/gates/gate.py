"""Is a candidate optimizer no later than a baseline, by more than a margin? `run` answers, pair by pair."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grokbench.claims import Cell
from grokbench.gates import baseline as baselines
from grokbench.gates.baseline import Baseline
from grokbench.gates.decision import Decision, GateOutcome, Pairs, Times, decide, looks, rule
from grokbench.gates.setting import EPOCHS, WHOLE, Setting, pairs_of, setting_of
from grokbench.records import provenance
from grokbench.records.provenance import Provenance
from grokbench.records.store import Record, Store
from grokbench.spec import OptimizerSpec, RunSpec, UsageError, registry
from grokbench.training.checkout import Checkout
from grokbench.training.trainer import Trainer

if TYPE_CHECKING:
    from grokbench.training.local import Listener

DEFAULT_PRESET, MARGIN, LEVEL, MAX_PAIRS = "smoke", 0.10, 0.05, 48


@dataclass(frozen=True)
class Request:
    """A question to the gate. baseline: an optimizer, a store or a baseline file. Nones and empty tuples: what the
    file was made with, or the preset `smoke` with all that it has.

    margin: how much later, as a share, is still fine. level: of each test. candidate_path: the candidate is imported
    from there. since: see `Executor`.
    """

    baseline: str
    candidate: str
    preset: str | None = None
    tasks: tuple[str, ...] = ()
    softmaxes: tuple[str, ...] = ()
    model: str | None = None
    budget: int | None = None
    margin: float = MARGIN
    level: float = LEVEL
    max_pairs: int = MAX_PAIRS
    candidate_path: Path | str | None = None
    store: Path = Path("grokbench.sqlite")
    device: str = "auto"
    threads: int | None = None
    since: float = 0.0


@dataclass(frozen=True, eq=False)
class Result:
    """What the gate says. decision: None where whole runs are identical, which is a PASS. differs: the first epoch of
    the golden trajectories with other weights, 0 if they are equal, None if there was none to compare with.

    pairs: cell by cell. records: of all runs that were used, with their specs. Both are empty where both arms are one.
    """

    request: Request
    setting: Setting
    arms: tuple[OptimizerSpec, OptimizerSpec]
    outcome: GateOutcome
    reason: str
    decision: Decision | None
    differs: int | None
    pairs: tuple[Pairs, ...] = ()
    records: tuple[tuple[RunSpec, str, Record], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the candidate is shown to be fine."""
        return self.outcome in (GateOutcome.PASS, GateOutcome.IMPROVED)

    @property
    def unlike(self) -> int:
        """In how many pairs the arms are known to have been rounded otherwise, say on processors of two kinds."""
        pairs: dict[object, list[Provenance]] = {}
        for run, _, record in self.records:
            pairs.setdefault((run.task, run.softmax, run.replica), []).append(record.provenance)
        return sum(one.unlike(other) for one, other in pairs.values())

    @property
    def identical(self) -> bool:
        return self.decision is None

    def __repr__(self) -> str:
        return f"{self.outcome.value}: {self.reason}"


def run(request: Request, listener: Listener | None = None) -> Result:
    """Answer, training what is missing. Raises `UsageError` for what cannot be compared."""
    for name, value, most in (("margin", request.margin, 10), ("level", request.level, 0.5)):
        if not 0 < value < most:
            raise UsageError(f"{name} must lie between 0 and {most}, not {value:g}")
    pairs_of("max-pairs", request.max_pairs)
    kind = baselines.kind_of(request.baseline)
    content = baselines.read(request.baseline) if kind == "file" else None
    setting = _setting(request, content)
    texts = setting.preset.optimizers
    with contextlib.ExitStack() as opened:
        checkout = None
        if request.candidate_path:
            checkout = opened.enter_context(contextlib.closing(Checkout(Path(request.candidate_path))))
        parse = checkout.parse if checkout else registry.parse
        candidate = parse(request.candidate, texts)
        if content:
            baseline = baselines.from_file(request.baseline, content, setting)
        elif kind == "store":
            baseline = baselines.from_store(request.baseline, setting)
        else:
            baseline = Baseline(registry.parse(request.baseline, texts))
        store = opened.enter_context(Store(setting.store, write=None))  # before anything is trained
        return _Gate(request, setting, baseline, candidate, store, checkout, listener).answer()


def _setting(request: Request, content: Mapping[str, object] | None) -> Setting:
    preset, tasks, softmaxes, budget = request.preset, request.tasks, request.softmaxes, request.budget
    model = request.model
    if content:
        try:
            preset, budget = preset or str(content["preset"]), budget or int(str(content["budget"]))
            cells = [(str(task), str(softmax)) for task, softmax in content["cells"]]  # type: ignore[attr-defined]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{request.baseline} is a damaged baseline: {type(error).__name__}: {error}") from None
        if model is None and content.get("model") is not None:
            model = str(content["model"])
        tasks = tasks or tuple(task for task, _ in cells)
        softmaxes = softmaxes or tuple(softmax for _, softmax in cells)
    return setting_of(
        preset or DEFAULT_PRESET, tasks, softmaxes, budget, request.device, request.store, request.threads, model
    )


class _Gate:
    """One question while it is answered."""

    def __init__(
        self,
        request: Request,
        setting: Setting,
        baseline: Baseline,
        candidate: OptimizerSpec,
        store: Store,
        checkout: Checkout | None,
        listener: Listener | None,
    ) -> None:
        self._request, self._setting, self._baseline, self._candidate = request, setting, baseline, candidate
        self._store, self._checkout, self._listener = store, checkout, listener
        self._began = time.time()
        self._arms = baseline.optimizer, candidate  # marked by what they are seen to do

    def answer(self) -> Result:
        """First the golden trajectories, then pairs, unless the runs of both arms are the same ones."""
        differs = self._golden()
        if differs == 0 and self._baseline.records is None and self._arms[0] == self._arms[1]:
            reason = "the same settings and sources, so both arms are one"
            return Result(self._request, self._setting, self._arms, GateOutcome.PASS, reason, None, differs)
        return self._pairs(differs)

    def _golden(self) -> int | None:
        """The first epoch with other weights, 0 if all are the same, None if the baseline's are not known."""
        from grokbench.training.golden import first_difference, golden

        cells, device = self._setting.cells, self._setting.device

        def runs(optimizer: OptimizerSpec) -> list[RunSpec]:
            return [self._setting.runs(cell, optimizer, 1)[0] for cell in cells]

        baseline, own = self._baseline.optimizer, runs(self._candidate)
        origin = str(self._request.candidate_path) if self._checkout else ""
        before = None
        if self._baseline.golden is not None:
            before = tuple(self._baseline.golden[str(cell)] for cell in cells)
        if before is not None and self._elsewhere():
            before = None  # its bits are those of another machine
        if before is None and self._trainable():
            before = golden(runs(baseline), device, EPOCHS)
            if baseline.seen and marked(self._bare(), before) != baseline:
                before = None  # what is found here under its name is not what it was
        after = self._checkout.golden(own, device, EPOCHS) if self._checkout else golden(own, device, EPOCHS)
        if before is not None and self._baseline.records is None:
            baseline = marked(baseline, before)
        self._arms = baseline, marked(self._candidate, after, origin)
        return None if before is None else first_difference(before, after)

    def _elsewhere(self) -> bool:
        """Whether the baseline's records are known to have been rounded otherwise than records of here are."""
        here = provenance.capture(self._setting.device)
        known = {replace(record.provenance, compiler=None) for record in (self._baseline.records or {}).values()}
        return any(here.unlike(origin) for origin in known)

    def _trainable(self) -> bool:
        """Whether the baseline's optimizer, as it was, can be had here; always if it was named."""
        optimizer = self._baseline.optimizer
        if self._baseline.records is None or optimizer.fingerprint is None:
            return True
        try:
            return registry.parse(str(optimizer)) == self._bare()
        except UsageError:
            return False

    def _bare(self) -> OptimizerSpec:
        """The baseline without the mark."""
        return replace(self._baseline.optimizer, seen=None)

    def _pairs(self, differs: int | None) -> Result:
        request, setting = self._request, self._setting
        most = min(request.max_pairs, self._baseline.pairs or request.max_pairs)
        same = False
        counts = looks(most) if differs else [min(WHOLE, most), *looks(most)]
        with Trainer(
            self._store, setting.device, setting.threads, since=self._since, listener=self._listener
        ) as trainer:
            for i, count in enumerate(counts):
                records = self._records(trainer, count)
                found = tuple(self._cell(cell, count, records) for cell in setting.cells)
                if not differs and i == 0:
                    if same := self._identical(count, records):
                        break
                    continue
                if rule(found, request.margin, request.level)[0] is not GateOutcome.INCONCLUSIVE:
                    break
        used = tuple(
            (run, label, own[run.digest])
            for label, optimizer, own in zip(("baseline", "candidate"), self._arms, records, strict=True)
            for cell in setting.cells
            for run in setting.runs(cell, optimizer, count)
        )
        if same:
            where = f" in each of {len(setting.cells)} cells" * (len(setting.cells) > 1)
            reason = f"bit-identical to the baseline over {count} whole runs{where}"
            return Result(request, setting, self._arms, GateOutcome.PASS, reason, None, differs, found, used)
        d = decide(found, request.margin, request.level)
        return Result(request, setting, self._arms, d.outcome, d.reason, d, differs, found, used)

    @property
    def _since(self) -> float:
        """Runs that are the baseline are no answer of the candidate's: where both have one name, it is trained anew."""
        one = self._baseline.records is not None and self._arms[0] == self._arms[1]
        return max(self._began, self._request.since) if one else self._request.since

    def _identical(self, count: int, records: Sequence[Mapping[str, Record]]) -> bool:
        """Whether all these pairs are equal from beginning to end, bit by bit.

        Bits of unlike arithmetic are not compared.
        """
        known = self._baseline.bits
        for cell in self._setting.cells:
            one, other = (self._setting.runs(cell, arm, count) for arm in self._arms)
            for mine, theirs in zip(one, other, strict=True):
                if records[0][mine.digest].provenance.unlike(records[1][theirs.digest].provenance):
                    return False
                before = baselines.bits(records[0][mine.digest]) if known is None else known[mine.digest]
                if before != baselines.bits(records[1][theirs.digest]):
                    return False
        return True

    def _records(self, trainer: Trainer, count: int) -> tuple[Mapping[str, Record], Mapping[str, Record]]:
        """The records of the first `count` pairs by digest, the baseline's and the candidate's."""
        setting, known = self._setting, self._baseline.records
        mine, theirs = ([run for cell in setting.cells for run in setting.runs(cell, arm, count)] for arm in self._arms)
        here = [] if known is not None else mine
        if self._checkout:
            self._checkout.train(theirs, setting.store, setting.device, setting.threads, self._since)
        records = trainer.train([*here, *theirs])
        return (records if known is None else known), records

    def _cell(self, cell: Cell, count: int, records: Sequence[Mapping[str, Record]]) -> Pairs:
        never = self._setting.budget + 1.0
        arms = []
        for arm, own in zip(self._arms, records, strict=True):
            times = [own[run.digest].time for run in self._setting.runs(cell, arm, count)]
            first, held = ([t.epoch or never for t in times], [t.held or never for t in times])
            arms.append(Times(np.array(first, dtype=float), np.array(held, dtype=float)))
        return Pairs(cell, never, arms[0], arms[1])


def marked(optimizer: OptimizerSpec, trajectory: Sequence[Sequence[str]], origin: str = "") -> OptimizerSpec:
    """A plug-in with what it was seen to do, since its sources may not tell all. origin: the tree that it is from.

    So what something out of sight has changed is never answered with the records of before, nor is one tree with the
    records of another.
    """
    if optimizer.fingerprint is None:
        return optimizer
    seen = hashlib.blake2b(repr((trajectory, origin)).encode(), digest_size=8).hexdigest()
    return replace(optimizer, seen=seen)


def save(path: str, text: str, request: Request, pairs: int, listener: Listener | None = None) -> Setting:
    """Train a baseline's pairs and golden trajectories and write them to a file. Raises `UsageError`."""
    from grokbench.records import files
    from grokbench.training.golden import golden

    files.check(path)
    pairs_of("pairs", pairs)
    setting = _setting(request, None)
    optimizer = registry.parse(text, setting.preset.optimizers)
    with (
        Store(setting.store, write=None) as store,
        Trainer(store, setting.device, setting.threads, since=request.since, listener=listener) as trainer,
    ):
        digests = golden([setting.runs(cell, optimizer, 1)[0] for cell in setting.cells], setting.device, EPOCHS)
        optimizer = marked(optimizer, digests)
        runs = [run for cell in setting.cells for run in setting.runs(cell, optimizer, pairs)]
        records = trainer.train(runs)
    baselines.save(path, optimizer, setting, baselines.by_cell(setting.cells, digests), records, pairs)
    return setting
