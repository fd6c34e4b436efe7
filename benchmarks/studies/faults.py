"""What `check` and `gate` find in the corpus of planted faults, in sound twins, and in the classes of public libraries.

    python benchmarks/studies/faults.py check [KIND …]
    python benchmarks/studies/faults.py sound [SPEC …]
    python benchmarks/studies/faults.py gate [KIND …]
    python benchmarks/studies/faults.py real [SPEC …]

Each adds a line to its file of benchmarks/records/ for what is not in it yet, so it can be interrupted. `check`
(corpus_check.txt) has the check of the pair's row, as the test of the corpus has it, for `Faulty`. `sound` (sound.txt)
makes all checks of every `Sound` twin, of the built-in optimizers and of torch.optim's, and keeps what breaks. `gate`
(corpus_gate.txt) has the sound twin as the baseline and the faulty one as the candidate, with the settings they have by
default, in an easy task that both Adam and SGD learn. `real` (conformance.txt) makes all checks of those of `LIBRARIES`
that are installed, and `all` in its second column means that a class takes all parameters, `matrices` those alone.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

from grokbench import gates
from grokbench.cli import prints
from grokbench.cli.check import expand
from grokbench.conformance import CheckOutcome, conformance, examine
from grokbench.conformance.elsewhere import Elsewhere
from grokbench.conformance.training import MATRICES as MATRICES_ALONE
from grokbench.spec import UsageError, registry

RECORDS, TESTS = Path(__file__).parents[1] / "records", Path(__file__).parents[2] / "tests"
# SGD with momentum never learns addition here, but it learns this. A fault that acts after these runs, which end in
# their tenth to sixtieth epoch of two steps, is not found.
TASK, MODEL, BUDGET, PAIRS = "sparse_parity(k=3, n=10)", "mlp(width=32)", 60, 8
MATRICES = ("torch.optim:Muon(parameters='matrices')",)
NOT_TRAINED = ("torch.optim:LBFGS", "torch.optim:SparseAdam", "torch.optim:Muon")  # see the page `check`

LIBRARIES = (
    "torch.optim:*",
    "schedulefree:*",
    "prodigyopt:*",
    "lion_pytorch:*",
    "bitsandbytes.optim:*",
    "muon:*",
    "optimuon:*",
    "pytorch_optimizer:*",
    "emerging_optimizers.scalar_optimizers:*",
    "emerging_optimizers.orthogonalized_optimizers:*",
    "emerging_optimizers.riemannian_optimizers:*",
    "emerging_optimizers.psgd:*",
    "emerging_optimizers.legacy_soap:*",
    "heavyball:*",
)
FIRST = 40  # of a library, by name; pytorch_optimizer has 133
# What has no default.
GIVEN = {
    "emerging_optimizers.orthogonalized_optimizers:AdaptiveMuon": "lr=0.001, momentum=0.95, weight_decay=0.01",
    "emerging_optimizers.legacy_soap:REKLS": "lr=0.001",
    "emerging_optimizers.legacy_soap:SOAP": "lr=0.001",
    "emerging_optimizers.legacy_soap:StackedSoap": "lr=0.001",
    **{f"bitsandbytes.optim:{name}": "lr=0.1, momentum=0.9" for name in ("LARS", "LARS32bit", "LARS8bit")},
    **{f"bitsandbytes.optim:{name}": "lr=0.1, momentum=0.9" for name in ("SGD", "SGD32bit", "SGD8bit")},
    "bitsandbytes.optim:PytorchLARS": "lr=0.1, momentum=0.9",
}
# To be derived from, or given weights of one norm.
LEFT_OUT = (
    "SingleMomentumOptimizer",
    "TwoMomentsOptimizer",
    "OrthogonalizedOptimizer",
    "PSGDBase",
    "SOAPBase",
    "MuonHyperball",
)


def kinds() -> list[str]:
    """The pairs of the corpus by name."""
    return sorted(p.stem for p in (TESTS / "corpus").glob("*.py") if not p.stem.startswith(("test_", "_")))


def spec_of(kind: str, twin: str) -> str:
    """The text of one of the twins of a pair."""
    arguments = (
        "(parameters='matrices')" if getattr(importlib.import_module(f"corpus.{kind}"), "MATRICES", False) else ""
    )
    return f"corpus.{kind}:{twin}{arguments}"


def sound_ones() -> list[str]:
    """All that no check should have anything against."""
    of_torch = [name for name in expand("torch.optim:*") if name not in NOT_TRAINED]
    return [*(spec_of(kind, "Sound") for kind in kinds()), *registry.BUILT_IN, *of_torch, *MATRICES]


def checked(kind: str) -> str:
    """What the check of this pair's row says of the fault."""
    check, _ = importlib.import_module(f"corpus.{kind}").EXPECT
    found = examine(registry.parse(spec_of(kind, "Faulty")), check, alone=True)
    return f"{check} | {found.outcome.value} | {found.text}"


