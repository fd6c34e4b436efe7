"""Is a candidate optimizer no later than a baseline?"""

from grokbench.gate.gate import Request as Request
from grokbench.gate.gate import Result as Result
from grokbench.gate.gate import run as run
from grokbench.gate.gate import save as save
