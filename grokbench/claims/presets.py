"""Presets: which cells, which model, which settings. Data only.

What Tveit et al. 2025 (arXiv 2504.16041) state is marked [stated]; what the nearest stated configuration, the
first author's earlier torch_grokking, states is marked [nearest]; everything else is chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from grokbench.claims.protocols import Grid
from grokbench.spec import (
    GrokCriterion,
    ModelSpec,
    ModuleSpec,
    RunSpec,
    TaskSpec,
    UsageError,
    choose,
    plugins,
    registry,
    task,
)
from grokbench.spec.model import parse
from grokbench.spec.plugins import PRESET

# Named here, so that a new task or softmax changes no published table.
_SEVEN = ("add", "sub", "mul", "div", "exp", "gcd", "parity")
_THREE = ("softmax", "stablemax", "sparsemax")

# A factor of three between neighbours, the presets' own rates inside; fixed before any of it was trained.
_GRID = Grid(lr=(0.005, 0.015, 0.045), weight_decay=(0.1, 0.3, 1.0), replicas=(1000, 1001))


@dataclass(frozen=True)
class Preset:
    """A named experiment. optimizers: the settings of each built-in optimizer, as `registry.parse` reads them."""

    name: str
    summary: str
    tasks: tuple[TaskSpec, ...]
    softmaxes: tuple[str, ...]
    model: ModelSpec | ModuleSpec
    batch: int
    criterion: GrokCriterion
    replicas: int
    optimizers: dict[str, str]
    arms: tuple[str, ...] = ("adamw", "muon")  # the baseline first
    grid: Grid = _GRID
    asserted: tuple[str, ...] = ("muon-before-adamw",)  # claims whose refutation is a failure

    def run(
        self, task: str, *, optimizer: registry.Named = "adamw", softmax: str | None = None, replica: int = 0
    ) -> RunSpec:
        """One run of this preset, to be trained. softmax: the preset's first, if it is None.

        Raises `UsageError` for a name that the preset does not have.
        """
        known = {spec.name: spec for spec in self.tasks}
        spec = known[choose(f"task of preset {self.name}", task, tuple(known))]
        under = choose(f"softmax of preset {self.name}", softmax or self.softmaxes[0], self.softmaxes)
        setting = registry.parse(registry.text(optimizer), self.optimizers)
        return RunSpec(spec, under, self.model, setting, self.criterion, self.batch, replica)

    @property
    def transformer(self) -> ModelSpec:
        """What `transformer` stands for here."""
        return self.model if isinstance(self.model, ModelSpec) else ModelSpec()


def _tasks(modulus: int) -> tuple[TaskSpec, ...]:
    return tuple(task(name, modulus) for name in _SEVEN)


_CI = Preset(
    name="ci",
    summary="seven tasks under three softmaxes at p = 31, for two CPU cores",
    tasks=_tasks(31),
    softmaxes=_THREE,
    model=ModelSpec(width=64, depth=1, heads=4, feed_forward=256),
    batch=256,
    criterion=GrokCriterion(budget=1000),
    replicas=16,
    # By the rule in benchmarks/studies/tune_ci.py; weight decay equal in both arms, as published.
    optimizers={
        "adamw": "adamw(lr=0.016, weight_decay=0.3)",
        "muon": "muon(lr=0.04, weight_decay=0.3, adamw_lr=0.016)",
    },
)

_PAPER = Preset(
    name="paper",
    summary="seven tasks under three softmaxes at p = 97, as in the paper, for a GPU",
    tasks=_tasks(97),
    softmaxes=_THREE,
    # depth, width, heads, SwiGLU of four times the width, dropout [nearest]
    model=ModelSpec(width=128, depth=2, heads=1, feed_forward=512, gated=True, dropout=0.2),
    batch=512,  # [nearest]
    criterion=GrokCriterion(budget=1000),  # where the farthest outlier of the published box plot lies
    replicas=12,
    optimizers={
        "adamw": "adamw(lr=0.001, weight_decay=1.0)",  # [nearest], β [stated]
        "muon": "muon(lr=0.02, weight_decay=1.0, adamw_lr=0.001)",
    },
)

# A corner of `ci`: the same runs, so the same records.
_SMOKE = replace(
    _CI,
    name="smoke",
    summary="addition under softmax at p = 31: one verdict in half a minute",
    tasks=_CI.tasks[:1],
    softmaxes=("softmax",),
    replicas=8,
)

PRESETS = {preset.name: preset for preset in (_SMOKE, _CI, _PAPER)}


def _plugged(text: str) -> Preset:
    """A preset of one's own module: a `Preset`, or a function of its settings that makes one."""
    name, given = plugins.split(PRESET, text)
    made = plugins.load(PRESET, plugins.known(PRESET, name, ()))
    if callable(made):
        with plugins.blamed(PRESET, text, "failed"):
            made = made(**given)
    if not isinstance(made, Preset):
        raise UsageError(f"the preset {text} is {made!r:.60}, not a Preset")
    return replace(made, name=plugins.written(name, given))


def get(name: str, model: str | None = None, budget: int | None = None) -> Preset:
    """The preset of this name, with another model, or a budget in epochs, if that is asked for.

    Raises `UsageError` that lists the choices.
    """
    plain = ":" not in name and "(" not in name
    if plain:
        choose("preset", name, (*PRESETS, *PRESET.names(), "package.module:Attribute"))
    if budget is not None and budget < 1:
        raise UsageError(f"budget must be at least 1 epoch, not {budget}")
    preset = PRESETS[name] if name in PRESETS else _plugged(name)
    if budget:
        preset = replace(preset, criterion=replace(preset.criterion, budget=budget))
    return replace(preset, model=parse(model, preset.transformer)) if model else preset
