"""What the engine's parts share: random streams, torch's global numerics, compiled functions, kernels."""
