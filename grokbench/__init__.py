"""Does this optimizer make a model generalise earlier, and can I trust the answer?

The public names. Importing this package imports neither torch nor scipy.
"""

from grokbench.presets import PRESETS as PRESETS
from grokbench.spec import GrokCriterion as GrokCriterion
from grokbench.spec import ModelSpec as ModelSpec
from grokbench.spec import OptimizerSpec as OptimizerSpec
from grokbench.spec import RunSpec as RunSpec
from grokbench.spec import TaskSpec as TaskSpec
from grokbench.spec import UsageError as UsageError
from grokbench.spec import task as task
