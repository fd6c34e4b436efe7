"""What is claimed: claims, presets, protocols, and the claims of papers."""

from grokbench.claims.claim import Arm as Arm
from grokbench.claims.claim import Audit as Audit
from grokbench.claims.claim import Cell as Cell
from grokbench.claims.claim import Claim as Claim
from grokbench.claims.claim import Setup as Setup
from grokbench.claims.claim import cells_of as cells_of
from grokbench.claims.claim import chosen_from as chosen_from
from grokbench.claims.claim import pools_of as pools_of
from grokbench.claims.question import Comparison as Comparison
from grokbench.claims.question import Question as Question
