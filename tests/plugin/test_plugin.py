"""The pytest plugin: what it collects, how verdicts become outcomes, and what it costs those who do not use it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What a session in this process would import has to be there before: pytester forgets what came after, and numpy
# cannot be loaded twice.
import grokbench.conformance
import grokbench.report.export
import grokbench.verdicts.verdict  # noqa: F401
from grokbench.records.store import Store
from grokbench.training.local import Executor

SUITE = ("--pyargs", "grokbench.suite", "--grok-preset", "tiny", "--grok-no-early-stop")
ONE = (*SUITE, "--grok-task", "add", "--grok-softmax", "softmax", "--grok-family", "selected")
ANEW = "--grok-store=anew.sqlite"
PLAIN = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # that of hypothesis takes a second at the end


@pytest.fixture(autouse=True)
def _room_for_all_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def run(pytester, tiny, trained, monkeypatch):
    """Run the suite in a folder of its own, in this process, with a store that holds what most of these ask for."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    shutil.copy(trained, "grokbench.sqlite")

    def call(*arguments):
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)

    return call


def test_cases_are_parameterised_by_task_and_softmax_with_one_pooled(run):
    told = "grokbench: * cases of the preset tiny, runs are kept in */anew.sqlite"
    run(*SUITE, ANEW, "--collect-only").stdout.fnmatch_lines([told])
    result = run(*SUITE, ANEW, "--collect-only", "-q")
    names = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert sorted(names) == [  # another plugin may shuffle them
        "test_claim[muon-before-sgd-add-softmax]",
        "test_claim[muon-before-sgd-add-sparsemax]",
        "test_claim[muon-before-sgd-gcd-softmax]",
        "test_claim[muon-before-sgd-gcd-sparsemax]",
        "test_claim[muon-before-sgd-pooled]",
    ]
    assert not Path("anew.sqlite").exists()


def test_supported_passes_and_is_summarised(run):
    result = run(*ONE)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*= grokbench =*", "*Does muon grok earlier than sgd?*", "*supported: earlier*"])


def test_refuted_fails(run):
    result = run(*ONE, "--grok-optimizer", "muon", "--grok-optimizer", "sgd")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*refuted: sgd is later: time ratio * adjusted p 0.016*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_inconclusive_skips_with_the_reason_or_fails_under_strict(run):
    result = run(*ONE, "--grok-replicas", "2", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*undecided: 2 pairs cannot decide: the smallest possible adjusted p is 0.25*"])
    run(*ONE, "--grok-replicas", "2", "--grok-strict").assert_outcomes(failed=2)


def test_a_selected_case_trains_its_own_runs_only(run, monkeypatch):
    asked = []
    records = Executor.records
    monkeypatch.setattr(Executor, "records", lambda self, runs: asked.extend(runs) or records(self, runs))
    run(*SUITE, ANEW, "--grok-family", "selected", "-k", "add-softmax").assert_outcomes(passed=1, deselected=4)
    assert {(r.task.name, r.softmax) for r in asked} == {("add", "softmax")}
    store = Store("anew.sqlite")
    assert len(store.get(r.digest for r in asked)) == 12
    store.close()


def test_all_runs_are_known_before_the_first_case_and_a_case_waits_for_its_own(run, trained, monkeypatch):
    needs, asked = [], []
    need = Executor.need
    with Store(trained) as store:
        monkeypatch.setattr(Executor, "need", lambda self, runs: needs.append(list(runs)) or need(self, needs[-1]))
        monkeypatch.setattr(
            Executor, "records", lambda self, runs: asked.append(runs) or store.get(run.digest for run in runs)
        )
        run(*SUITE, ANEW)
    assert len({run.digest for run in needs[0]}) == 48
    assert len(asked[0]) == 12


def test_a_case_that_is_decided_early_trains_no_more(run):
    result = run(*(o for o in ONE if o != "--grok-no-early-stop"), ANEW)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*of 6*", "12 runs:*", "The test may look at every new pair, and its intervals hold whenever one looks*"]
    )


