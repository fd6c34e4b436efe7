"""How long does a candidate optimizer take against a baseline?"""

from grokbench.perf.timing import SLOWDOWN as SLOWDOWN
from grokbench.perf.timing import Request as Request
from grokbench.perf.timing import Result as Result
from grokbench.perf.timing import Timing as Timing
from grokbench.perf.timing import run as run
from grokbench.perf.timing import self_test as self_test
