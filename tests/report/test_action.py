"""The composite action: what it runs, what its comment says, and that there is one comment, which is updated."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scripts import load

from grokbench.conformance.outcome import CheckOutcome, Finding
from grokbench.report import conformance, gate, perf

ACTION = Path(__file__).parents[2] / ".github" / "actions" / "gate"


@pytest.fixture(scope="module")
def comment() -> ModuleType:
    return load(ACTION / "comment.py")


def answers(outcome: str = "REGRESSION") -> dict[str, object]:
    """What the three commands write as JSON."""
    findings = [Finding("size", CheckOutcome.SAID, "0.2"), Finding("no dead knobs", CheckOutcome.BREAKS, "eps")]
    found = {"optimizer": {"polar:Polar": findings}}
    asked = SimpleNamespace(margin=0.1, level=0.05, baseline="polar:Polar", candidate="polar:Polar", preset="ci")
    setting = SimpleNamespace(preset=SimpleNamespace(name="smoke"), budget=50, device="cpu", cells=["add-softmax"])
    fine = SimpleNamespace(
        request=asked, setting=setting, arms=("polar:Polar", "polar:Polar(steps=1)"), decision=None, identical=False,
        differs=3, unlike=0, records=(), reason="times are more than 10% later, p 0.001",
        outcome=SimpleNamespace(value=outcome),
    )  # fmt: skip
    race = SimpleNamespace(ratio=1.3, interval=(1.2, 1.4), baseline=np.ones(2), candidate=np.ones(2))
    raced = SimpleNamespace(
        request=SimpleNamespace(preset="ci", replicas=8, margin=0.05, floor=2e-5), arms=("a", "b"), clocks=({}, {}),
        timings=[SimpleNamespace(name="optimizer step", verdict="slower", race=race)],
        provenance=SimpleNamespace(as_dict=dict),
    )  # fmt: skip
    return {"check": conformance.document(found), "gate": gate.document(fine), "perf": perf.document(raced)}  # type: ignore[arg-type]


def run(folder: Path, codes: dict[str, int], written: dict[str, object], **inputs: str) -> tuple[int, str]:
    """What the action's script makes of commands that end so: the code that it hands on, and the report."""
    tools = folder / "bin"
    tools.mkdir()
    for name, answer in written.items():
        (tools / f"{name}.answer").write_text(json.dumps(answer))
    for name, code in codes.items():
        (tools / f"{name}.exit").write_text(str(code))
    stub = tools / "grokbench"
    stub.write_text(f"""#!/bin/sh
echo "$@" >> {folder}/asked
[ -e {tools}/$1.answer ] && for last; do :; done && cp {tools}/$1.answer "$last"
[ -e {tools}/$1.answer ] || echo "grokbench: error: no such thing" >&2
exit $(cat {tools}/$1.exit)
""")
    stub.chmod(0o755)
    (tools / "python").symlink_to(sys.executable)
    environment = {
        **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "RESULTS": str(folder / "results"),
        "GITHUB_OUTPUT": str(folder / "output"), "BASELINE": "polar.json", "CANDIDATE": "polar:Polar(lr=0.1, steps=5)",
        **inputs,
    }  # fmt: skip
    subprocess.run(["bash", str(ACTION / "gate.sh")], env=environment, check=True, capture_output=True)
    handed = dict(line.split("=", 1) for line in (folder / "output").read_text().splitlines())
    return int(handed["code"]), Path(handed["report"]).read_text(encoding="utf-8")


def test_all_three_are_asked_and_told(tmp_path: Path) -> None:
    options = {"PERF": "polar:Polar", "GATE_OPTIONS": "--preset ci --task add sub"}
    code, report = run(tmp_path, {"check": 1, "gate": 1, "perf": 1}, answers(), **options)
    assert code == 1
    assert "❌ **check**: broken\n\n- `polar:Polar`, no dead knobs: eps\n" in report
    assert "❌ **gate**: **REGRESSION**: times are more than 10% later, p 0.001\n" in report
    assert "| optimizer step | 1.30 (1.20–1.40) | slower |" in report
    check, gate, perf = (tmp_path / "asked").read_text().splitlines()
    assert check.startswith("check polar:Polar(lr=0.1, steps=5) --json ")
    assert "--candidate polar:Polar(lr=0.1, steps=5) --preset ci --task add sub --json " in gate
    assert perf.startswith("perf --baseline polar:Polar --candidate ")


