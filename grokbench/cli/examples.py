"""What the help of each command ends with."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

EXAMPLES = {
    "run": (
        "grokbench run --preset smoke",
        'grokbench run --preset smoke --optimizer adamw --optimizer "muon(lr=0.02)"',
        "grokbench run --task add div --softmax softmax --json verdicts.json",
        "grokbench run --claims wang2026 --strict",
    ),
    "list": ("grokbench list tasks", "grokbench list optimizers", "grokbench list claims"),
    "doctor": ("grokbench doctor",),
    "compare": ("grokbench compare here.json there.json", "grokbench compare --unlike cpu.json gpu.json"),
    "check": ('grokbench check "torch.optim:NAdam(weight_decay=0.1)"', 'grokbench check "mine:*" --json findings.json'),
    "gate": (
        'grokbench gate --baseline muon --candidate "muon(ns_steps=3)"',
        'grokbench gate --baseline baseline.json --candidate "mine:Mine(lr=0.01)"',
        'grokbench gate --baseline "mine:Mine" --candidate "mine:Mine" --candidate-path ../changed',
    ),
    "baseline": ('grokbench baseline save baseline.json --optimizer "mine:Mine(lr=0.01)"',),
    "perf": ('grokbench perf --baseline muon --candidate "muon(ns_steps=3)"', "grokbench perf --self-test"),
    "judge": ("grokbench judge times.csv --baseline adamw", "grokbench judge - --unpaired --json verdicts.json"),
    "power": ("grokbench power --ratio 0.7 --cells 21", "grokbench power --from grokbench.sqlite --preset ci"),
    "sweep": ("grokbench sweep --optimizer muon --task add", "grokbench sweep --grid lr=0.01,0.03 weight_decay=0.1,1"),
    "show": ("grokbench show --task add --outcome censored", "grokbench show 3f9a --store grokbench.sqlite"),
    "guide": ("grokbench guide", "grokbench guide first-steps"),
}


def add(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """End the help of these commands, and of those below them, with their examples."""
    for name, parser in commands.items():
        lines = "\n".join(f"  {line}" for line in EXAMPLES[name])
        below = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for own in (parser, *(child for choices in below for child in choices.values())):
            own.epilog = f"examples:\n{lines}"
            own.formatter_class = argparse.RawDescriptionHelpFormatter
