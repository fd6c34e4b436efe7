"""What any optimizer has to keep to."""

from grokbench.conformance.checks import CHECKS as CHECKS
from grokbench.conformance.checks import conformance as conformance
from grokbench.conformance.checks import examine as examine
from grokbench.conformance.checks import expectations as expectations
from grokbench.conformance.checks import like as like
from grokbench.conformance.outcome import CheckOutcome as CheckOutcome
from grokbench.conformance.outcome import Finding as Finding
