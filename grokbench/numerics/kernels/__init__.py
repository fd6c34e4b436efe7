"""Triton kernels, used on CUDA alone; `choice` says when."""