def test_what_was_not_asked_is_not_told(tmp_path: Path) -> None:
    code, report = run(tmp_path, {"gate": 0}, {"gate": answers("PASS")["gate"]}, CHECK="false")
    assert code == 0
    assert report.startswith("<!-- grokbench gate -->\n### grokbench\n\n✅ **gate**: **PASS**: ")
    assert "check" not in report.partition("**gate**")[0]


@pytest.mark.parametrize(
    ("codes", "gravest", "said"),
    [
        (
            {"check": 1, "gate": 2},
            2,
            "⚠️ **gate**: what was asked for cannot be used: `grokbench: error: no such",
        ),
        ({"check": 0, "gate": 4}, 4, "⚠️ **gate**: the machine failed: "),
        ({"check": 0, "gate": 137}, 137, "⚠️ **gate**: exit code 137: "),
    ],
)
def test_a_command_that_fails_is_no_verdict(tmp_path: Path, codes: dict[str, int], gravest: int, said: str) -> None:
    code, report = run(tmp_path, codes, {"check": answers()["check"]})
    assert code == gravest
    assert said in report


def test_what_is_undecided_is_not_green(tmp_path: Path) -> None:
    code, report = run(tmp_path, {"gate": 0}, {"gate": answers("INCONCLUSIVE")["gate"]}, CHECK="false")
    assert (code, "❔ **gate**: **INCONCLUSIVE**" in report) == (0, True)


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, object]]]:
    """The comments of a pull request, behind as much of GitHub's interface as is asked here."""
    comments: list[dict[str, object]] = [{"id": i, "body": "somebody else's"} for i in range(130)]

    class Handler(BaseHTTPRequestHandler):
        def answer(self, content: object) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def do_GET(self) -> None:
            assert self.path.startswith("/repos/a/b/issues/7/comments?per_page=100&page=")
            page = int(self.path.rpartition("=")[2]) - 1
            self.answer(comments[100 * page : 100 * page + 100])

        def do_POST(self) -> None:
            assert self.path == "/repos/a/b/issues/7/comments"
            comments.append({"id": len(comments), **self.content()})
            self.answer(comments[-1])

        def do_PATCH(self) -> None:
            comments[int(self.path.removeprefix("/repos/a/b/issues/comments/"))].update(self.content())
            self.answer({})

        def content(self) -> dict[str, object]:
            assert self.headers["Authorization"] == "Bearer secret"
            found: dict[str, object] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            return found

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("GITHUB_REPOSITORY", "a/b")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    yield comments
    server.shutdown()
    server.server_close()


def test_there_is_one_comment_which_is_updated(tmp_path: Path, comment: ModuleType, github) -> None:
    for text in ("first", "second"):
        (tmp_path / "report.md").write_text(f"{comment.MARK}\n{text}")
        comment.main(["post", str(tmp_path / "report.md"), "7"])
    assert len(github) == 131
    assert github[-1]["body"] == f"{comment.MARK}\nsecond"


def test_the_action_hands_on_what_its_scripts_read() -> None:
    """All that the scripts read from the environment is set there, from inputs that are declared."""
    action = (ACTION / "action.yml").read_text(encoding="utf-8")
    script = (ACTION / "gate.sh").read_text(encoding="utf-8")
    for name in ("CANDIDATE", "BASELINE", "CHECK", "PERF", "GATE_OPTIONS", "PERF_OPTIONS", "RESULTS"):
        assert f"        {name}: " in action
        assert f"${name}" in script or f"${{{name}:-" in script
    declared = action.partition("inputs:")[2].partition("outputs:")[0]
    for name in set(re.findall(r"inputs\.([\w-]+)", action)):
        assert f"\n  {name}:\n" in declared
