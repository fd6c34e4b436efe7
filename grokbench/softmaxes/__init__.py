"""Softmax, stablemax and sparsemax: probabilities, and for each the loss that belongs to it.

Probabilities take scores z (..., C) to the simplex (..., C). Losses take scores (..., C) and labels (...) to one
loss a row (...).
"""

from grokbench.softmaxes.plugged import named as named
from grokbench.softmaxes.softmax import softmax as softmax
from grokbench.softmaxes.softmax import softmax_loss as softmax_loss
from grokbench.softmaxes.sparsemax import sparsemax as sparsemax
from grokbench.softmaxes.sparsemax import sparsemax_loss as sparsemax_loss
from grokbench.softmaxes.stablemax import stablemax as stablemax
from grokbench.softmaxes.stablemax import stablemax_loss as stablemax_loss
from grokbench.softmaxes.table import SOFTMAX as SOFTMAX
from grokbench.softmaxes.table import Softmax as Softmax