def alarms(text: str) -> str:
    """What breaks, of all checks, and how long they take together."""
    began = time.process_time()
    broken = [f"{f.check}: {f.text}" for f in conformance(registry.parse(text)) if f.outcome is CheckOutcome.BREAKS]
    return f"{time.process_time() - began:.0f} s | {'; '.join(broken)}"


def real_ones() -> list[str]:
    """Optimizer classes of libraries that are installed here."""
    found = []
    for library in LIBRARIES:
        if importlib.util.find_spec(library.split(".")[0].split(":")[0]):
            found += [name for name in expand(library) if not name.endswith(LEFT_OUT)][:FIRST]
    return found


def examined(text: str) -> str:
    """All that is said of a class in short, with the version of its library."""
    began = time.process_time()
    given = f"{text}({GIVEN[text]})" if text in GIVEN else text
    with prints.kept():
        found = {f.check: f for f in conformance(registry.parse(given))}
        taken = "all"
        if MATRICES_ALONE in found["runs"].text:
            taken = "matrices"
            found = {f.check: f for f in conformance(registry.optimizer(given, parameters="matrices"))}
    broken = [f"{f.check}: {f.text}" for f in found.values() if f.outcome is CheckOutcome.BREAKS]
    said = [
        found[name].text.removeprefix("the steps of ").partition(", to ")[0]
        if name in found and found[name].outcome is not CheckOutcome.SKIPPED
        else "–"
        for name in ("rule", "weight decay")
    ]
    spent = f"{time.process_time() - began:.0f} s"
    return " | ".join([_version(text), taken, spent, *said, "; ".join(broken)])


def _version(text: str) -> str:
    top = text.split(":")[0].split(".")[0]
    names = metadata.packages_distributions().get(top)
    if names:
        return f"{names[0]} {metadata.version(names[0])}"
    return f"{top} {importlib.import_module(top).__version__}"  # a checkout


def gated(kind: str) -> str:
    """How a gate ends in which the sound twin is the baseline."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        request = gates.Request(
            spec_of(kind, "Sound"),
            spec_of(kind, "Faulty"),
            preset="smoke",
            tasks=(TASK,),
            model=MODEL,
            budget=BUDGET,
            max_pairs=PAIRS,
            store=Path(folder) / "s.sqlite",
            threads=1,
        )
        try:
            found = gates.run(request)
        except UsageError as error:
            return f"refused | – | – | {time.process_time() - began:.0f} s | {error}"
    pairs = len(found.pairs[0]) if found.pairs else 0
    apart = "none" if found.differs == 0 else found.differs
    return f"{found.outcome.value} | {pairs} | {apart} | {time.process_time() - began:.0f} s | {found.reason}"


STUDIES: dict[str, tuple[str, Callable[[], list[str]], Callable[[str], str], str]] = {
    "check": ("corpus_check.txt", kinds, checked, "pair | check | outcome | text"),
    "sound": ("sound.txt", sound_ones, alarms, "optimizer | processor time of all checks | what breaks"),
    "real": (
        "conformance.txt",
        real_ones,
        examined,
        "optimizer | library | takes | processor time of all checks | rule | weight decay | what breaks",
    ),
    "gate": (
        "corpus_gate.txt",
        kinds,
        gated,
        "pair | outcome | pairs | first epoch with other weights | processor time | reason "
        f"({TASK}, {MODEL}, budget {BUDGET}, at most {PAIRS} pairs)",
    ),
}


def go(study: str, names: Iterable[str] = ()) -> None:
    """Add a line for each of these, or of all, that the study's file does not have."""
    file, everything, look, header = STUDIES[study]
    path = RECORDS / file
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else [header, ""]
    done = {line.split(" | ")[0] for line in lines}
    for name in [name for name in names or everything() if name not in done]:
        line = f"{name} | {' '.join(look(name).split())}"
        sys.stderr.write(f"{line}\n")
        lines = [*lines[:2], *sorted([*lines[2:], line])]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("names", nargs="*", help="these alone")
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    if options.study == "real":  # as they are written: heavyball compiles its steps anew for every setting
        os.environ["TORCHDYNAMO_DISABLE"] = "1"
    if options.study in ("sound", "real"):
        Elsewhere.started()
    go(options.study, options.names)


if __name__ == "__main__":
    main()
