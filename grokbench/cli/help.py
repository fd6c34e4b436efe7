"""What the help of each command begins with, and the examples that it ends with."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping

HELP: dict[str, tuple[str, ...]] = {
    "run": (
        "Which optimizer groks earlier? Trains the runs that the store lacks, and prints the verdicts.",
        "grokbench run --preset smoke",
        'grokbench run --preset smoke --optimizer adamw --optimizer "muon(lr=0.02)"',
        "grokbench run --task add div --softmax softmax --json verdicts.json",
        "grokbench run --claims wang2026 --strict",
    ),
    "list": (
        "What there is to choose from: tasks, softmaxes, models, optimizers, presets, claims or protocols.",
        "grokbench list tasks",
        "grokbench list optimizers",
        "grokbench list claims",
    ),
    "doctor": (
        "What machine this is, what of grokbench it can run and, with --verify, whether it does it right.",
        "grokbench doctor",
        "grokbench doctor --verify --json proof.json",
    ),
    "compare": (
        "Benchmark results of several machines or versions, side by side. It reads the files of pytest-benchmark.",
        "grokbench compare here.json there.json",
        "grokbench compare --unlike cpu.json gpu.json",
        "grokbench compare main.json branch.json --fail 5%",
    ),
    "check": (
        "Does an optimizer, task, softmax or model keep to what all have to keep to? Each kind has checks of its own.",
        'grokbench check "torch.optim:NAdam(weight_decay=0.1)"',
        'grokbench check "mine:*" --json findings.json',
        'grokbench check --task "permutations(n=4)" --model mlp',
    ),
    "gate": (
        "Is a changed optimizer no later than it was, by more than a margin? Made for CI.",
        'grokbench gate --baseline muon --candidate "muon(ns_steps=3)"',
        'grokbench gate --baseline baseline.json --candidate "mine:Mine(lr=0.01)"',
        'grokbench gate --baseline "mine:Mine" --candidate "mine:Mine" --candidate-path ../changed',
    ),
    "baseline": (
        "Trains an optimizer and saves its runs in a small file, which a gate compares with later.",
        'grokbench baseline save baseline.json --optimizer "mine:Mine(lr=0.01)"',
    ),
    "perf": (
        "Are the steps of a changed optimizer slower than they were? Times both in turn on this machine.",
        'grokbench perf --baseline muon --candidate "muon(ns_steps=3)"',
        "grokbench perf --self-test",
    ),
    "judge": (
        "Verdicts on times of your own, from a table with a row for each run. It trains nothing.",
        "grokbench judge times.csv --baseline adamw",
        "grokbench judge - --unpaired --json verdicts.json",
        "grokbench judge losses.csv --value loss --lower --target 3.28",
    ),
    "times": (
        "Learning curves to a table of times, which grokbench judge takes. Reads CSV, JSON lines, wandb and TensorBoard.",
        "grokbench times curves.csv --metric val_acc --above 0.95",
        "grokbench times wandb.csv --metric val_loss --below 0.1 --runs '{arm}-seed{replica}'",
    ),
    "power": (
        "How many pairs does a question need? For a ratio that you expect, or for what a store has seen.",
        "grokbench power --ratio 0.7 --cells 21",
        "grokbench power --from grokbench.sqlite --preset ci",
        "grokbench power --from times.csv --baseline adamw",
    ),
    "sweep": (
        "A map of the grok time over rate and weight decay, for one optimizer in one cell.",
        "grokbench sweep --optimizer muon --task add",
        "grokbench sweep --grid lr=0.01,0.03 weight_decay=0.1,1",
    ),
    "show": (
        "Lists the runs of a store. With a run, shows everything that is known of it.",
        "grokbench show --task add --outcome censored",
        "grokbench show 3f9a --store grokbench.sqlite",
    ),
    "guide": (
        "Shows a page of the guide. Without a topic, lists the pages.",
        "grokbench guide",
        "grokbench guide first-steps",
    ),
}


def add(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Give these commands, and those below them, their descriptions and examples."""
    for name, parser in commands.items():
        about, *examples = HELP[name]
        for own in (parser, *below(parser)):
            own.description = textwrap.fill(about, 79)
            own.epilog = "\n  ".join(["examples:", *examples])
            own.formatter_class = argparse.RawDescriptionHelpFormatter


def below(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers of a command's own commands."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [own for choices in found for own in choices.values()]
