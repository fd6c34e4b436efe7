"""Is a candidate optimizer no later than a baseline?"""

from grokbench.gates.gate import Request as Request
from grokbench.gates.gate import Result as Result
from grokbench.gates.gate import run as run
from grokbench.gates.gate import save as save
