"""Optimizers for stacked replicas, one file each; `stack` applies one, `adapter` any of torch's."""
