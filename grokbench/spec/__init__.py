"""What a run is: frozen, validated specifications with a digest. Torch-free."""

from grokbench.spec.criterion import GrokCriterion as GrokCriterion
from grokbench.spec.errors import MachineError as MachineError
from grokbench.spec.errors import UsageError as UsageError
from grokbench.spec.errors import choose as choose
from grokbench.spec.errors import machine_failed as machine_failed
from grokbench.spec.model import ALIGNMENT as ALIGNMENT
from grokbench.spec.model import DTYPES as DTYPES
from grokbench.spec.model import ModelSpec as ModelSpec
from grokbench.spec.model import ModuleSpec as ModuleSpec
from grokbench.spec.optimizer import RATES as RATES
from grokbench.spec.optimizer import OptimizerSpec as OptimizerSpec
from grokbench.spec.plugins import Scalar as Scalar
from grokbench.spec.plugins import Value as Value
from grokbench.spec.run import ENGINE as ENGINE
from grokbench.spec.run import RunSpec as RunSpec
from grokbench.spec.softmax import SOFTMAXES as SOFTMAXES
from grokbench.spec.task import MODULAR_TASKS as MODULAR_TASKS
from grokbench.spec.task import MOST_ROWS as MOST_ROWS
from grokbench.spec.task import TASKS as TASKS
from grokbench.spec.task import TRAIN_SHARE as TRAIN_SHARE
from grokbench.spec.task import Part as Part
from grokbench.spec.task import TaskSpec as TaskSpec
from grokbench.spec.task import is_prime as is_prime
from grokbench.spec.task import task as task
