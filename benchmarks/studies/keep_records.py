"""Keep the records behind the README's tables, without their curves.

    python benchmarks/studies/keep_records.py STORE

writes benchmarks/records/ci.jsonl from a store that `grokbench run --claims tveit2025 wang2026 janati2026 essential2025
prieto2025 lee2024 --protocol published matched tuned` has filled.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from grokbench.claims.protocols import PROTOCOLS
from grokbench.options import Options
from grokbench.records import jsonl
from grokbench.session import ALL_PAPERS, Session, cases

PATH = Path(__file__).parents[1] / "records" / "ci.jsonl"
OPTIONS = Options(claims=ALL_PAPERS, protocols=PROTOCOLS)


def main() -> None:
    session = Session(replace(OPTIONS, store=Path(sys.argv[1])), cases(OPTIONS))
    missing = session.missing(session.selected)
    if missing:
        raise SystemExit(f"{sys.argv[1]} lacks {len(missing)} runs or more")
    _, runs = session.answers()
    session.close()
    records = jsonl.load(PATH) if PATH.exists() else {}  # also what earlier rules asked for
    records |= {record.digest: record for _, _, record in runs}
    jsonl.save(PATH, list(records.values()))
    print(f"{len(records)} runs, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