def test_claims_that_are_not_asserted_are_expected_to_fail(run):
    result = run(*ONE, "--grok-claims", "tveit2025")
    outcomes = result.parseoutcomes()
    assert outcomes["xfailed"] == 1  # the audit of the published figures
    assert outcomes["passed"] >= 2
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*tveit2025-audit?pooled?: t = 5.0175 gives a two-sided p of at least 5.2e-07*"])


@pytest.mark.slow
def test_xdist_trains_nothing_twice_and_its_controller_summarises(pytester):
    environment = f"""
import os, sys
os.environ["PYTHONPATH"] = {str(Path(__file__).parents[1])!r}
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import tiny
tiny.pytest_configure()
from grokbench.engine.pack import Pack
epoch = Pack.epoch
def logged(self):
    ended = epoch(self)
    with open({str(pytester.path / "log")!r}, "a") as log:
        log.writelines(slot.run.digest + "\\n" for slot in ended)
    return ended
Pack.epoch = logged
"""
    pytester.makeconftest(environment)
    asked = (*SUITE, "--grok-softmax=softmax", "--grok-replicas=4")
    result = pytester.runpytest_subprocess(*PLAIN, *asked, "-n", "2", "--grok-json", "out.json")
    outcomes = result.parseoutcomes()
    assert sum(outcomes.get(kind, 0) for kind in ("passed", "failed", "skipped")) == 3
    trained = (pytester.path / "log").read_text().split()
    assert len(trained) == len(set(trained)) == 16
    result.stdout.fnmatch_lines(["*Does muon grok earlier than sgd?*"])
    document = json.loads((pytester.path / "out.json").read_text())
    assert len(document["verdicts"]) == 3
    assert len(document["runs"]) == 16


