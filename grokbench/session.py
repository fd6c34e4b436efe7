"""What one invocation asks for, and its answers: options -> claims -> cases -> verdicts. Torch-free until it trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from grokbench.claims import Arm, Audit, Cell, Claim, Setup, cells_of, chosen_from, plugged, pools_of, presets
from grokbench.claims.papers import essential2025, janati2026, lee2024, prieto2025, tveit2025, wang2026
from grokbench.claims.protocols import PROTOCOLS
from grokbench.options import FAMILIES, Options
from grokbench.records.store import Record, Store
from grokbench.spec import RunSpec, UsageError, choose, registry
from grokbench.spec.plugins import CLAIM
from grokbench.training import cores
from grokbench.training.trainer import Trainer

if TYPE_CHECKING:
    from grokbench.training.local import Listener
    from grokbench.verdicts.evidence import Gathered
    from grokbench.verdicts.verdict import Verdict

MOST_REPLICAS = 10_000
PAPERS = {
    "wang2026": wang2026.claims,
    "janati2026": janati2026.claims,
    "essential2025": essential2025.claims,
    "prieto2025": prieto2025.claims,
    "lee2024": lee2024.claims,
}
ALL_PAPERS = ("tveit2025", *PAPERS)


class Case(NamedTuple):
    """One question: a claim in a cell, or over all cells (`cell` None)."""

    claim: Claim | Audit
    cell: Cell | None

    @property
    def id(self) -> str:
        return f"{self.claim.name}-{self.cell or 'pooled'}"


def cases(options: Options) -> tuple[Case, ...]:
    """Every case that the options ask for, cells first. Raises `UsageError` that lists the choices."""
    preset = presets.get(options.preset, options.model, options.budget)
    cells = cells_of(preset, options.tasks, options.softmaxes)
    if options.replicas is not None and not 1 <= options.replicas <= MOST_REPLICAS:
        raise UsageError(f"replicas must be at least 1 and at most {MOST_REPLICAS}, not {options.replicas}")
    cores.check(options.threads)
    papers = [_paper(text) for text in _unique(options.claims)]
    protocols = [choose("protocol", p, PROTOCOLS) for p in _unique(options.protocols)]
    if papers and "tveit2025" not in papers and (options.optimizers or protocols != [PROTOCOLS[0]]):
        raise UsageError(f"{', '.join(papers)} name their own arms and protocol: leave out --optimizer and --protocol")
    chosen = choose("family", options.family, FAMILIES) == "selected"
    all_of_it = chosen_from(preset, cells)
    family = None if chosen else len(all_of_it)
    pools = 1 if chosen else pools_of(cells, all_of_it)
    comparisons = max(1, len(options.optimizers) - 1) * len(protocols)
    setup = Setup(preset, cells, options.replicas, options.early_stop, family, pools, comparisons)
    claims: list[Claim | Audit] = []
    if not papers or "tveit2025" in papers:
        baseline, *candidates = _arms(preset, options.optimizers or preset.arms)
        for protocol in protocols:
            claims += [
                tveit2025.earlier(setup, baseline, candidate, protocol, asserted=bool(options.optimizers))
                for candidate in candidates
            ]
            if papers:
                claims += tveit2025.claims(setup, baseline, candidates[0], protocol)
    everywhere = not (options.tasks or options.softmaxes)
    asked = {(cell.task.name, cell.softmax) for cell in cells}
    for paper in papers:
        for claim in () if paper == "tveit2025" else PAPERS.get(paper, partial(plugged.claims, paper))(setup):
            if everywhere or all((cell.task.name, cell.softmax) in asked for cell in claim.cells):
                claims.append(claim)
    if not claims:
        raise UsageError(f"{', '.join(papers)} claim nothing of the tasks and softmaxes that were chosen")
    return tuple(Case(claim, cell) for claim in claims for cell in claim.places)


def _paper(text: str) -> str:
    if ":" in text or "(" in text:
        return text
    return choose("paper", text, (*ALL_PAPERS, *CLAIM.names(), "package.module:Attribute"))


def _unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _arms(preset: presets.Preset, texts: Sequence[str]) -> list[Arm]:
    if len(texts) < 2:
        raise UsageError(f"a comparison needs two optimizers, the baseline first, not only {texts[0]!r}")
    specs = [registry.parse(text, preset.optimizers) for text in texts]
    short = [spec.name.partition(":")[2] or spec.name for spec in specs]
    labels = [
        name if short.count(name) == 1 else text.replace(" ", "") for name, text in zip(short, texts, strict=True)
    ]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"the optimizer {label!r} is named twice: name different ones")
    return [Arm(label, spec) for label, spec in zip(labels, specs, strict=True)]


class Session:
    """Answers cases from the store, and trains what is missing there.

    divided: other processes work on the same cases, so train only what is asked for next. write: with False, or where
    the store may not be written, it is only read, and what needs training fails.
    """

    def __init__(
        self,
        options: Options,
        selected: Iterable[Case],
        *,
        divided: bool = False,
        write: bool = True,
        listener: Listener | None = None,
    ) -> None:
        self._options, self._divided = options, divided
        self.selected = tuple(dict.fromkeys(selected))
        cores.check(options.threads)  # before a store is opened
        self.store = Store(options.store, write=None if write else False)
        self._trainer = Trainer(
            self.store, options.device, options.threads, divided=divided, since=options.since, listener=listener
        )
        self.records: dict[str, Record] = {}
        self._gathered: dict[Claim, tuple[int, Gathered]] = {}  # with the number of records

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            self.close()
        except Exception:  # a store that is gone; what happened before says more
            if kind is None:
                raise

    def close(self) -> None:
        """End the workers and close the store."""
        try:
            self._trainer.close()
        finally:
            self.store.close()

    def train(self) -> None:
        """Train all that the selected cases need, one case after another; free slots take what comes later."""
        for case in self.selected:
            self._train([case])

    def _cells_asked(self, claim: Claim | Audit) -> list[Cell]:
        """The cells of a claim that were selected."""
        return [case.cell for case in self.selected if case.claim == claim and case.cell]

    def _gather(self, claim: Claim) -> Gathered:
        """What the records so far hold for the cases of a claim; kept while there are no others."""
        from grokbench.verdicts import evidence

        known = self._gathered.get(claim)
        if known is None or known[0] != len(self.records):
            pooled = any(case.claim == claim and case.cell is None for case in self.selected)
            found = evidence.gather(claim, self._cells_asked(claim), self.records, pooled=pooled)
            known = self._gathered[claim] = len(self.records), found
        return known[1]

    def missing(self, cases: Iterable[Case], *, ahead: bool = False) -> list[RunSpec]:
        """The runs that these cases need next, as far as the records so far tell; none if they have their answers.

        ahead: and those that they may need after these.
        """
        asked = [case for case in dict.fromkeys(cases) if isinstance(case.claim, Claim)]
        while True:
            runs = {}
            for claim, cell in asked:
                assert isinstance(claim, Claim)
                found = self._gather(claim)
                for run in (found.ahead if ahead else found.missing).get(cell, ()):
                    runs[run.digest] = run
            new = self.store.get(runs, self._options.since)
            if not new:
                return list(runs.values())
            self.records |= new  # and see what these make necessary

    def _train(self, cases: Sequence[Case]) -> None:
        """Train until the cases have their answers, look by look."""
        while missing := self.missing(cases):
            coming = () if self._divided else self.missing(self.selected, ahead=True)
            self.records |= self._trainer.train(missing, coming)

    def verdict(self, case: Case) -> Verdict:
        """The verdict of one case, after training what it needs.

        A cell is judged from its own runs where the other cells cannot change its status through the adjustment; only
        in between does it wait for them.
        """
        self._train([case])
        if case.cell is None:
            pooled = self._pooled(case.claim)
            assert pooled is not None
            return pooled
        if not (own := self._judged(case)).decided:
            self._train([other for other in self.selected if other.claim == case.claim])
            own = self._judged(case)
        return own

    def _judged(self, case: Case) -> Verdict:
        return next(v for v in self._in_cells(case.claim) if v.cell == case.cell)

    def _in_cells(self, claim: Claim | Audit) -> list[Verdict]:
        """The verdicts of those of the selected cells that have all their runs."""
        from grokbench.verdicts import verdict

        if isinstance(claim, Audit):
            return []
        found = self._gather(claim)
        return verdict.judge(claim, found.ended, claim.family_of(len(found.cells)), found.open)

    def _pooled(self, claim: Claim | Audit) -> Verdict | None:
        """The verdict over all cells of a claim together, or None while a run is missing."""
        from grokbench.verdicts import verdict

        if isinstance(claim, Audit):
            return verdict.pool(claim)
        pairs = self._gather(claim).pool
        return None if pairs is None else verdict.pool(claim, pairs, claim.pools)

    def answers(self) -> tuple[list[Verdict], list[tuple[RunSpec, str, Record]]]:
        """What the store now says: the verdicts of the selected cases, and their runs with arm and record."""
        self.missing(self.selected)  # reads what other processes have trained
        verdicts: list[Verdict] = []
        runs: dict[str, tuple[RunSpec, str, Record]] = {}
        for claim in dict.fromkeys(case.claim for case in self.selected):
            if isinstance(claim, Claim):
                for run, label in self._gather(claim).used:
                    runs.setdefault(run.digest, (run, label, self.records[run.digest]))
            verdicts += self._in_cells(claim)
            if Case(claim, None) in self.selected and (pooled := self._pooled(claim)):
                verdicts.append(pooled)
        return verdicts, list(runs.values())
