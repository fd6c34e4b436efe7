"""The guide's worked example: an optimizer's repository, its tests, three harmful changes and a harmless one."""

from __future__ import annotations

import re
import shlex
import sys

import pytest
from documents import PAGES

from grokbench import cli
from grokbench.conformance import CheckOutcome, examine
from grokbench.spec import plugins, registry

EXAMPLE = PAGES["your-optimizer"].partition("## A worked example")[2]
SOURCE, TESTS = re.findall(r"```python\n(.*?)```", EXAMPLE, re.S)[:2]
(SAVE,) = re.findall(r"`(grokbench baseline save .*?)`", EXAMPLE, re.S)


def swapped(old: str, new: str) -> str:
    assert SOURCE.count(old) == 1
    return SOURCE.replace(old, new)


TIDIED = SOURCE.replace("gram", "a").replace("steps):\n    x =", "steps):\n    # Newton–Schulz\n    x =")
DROPPED = swapped('                p.mul_(1 - group["lr"] * group["weight_decay"])\n', "")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The example's folder with its baseline."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "polar.py").write_text(SOURCE)
    (folder / "test_polar.py").write_text(TESTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [str(folder), *sys.path])
        # The golden trajectory is what these tests are about; pairs cost a minute.
        assert cli.main([*shlex.split(SAVE)[1:], "--pairs", "1", "--budget", "20"]) == 0
        del sys.modules["polar"]
    return folder


@pytest.fixture
def tested(repository, pytester, monkeypatch):
    """Run the repository's tests with this source."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def call(source, *options):
        plugins.fingerprint_of.cache_clear()
        (repository / "polar.py").write_text(source)
        monkeypatch.chdir(repository)
        return pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", f"--rootdir={repository}", str(repository), *options
        )

    return call


@pytest.mark.slow
def test_a_tidied_optimizer_passes(tested):
    assert TIDIED != SOURCE
    tested(TIDIED, "-k", "groks").assert_outcomes(passed=1)


def test_the_gate_does_not_pass_a_dropped_decay(tested):
    result = tested(DROPPED, "-k", "groks")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*where False = INCONCLUSIVE: *"])  # with one pair


@pytest.mark.parametrize(
    ("name", "source", "check", "text"),
    [
        ("one_step", swapped("steps=5", "steps=1"), "spectrum", "largest over smallest singular value"),
        ("no_decay", DROPPED, "weight decay", "a weight_decay of 0.3 changes nothing"),
        (
            "never_reset",
            swapped("state = self.state[p]", "state = KEPT.setdefault(tuple(p.shape), {})") + "\n\nKEPT = {}\n",
            "deterministic",
            "something outlives the optimizer",
        ),
        ("as_it_is", SOURCE, "no dead knobs", "each of 6 changes the weights"),
    ],
)
def test_harmful_changes_do_not_conform(tmp_path, monkeypatch, name, source, check, text):
    (tmp_path / f"polar_{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = examine(registry.parse(f"polar_{name}:Polar"), check)
    assert finding.outcome is (CheckOutcome.HOLDS if name == "as_it_is" else CheckOutcome.BREAKS)
    assert text in finding.text