def test_verdicts_are_properties_in_junit_reports(run, pytester):
    run(*ONE, "--junitxml=report.xml")
    report = (pytester.path / "report.xml").read_text()
    assert '<property name="grok_status" value="supported" />' in report
    assert '<property name="grok_p" value="0.015625" />' in report


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--grok-softmax=hardmax",
            "unknown softmax of preset tiny 'hardmax': choose from softmax, sparsemax, stablemax,*",
        ),
        ("--grok-device=tpu", "unknown device 'tpu': choose from auto, cpu, cuda*"),
        ("--grok-json=no/such/x.json", "cannot write no/such/x.json*"),
        ("--grok-store=/dev/null/x", "there is no folder *"),
    ],
)
def test_bad_options_are_usage_errors_before_anything_is_trained(run, option, message):
    result = run(*SUITE, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_the_pooled_case_speaks_of_all_cells_whatever_is_selected_with_it(run):
    first = run(*SUITE, "-k", "pooled")
    second = run(*SUITE, "-k", "pooled or gcd-softmax")
    rows = [[line for line in result.outlines if line.startswith(" pooled")] for result in (first, second)]
    assert rows[0] == rows[1]
    assert "of 24" in rows[0][0]


def test_two_tests_may_ask_for_the_same_cases(run, pytester):
    pytester.makepyfile(
        """
        def test_one(grok_case, grok_verdict):
            assert grok_verdict.p_adjusted == grok_verdict.p

        def test_two(grok_case, grok_verdict):
            assert grok_verdict.pairs == 6
        """
    )
    result = run(*ONE[2:])
    result.assert_outcomes(passed=4)
    assert sum(line.startswith(" add ") for line in result.outlines) == 1


def test_a_marker_or_fixture_of_the_same_name_does_no_harm(run, pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.grok
        def test_one():
            pass

        @pytest.mark.grok("pattern")
        @pytest.mark.parametrize("x", [1])
        def test_two(x):
            pass

        def test_three(grok):
            pass
        """
    )
    Path("grokbench.sqlite").unlink()
    result = run()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*the fixture grok answers tests that take grok_case, and there is none*"])
    assert not (pytester.path / "grokbench.sqlite").exists()


def test_users_own_cases_join_through_the_marker_and_the_fixture(run, pytester):
    pytester.makepyfile(
        """
        from grokbench.verdicts.verdict import Status

        def test_mine(grok, grok_case):
            verdict = grok.verdict(grok_case)
            assert verdict.status is Status.SUPPORTED
            assert verdict.ratio < 1
        """
    )
    run(*ONE[2:]).assert_outcomes(passed=2)


def test_other_sessions_neither_import_torch_nor_write_a_store(pytester):
    pytester.makepyfile(
        "import sys\ndef test_nothing():\n    assert 'torch' not in sys.modules\n    assert 'scipy' not in sys.modules"
    )
    result = pytester.runpytest_subprocess(*PLAIN)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*grokbench =*")
    assert not (pytester.path / "grokbench.sqlite").exists()


def test_importing_the_plugin_imports_pytest_and_the_standard_library_alone():
    probe = """
import sys
import grokbench.plugin
print([m for m in sys.modules if m.partition(".")[0] in ("torch", "scipy", "numpy", "rich")])
"""
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_machine_that_fails_is_an_error_of_the_case_and_no_failure(run, pytester, monkeypatch):
    def fail(*_):
        raise MemoryError("planted")

    monkeypatch.setattr("grokbench.engine.ensemble.Ensemble.train", fail)
    result = run(*ONE, ANEW)
    result.assert_outcomes(errors=2)
    pytester.makepyfile("""
        def test_gate(grok_gate):
            grok_gate(baseline="sgd", candidate="muon", preset="tiny", tasks=("add",), softmaxes=("softmax",))
    """)
    result = run("test_a_machine_that_fails_is_an_error_of_the_case_and_no_failure.py")
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) == 0
    assert outcomes["errors"] == 1


def test_a_store_that_fails_before_any_case_makes_each_an_error(run):
    content = Path("grokbench.sqlite").read_bytes()
    Path("grokbench.sqlite").write_bytes(content[: len(content) // 2])
    result = run(*ONE, "--grok-json=out.json")
    result.assert_outcomes(errors=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*MachineError: cannot open the store *: database disk image is malformed"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_json_that_cannot_be_written_is_no_failed_test(run):
    result = run(*ONE, "--grok-json=/dev/full")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(["the machine failed: OSError: * No space left on device", "*supported: earlier*"])


def test_a_session_that_is_refused_leaves_no_json_of_before(run):
    Path("out.json").write_text("{}")
    assert run(*SUITE, "--grok-task=nope", "--grok-json=out.json").ret == pytest.ExitCode.USAGE_ERROR
    assert not Path("out.json").exists()


def test_a_file_that_a_test_itself_does_not_find_fails_it(run, pytester):
    pytester.makepyfile("""
        def test_mine(grok_case, grok_verdict):
            open("nowhere")
    """)
    assert run(*ONE[2:]).parseoutcomes()["failed"] == 2


def test_collecting_alone_leaves_the_json_of_before(run):
    Path("out.json").write_text("{}")
    run(*ONE, "--grok-json=out.json", "--collect-only")
    assert Path("out.json").read_text() == "{}"


def test_the_suite_is_there_whatever_names_a_users_tests_have(run, pytester):
    pytester.makeini("[pytest]\npython_files = check_*.py\npython_functions = check_*\npython_classes = Check")
    result = run(*ONE, "--collect-only", "-q")
    assert sum("::test_claim[" in line for line in result.outlines) == 2
    result = run("--pyargs", "grokbench.suite.conformance", "--grok-optimizer", "sgd", "--collect-only", "-q")
    assert any("::test_conforms[sgd-runs]" in line for line in result.outlines)


def test_an_option_whose_value_pytest_takes_for_a_path_is_said(run, pytester, tmp_path_factory):
    store = tmp_path_factory.mktemp("elsewhere") / "s.sqlite"
    Store(store).close()
    pytester.makeini("[pytest]\n")
    said = f"*pytest took {store}, the value of --grok-store, for a path of tests, *; write --grok-store={store}"
    result = run(*ONE, "--collect-only", "--grok-store", str(store))
    result.stdout.fnmatch_lines([said])
    assert "pytest took" not in run(*ONE, "--collect-only", f"--grok-store={store}").stdout.str()
