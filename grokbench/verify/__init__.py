"""A machine, or a new torch, proves itself: bits, exactness, kernels, a verdict and speed, in about a minute."""

from grokbench.verify.checks import CHECKS as CHECKS
from grokbench.verify.checks import verify as verify
from grokbench.verify.finding import Finding as Finding
