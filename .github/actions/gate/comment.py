"""One comment of a pull request, from the answers of check, gate and perf: rendered, and posted or updated.

comment.py render FOLDER        write FOLDER/report.md and print the gravest exit code
comment.py post REPORT NUMBER   comment on the pull request, or update the comment of before

It needs the standard library alone. https://docs.github.com/en/rest/issues/comments
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

MARK = "<!-- grokbench gate -->"  # by which the comment is found again
COMMANDS = ("check", "gate", "perf")
# Without a JSON a command says by its exit code what happened.
MEANING = {
    0: "fine", 1: "found something", 2: "what was asked for cannot be used", 3: "undecided", 4: "the machine failed",
    130: "interrupted",
}  # fmt: skip
GRAVITY = (0, 3, 1, 130, 4, 2)
SIGN = {0: "✅", 1: "❌", 3: "❔"}
UNDECIDED = 3
PAGE = 100  # comments that GitHub gives at once


def render(folder: Path) -> int:
    """Write the report; the gravest exit code. A command that was not asked for has none."""
    codes = {name: int(path.read_text()) for name in COMMANDS if (path := folder / f"{name}.code").exists()}
    lines = [MARK, "### grokbench", ""]
    for name, code in codes.items():
        answer = _read(folder / f"{name}.json")
        said = SAID[name](answer) if answer else [_failure(folder / f"{name}.err", code)]
        open_ = code == 0 and (answer or {}).get("outcome") == "INCONCLUSIVE"  # which is no failure without --strict
        lines += [f"{SIGN.get(UNDECIDED if open_ else code, '⚠️')} **{name}**: {said[0]}", *said[1:], ""]
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return max(codes.values(), key=lambda code: GRAVITY.index(code) if code in GRAVITY else len(GRAVITY), default=0)


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _failure(messages: Path, code: int) -> str:
    said = [line for line in messages.read_text(errors="replace").splitlines() if line.startswith("grokbench")]
    return f"{MEANING.get(code, f'exit code {code}')}" + "".join(f": `{line}`" for line in said[-1:])


def _check(answer: dict[str, Any]) -> list[str]:
    asked = answer["optimizers"]
    broken = [(o["optimizer"], f) for o in asked for f in o["findings"] if f["outcome"] == "breaks"]
    if not broken:
        names = ", ".join(f"`{o['optimizer']}`" for o in asked)
        return [f"{names} keeps to all that is checked"]
    return ["broken", "", *(f"- `{name}`, {f['check']}: {f['text']}" for name, f in broken)]


def _gate(answer: dict[str, Any]) -> list[str]:
    arms = f"`{answer['candidate']}` against `{answer['baseline']}`"
    return [f"**{answer['outcome']}**: {answer['reason']}", f"<br>{arms}, {', '.join(answer['cells'])}"]


def _perf(answer: dict[str, Any]) -> list[str]:
    rows = [
        f"| {t['step']} | {t['ratio']:.2f} ({t['interval'][0]:.2f}–{t['interval'][1]:.2f}) | {t['verdict']} |"
        for t in answer["timings"]
    ]
    arms = f"`{answer['candidate']}` against `{answer['baseline']}`"
    return [arms, "", "| step | time ratio | verdict |", "|---|---|---|", *rows]


SAID = {"check": _check, "gate": _gate, "perf": _perf}


def post(report: Path, number: int) -> None:
    """Comment on the pull request, or put the text in place of the comment of before."""
    place = f"/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    body = {"body": report.read_text(encoding="utf-8")}
    if (before := _find(f"{place}/{number}/comments")) is None:
        _ask("POST", f"{place}/{number}/comments", body)
    else:
        _ask("PATCH", f"{place}/comments/{before}", body)


def _find(place: str) -> int | None:
    """Our comment's id."""
    page = 1
    while comments := _ask("GET", f"{place}?per_page={PAGE}&page={page}"):
        for comment in comments:
            if comment["body"].startswith(MARK):
                return int(comment["id"])
        page += 1
    return None


def _ask(method: str, place: str, content: object = None) -> Any:
    request = urllib.request.Request(
        os.environ.get("GITHUB_API_URL", "https://api.github.com") + place,
        method=method,
        data=None if content is None else json.dumps(content).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def main(arguments: list[str]) -> None:
    """See the module's first lines."""
    match arguments:
        case ["render", folder]:
            sys.stdout.write(f"{render(Path(folder))}\n")
        case ["post", report, number]:
            post(Path(report), int(number))
        case _:
            sys.exit(f"comment.py: render FOLDER or post REPORT NUMBER, not {' '.join(arguments) or 'nothing'}")


if __name__ == "__main__":
    main(sys.argv[1:])
