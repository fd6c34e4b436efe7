"""Newton–Schulz of many small float32 matrices in one launch: each program takes one matrix from start to end.

A step is X ← PX with P = aI + bA + cA² and A = XXᵀ, of X (m, n) with m ≤ n. P and A commute, so the next A is PAP, and
a run of steps can stay in the m × m space and touch X only at its ends (the Gram form). A run must be short: rounding
makes an eigenvalue of A that should be 0 slightly negative, each step multiplies it by a², and at order 1 the iteration
diverges. All steps in one run give NaN for matrices of low rank, after 10 steps with a = 3.4; with A anew from X
after every RUN steps, the errors are those of the plain form.

Products are loops over slices of their operands, which lie in global memory (some hundred kB a program, hence in the
caches): in one piece, each thread would need thousands of registers.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LARGEST = 128  # smaller side; a program holds float32 tiles of that side in its registers
RUN = 3  # steps between two Gram matrices made from X; rounding grows by less than a⁶ = 1670 in them
DEPTH = 16  # of a slice; the least that `tl.dot` takes everywhere


@triton.jit
def _load(base, row_stride, column_stride, row, column, m, n):
    """Tile (rows, columns) of the matrix (m, n) at base, 0 outside of it."""
    inside = (row[:, None] < m) & (column[None, :] < n)
    return tl.load(base + row[:, None] * row_stride + column[None, :] * column_stride, mask=inside, other=0.0)


@triton.jit
def _store(base, row_stride, column_stride, row, column, m, n, tile):
    inside = (row[:, None] < m) & (column[None, :] < n)
    tl.store(base + row[:, None] * row_stride + column[None, :] * column_stride, tile, mask=inside)


@triton.jit
def _product(left, l_row, l_column, right, r_row, r_column, row, column, m, k, n, side, depth: tl.constexpr):
    """Tile (rows, columns), side × side, of the product of the matrices (m, k) at left and (k, n) at right."""
    tile = tl.zeros((side, side), tl.float32)
    for start in range(0, k, depth):
        inner = start + tl.arange(0, depth)
        x = _load(left, l_row, l_column, row, inner, m, k)
        y = _load(right, r_row, r_column, inner, column, k, n)
        tile = tl.dot(x, y, tile, input_precision="ieee")  # the default, TF32, keeps three digits
    return tile


@triton.jit
def _advance(x, x_row, x_column, m, n, scratch, a, b, c, steps: tl.constexpr, side: tl.constexpr, depth: tl.constexpr):
    """Take the matrix (m, n) at x by a run of steps, in place, with room for four matrices (m, m) at scratch.

    A barrier lies between any two accesses of different threads to one element, unless both read.
    """
    row = tl.arange(0, side)
    identity = (row[:, None] == row[None, :]).to(tl.float32)
    gram, total, spare, half = scratch, scratch + m * m, scratch + 2 * m * m, scratch + 3 * m * m
    tl.debug_barrier()
    tile = _product(x, x_row, x_column, x, x_column, x_row, row, row, m, n, m, side, depth)
    _store(gram, m, 1, row, row, m, m, tile)
    tl.debug_barrier()
    for step in tl.static_range(steps):
        p = total if step == 0 else spare
        square = _product(gram, m, 1, gram, m, 1, row, row, m, m, m, side, depth)
        tile = a * identity + b * _load(gram, m, 1, row, row, m, m) + c * square
        _store(p, m, 1, row, row, m, m, tile)
        tl.debug_barrier()
        if step + 1 < steps:
            tile = _product(p, m, 1, gram, m, 1, row, row, m, m, m, side, depth)
            _store(half, m, 1, row, row, m, m, tile)
            tl.debug_barrier()
            tile = _product(half, m, 1, p, m, 1, row, row, m, m, m, side, depth)
            _store(gram, m, 1, row, row, m, m, tile)
        if step > 0:
            tile = _product(p, m, 1, total, m, 1, row, row, m, m, m, side, depth)
            tl.debug_barrier()
            _store(total, m, 1, row, row, m, m, tile)
        tl.debug_barrier()
    for start in range(0, n, side):
        tile = _product(total, m, 1, x, x_row, x_column, row, start + row, m, m, n, side, depth)
        tl.debug_barrier()
        _store(x, x_row, x_column, row, start + row, m, n, tile)


@triton.jit
def _kernel(
    g,
    g_matrix,
    g_row,
    g_column,
    x,
    x_row,
    x_column,
    m,
    n,
    scratch,
    a,
    b,
    c,
    runs,
    run: tl.constexpr,
    rest: tl.constexpr,
    side: tl.constexpr,
    depth: tl.constexpr,
):
    """Matrix number `program` of g (matrices, m, n), after runs · run + rest steps, to that of x."""
    matrix = tl.program_id(0).to(tl.int64)
    g += matrix * g_matrix
    x += matrix * m * n
    scratch += matrix * 4 * m * m
    row = tl.arange(0, side)

    peaks = tl.zeros((side, side), tl.float32)
    for start in range(0, n, side):
        peaks = tl.maximum(peaks, tl.abs(_load(g, g_row, g_column, row, start + row, m, n)))
    largest = tl.max(peaks)
    largest = tl.where(largest > 0, largest, 1.0)
    squares = tl.zeros((side, side), tl.float32)
    for start in range(0, n, side):
        tile = tl.div_rn(_load(g, g_row, g_column, row, start + row, m, n), largest)
        squares += tile * tile
    norm = tl.sqrt_rn(tl.sum(squares))
    norm = tl.where(norm > 0, norm, 1.0)
    for start in range(0, n, side):
        tile = tl.div_rn(_load(g, g_row, g_column, row, start + row, m, n), largest)
        _store(x, x_row, x_column, row, start + row, m, n, tl.div_rn(tile, norm))

    for _ in range(runs):
        _advance(x, x_row, x_column, m, n, scratch, a, b, c, run, side, depth)
    if rest > 0:
        _advance(x, x_row, x_column, m, n, scratch, a, b, c, rest, side, depth)


def fits(g: Tensor) -> bool:
    """Whether `orthogonalize` here takes g: float32 on a GPU (anywhere in Triton's interpreter), and small."""
    reachable = g.is_cuda or not isinstance(_kernel, triton.JITFunction)
    small = g.ndim >= 2 and 0 < min(g.shape[-2:]) <= LARGEST
    return reachable and small and g.dtype == torch.float32 and not g.requires_grad


def orthogonalize(g: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """What `grokbench.optim.newton_schulz.orthogonalize` gives for g (..., out, in) that `fits`, not differentiable.

    Any strides are taken; the result is contiguous. The bits of a matrix do not depend on the rest of the batch, but
    on a GPU on the strides of g and its alignment to 16 bytes, for which Triton compiles different orders of a sum.
    """
    flat = g.reshape(-1, *g.shape[-2:])
    result = torch.empty_like(flat, memory_format=torch.contiguous_format)
    tall = g.shape[-2] > g.shape[-1]
    source, x = (flat.mT, result.mT) if tall else (flat, result)
    count, m, n = source.shape
    run = max(1, min(steps, RUN if 2 * n > 3 * m else 1))  # for squarer ones, the plain form has fewer products
    side = max(16, triton.next_power_of_2(m))
    with torch.cuda.device_of(g):
        _kernel[(count,)](
            source,
            *source.stride(),
            x,
            *x.stride()[1:],
            m,
            n,
            g.new_empty(count, 4, m, m),
            *coefficients,
            steps // run,
            run=run,
            rest=steps % run,
            side=side,
            depth=DEPTH,
            num_warps=side // 8,  # 4 to 32 elements of a tile for each thread
            num_stages=1,
            enable_fp_fusion=True,  # the default in Triton 3.9, with a warning
        )
    return result.view(g.shape)
