"""What machine this is, and what of grokbench it can run."""

from __future__ import annotations

import importlib.util

from grokbench import provenance


def findings() -> list[tuple[str, str]]:
    """Rows of name and finding."""
    import torch

    from grokbench import sizing

    commit, dirty = provenance.source()
    here = provenance.capture("cpu")
    rows = [
        (
            "grokbench",
            f"{here.grokbench}, {f'commit {commit[:10]}' if commit else 'no commit'}{', changed' * bool(dirty)}",
        ),
        ("python", here.python),
        ("torch", here.torch),
        ("system", here.platform),
        ("processor", here.processor),
        ("threads", str(here.threads)),
    ]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            rows.append((f"cuda:{i}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"))
    else:
        rows.append(("cuda", "no device: runs train on the processor"))
    compiler = sizing.compiler("cpu")
    rows.append(("C++ compiler", f"{compiler}: long runs are compiled" if compiler else "none: every step is eager"))
    rows.append(("triton", "installed" if importlib.util.find_spec("triton") else "not installed"))
    return rows
