"""The command line, one file a command: its parser and its action."""

from grokbench.cli.main import main as main
from grokbench.cli.main import parser as parser
