"""`python -m grokbench` is the command line."""

import sys

from grokbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
