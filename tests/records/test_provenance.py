"""What a record tells of the machine that trained it, and whether two records round alike."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from judged import ADD, EARLIER, claim, judge, runs_of
from stored import MACHINE

from grokbench.records import codec, provenance
from grokbench.records.provenance import Provenance
from grokbench.report import export, terminal

AVX2 = replace(MACHINE, arithmetic="AVX2, x86_64")
AVX512 = replace(MACHINE, arithmetic="AVX512, x86_64")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that provenance takes for this package's own."""
    folder = tmp_path / "grokbench"
    folder.mkdir()
    monkeypatch.setattr(provenance, "PACKAGE", folder)
    monkeypatch.setattr(provenance, "source", provenance.source.__wrapped__)
    return folder


@pytest.mark.parametrize(
    ("other", "unlike"),
    [
        (AVX2, False),
        (AVX512, True),
        (replace(AVX2, torch="2.16.0"), True),
        (replace(AVX2, compiler="g++"), True),
        (replace(AVX2, commit="b" * 40, threads=1), False),
        (MACHINE, False),  # of a version that did not keep it
    ],
)
def test_records_round_alike_or_not_as_far_as_they_tell(other: Provenance, unlike: bool) -> None:
    assert AVX2.unlike(other) is other.unlike(AVX2) is unlike


def test_the_arithmetic_names_the_instruction_set_and_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in provenance.ARITHMETIC:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "SVE256")
    plain = provenance.capture("cpu").arithmetic
    assert plain
    assert plain.startswith("SVE256, ")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert provenance.capture("cpu").arithmetic == f"{plain}, MKL_CBWR=COMPATIBLE"
    assert codec.provenance(json.loads(codec.write_provenance(AVX2))) == AVX2


def test_a_verdict_says_that_its_arms_are_of_unlike_arithmetic() -> None:
    """In the reason, so in JUnit, summaries and annotations, and as a number in JSON."""
    asked = claim()
    runs = runs_of(asked, {ADD: EARLIER})
    moved = [
        (run, arm, replace(record, provenance=AVX512 if arm == "muon" and run.replica < 2 else AVX2))
        for run, arm, record in runs
    ]
    for own, unlike in ((runs, 0), (moved, 2)):
        (found,) = judge(asked, [ADD], {run.digest: record for run, _, record in own})
        said = "; in 2 of 6 pairs the arms were trained by unlike arithmetic"
        assert found.unlike == unlike
        assert found.reason.endswith(said) is (said in terminal.text([found], own, None)) is bool(unlike)
        assert export.document([found], own)["verdicts"][0]["pairs_of_unlike_arithmetic"] == unlike
    assert "cpu, AVX512, x86_64, 2 threads" in terminal.text([found], moved, None)


@pytest.mark.parametrize(
    ("note", "place", "expected"),
    [
        ({"vcs_info": {"vcs": "git", "commit_id": "c" * 40}}, "", ("c" * 40, False)),
        ({"vcs_info": {"vcs": "git", "commit_id": "c" * 40}}, "elsewhere", (None, None)),
        ({"dir_info": {"editable": True}}, "", (None, None)),
        (None, "", (None, None)),
    ],
)
def test_an_install_from_git_knows_its_commit(package: Path, monkeypatch, note, place, expected) -> None:
    class Distribution:
        def locate_file(self, name: str) -> Path:
            return package.parent / place / name

        def read_text(self, name: str) -> str | None:
            return json.dumps(note) if name == "direct_url.json" and note else None

    monkeypatch.setattr(metadata, "distribution", lambda name: Distribution())
    assert provenance.source() == expected


def test_a_commit_is_this_packages_also_in_a_hook(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There git's variables name another repository."""
    (package / "session.py").touch()
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *command], cwd=package, check=True)
    monkeypatch.setenv("GIT_DIR", str(package / "nowhere"))
    commit, dirty = provenance.source()
    assert commit
    assert dirty is False


def test_a_checkout_that_is_not_installed_knows_its_version(tmp_path: Path) -> None:
    """On PYTHONPATH alone, without site-packages, there are no metadata."""
    root = Path(provenance.__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(root)!r})\nfrom grokbench.records import provenance\n"
    command = [sys.executable, "-S", "-c", code + "print(provenance.VERSION, provenance.source())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith(f"{provenance.VERSION} (")
