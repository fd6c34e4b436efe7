"""Compiles the Triton kernels for GPUs that are not here: registers, spilled bytes and shared memory.

    PYTHONPATH=. python benchmarks/ahead.py 80 90 100

By `triton.compile` for each compute capability, and ptxas, which comes with Triton, for what it says of the result.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
from triton.backends.compiler import GPUTarget  # type: ignore[import-not-found,import-untyped,unused-ignore]
from triton.backends.nvidia.compiler import get_ptxas  # type: ignore[import-not-found,import-untyped,unused-ignore]
from triton.compiler import ASTSource  # type: ignore[import-not-found,import-untyped,unused-ignore]

from grokbench.numerics.kernels import attention, elementwise, losses, newton_schulz, norms, random, sums

F, L, U = "*fp32", "*i64", "i32"
NEWTON_SCHULZ = dict.fromkeys(("g", "x", "scratch"), F) | dict.fromkeys(
    ("g_matrix", "g_row", "g_column", "x_row", "x_column", "m", "n", "runs"), U
)
NEWTON_SCHULZ |= dict.fromkeys(("a", "b", "c"), "fp32")
LOSS = {"z": F, "labels": L, "losses": F, "slopes": F, "rows": U, "classes": U}
DRAWN = {"keys": L, "at": L, "out": L, "stream": U, "ordinal": U, "count": U}
INTEGERS = dict.fromkeys(
    (
        *("outer", "inner", "replicas", "states", "first", "count", "width", "n_rows", "queries", "heads", "half", "t"),
        *("x_stride", "gain_stride", "w_stride", "g_stride"),
    ),
    U,
)
NUMBERS = dict.fromkeys(("epsilon", "scale", "b2", "share1", "share2", "log1", "log2"), "fp32")
STEP = {  # of the kernels that a step is made of, by the names of their arguments
    **INTEGERS,
    **NUMBERS,
    **dict.fromkeys(("index", "keys", "own"), L),
    **dict.fromkeys(("q", "both", "k_cos", "k_sin", "q_cos", "q_sin", "out", "logs", "grad", "by_q", "by_both"), F),
    **dict.fromkeys(("x", "branch", "gain", "total", "rates", "passed", "slope", "partial", "rows"), F),
    **dict.fromkeys(("z", "raised", "by_z", "by_raised", "w", "g", "mean", "square", "decays"), F),
    "later": "*i1",
    "steps": "*fp64",
}


def _tile(half: int) -> dict[str, int]:
    return dict(zip(("height", "side"), attention.tile(half), strict=True))


# Name, kernel, types of its arguments, constants, warps: as they are launched.
KERNELS: list[tuple[str, Any, dict[str, str], dict[str, int], int]] = [
    *(
        (
            f"Newton–Schulz, side {side}",
            newton_schulz._kernel,
            NEWTON_SCHULZ,
            {"run": 3, "rest": 2, "side": side, "depth": newton_schulz.DEPTH},
            side // 8,
        )
        for side in (16, 32, 64, 128)
    ),
    *(
        (f"{name}, {width} classes", kernel, LOSS, {"height": max(1, losses.TILE // width), "width": width}, warps)
        for name, kernel in (
            ("softmax", losses._softmax),
            ("stablemax", losses._stablemax),
            ("sparsemax", losses._sparsemax),
        )
        for width, warps in ((32, 1), (128, 1), (4096, 8))
    ),
    *(
        (f"attention {way}, heads of {2 * half}", kernel, STEP, {"positions": 4, **flags, **_tile(half)}, 4)
        for half, flags in ((8, {"indexed": True, "masked": False}), (64, {"indexed": False, "masked": True}))
        for way, kernel in (("forward", attention._forward), ("back", attention._backward))
    ),
    *(
        (f"norm {way}, width {side}", kernel, STEP, {**flags, "height": norms.TILE // side, "side": side}, 4)
        for side in (64, 128)
        for way, kernel, flags in (
            ("forward", norms._forward, {"looked_up": True, "added": True}),
            ("back", norms._backward, {"passing": True}),
        )
    ),
    ("sums by index", sums._sums, STEP, {"tall": 64, "deep": 32, "wide": 32}, 4),
    ("SiLU, gated", elementwise._silu, STEP, {"gated": True, "tile": elementwise.TILE}, 4),
    ("SiLU back, gated", elementwise._silu_back, STEP, {"gated": True, "tile": elementwise.TILE}, 4),
    ("AdamW", elementwise._adamw, STEP, {"tile": elementwise.TILE}, 4),
    ("random words", random._words, DRAWN, {"tile": random.TILE}, 4),
    ("dropout's mask", random._kept, {**DRAWN, "out": "*i1", "least": U}, {"tile": random.TILE}, 4),
]


def compiled(
    kernel: Any, types: dict[str, str], constants: dict[str, int], warps: int, capability: int
) -> dict[str, int]:
    """Registers a thread, spilled bytes and bytes of shared memory of a kernel on GPUs of a compute capability."""
    names = [p.name for p in kernel.params]
    signature = {name: "constexpr" if name in constants else types[name] for name in names}
    places = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, places)
    options = {"num_warps": warps, "num_stages": 1, "enable_fp_fusion": True}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    said = _assembled(made.asm["ptx"], get_ptxas(capability).path)
    spills = re.findall(r"(\d+) bytes spill stores", said)
    return {
        "registers": int(re.findall(r"Used (\d+) registers", said)[-1]),
        "spilled": int(spills[-1]) if spills else 0,
        "shared": int(made.metadata.shared),
    }


def _assembled(ptx: str, assembler: str) -> str:
    """What the assembler says of it."""
    target = re.findall(r"^\.target (\w+)", ptx, re.MULTILINE)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        command = [assembler, "-v", f"--gpu-name={target}", str(path), "-o", f"{folder}/kernel"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capability", nargs="*", type=int, default=[80, 90, 100])
    capabilities = parser.parse_args().capability
    print(f"| kernel | {' | '.join(f'sm_{c}' for c in capabilities)} |")
    print(f"|---|{'---|' * len(capabilities)}")
    for name, kernel, types, constants, warps in KERNELS:
        cells = []
        for capability in capabilities:
            found = compiled(kernel, types, constants, warps, capability)
            cells.append(f"{found['registers']}, {found['spilled']}, {found['shared']}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
