"""The tasks as tables, one file a family: every question once, in a fixed order, with its answer. Torch-free."""

from grokbench.tasks.modular import table as modular
from grokbench.tasks.parity import table as parity
from grokbench.tasks.table import Table as Table

FAMILIES = {**dict.fromkeys(("add", "sub", "mul", "div", "exp", "gcd"), modular), "parity": parity}
"""By a task's name, the function from its `TaskSpec` to its `Table`."""
