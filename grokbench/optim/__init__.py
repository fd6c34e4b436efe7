"""Optimizers for stacked replicas: `registry` names them, `build` makes one for a stack of weights."""
