"""The tasks as tables, one file a family: every question once, in a fixed order, with its answer. Torch-free."""

from grokbench.tasks.names import families as families
from grokbench.tasks.names import parse as parse
from grokbench.tasks.names import table as table
from grokbench.tasks.table import Family as Family
from grokbench.tasks.table import Table as Table
