"""The cases: `pytest --pyargs grokbench.suite --grok-preset ci`."""
