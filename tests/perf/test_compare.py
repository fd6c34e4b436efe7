"""`grokbench compare`: files of pytest-benchmark side by side, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from grokbench import cli
from grokbench.perf import compare
from grokbench.spec import UsageError

ORIGIN = {"torch": "2.15.0", "python": "3.11.7", "threads": 2}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path, times, *, device="EPYC", commit="a" * 40, origin=ORIGIN, ratio=None):
    """A file as `pytest --benchmark-json` writes it; times: the samples of each benchmark in seconds."""
    extra = {"device": device} | ({"reference": "theirs", "reference_ratio": ratio} if ratio else {})
    benchmarks = [
        {
            "name": name,
            "fullname": f"b/test_b.py::{name}",
            "stats": {"median": float(np.median(samples)), "data": samples},
            "extra_info": extra,
        }
        for name, samples in times.items()
    ]
    machine = {"python_version": "3.12.0", "system": "Linux", "cpu": {"brand_raw": "Ryzen"}, "grokbench": origin}
    document = {"machine_info": machine, "commit_info": {"id": commit, "dirty": False}, "benchmarks": benchmarks}
    Path(path).write_text(json.dumps(document))
    return path


def run(capsys, *arguments):
    code = cli.main(["compare", "--unlike", *arguments])
    return code, *capsys.readouterr()


def test_ratios_are_to_the_first_file(capsys):
    times = {"one": [0.9, 0.95, 1.0, 1.05, 1.1], "two": [2e-3] * 5}
    write("a.json", times)
    write("b.json", {name: [t / 4 for t in samples] for name, samples in times.items()}, ratio=3.5)
    code, out, _ = run(capsys, "a.json", "b.json", "--json", "out.json")
    assert code == 0
    assert "≠" not in out
    one, two = (next(line for line in out.splitlines() if f"  {name} " in line) for name in times)
    assert one.split() == ["one", "1000", "ms", "–", "250", "ms", "0.250", "(0.216–0.289)", "3.50"]
    assert two.split() == ["two", "2000", "µs", "–", "500", "µs", "0.250", "(0.250–0.250)", "3.50"]
    document = json.loads(Path("out.json").read_text())
    assert [b["name"] for b in document["benchmarks"]] == ["b/test_b.py::one", "b/test_b.py::two"]
    first, second = document["benchmarks"][1]["results"]
    assert first == {
        "median": 2e-3, "samples": 5, "ratio": None, "interval": None, "reference": None, "reference_ratio": None,
    }  # fmt: skip
    assert (second["ratio"], second["interval"]) == (0.25, [0.25, 0.25])
    assert (second["reference"], second["reference_ratio"]) == ("theirs", 3.5)


def test_the_interval_covers_the_ratio_of_two_noisy_sessions():
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(20):
        a, b = rng.lognormal(0, 0.1, 40), rng.lognormal(np.log(0.5), 0.1, 40)
        slow, fast = (compare.Measurement(float(np.median(x)), x, "", None, None) for x in (a, b))
        found = compare._ratio(fast, slow)
        assert found
        assert found.interval
        covered += found.interval[0] <= 0.5 <= found.interval[1]
    assert covered >= 17


def test_a_missing_benchmark_is_a_dash_and_the_order_is_that_of_the_files(capsys):
    write("a.json", {"z": [1.0, 1.0], "a": [1.0, 1.0]})
    write("b.json", {"m": [2e-9, 2e-9], "a": [3.0, 3.0]})
    write("c.json", {"a": [0.5]})
    code, out, _ = run(capsys, "a.json", "b.json", "c.json", "--json", "-")
    assert code == 0
    document = json.loads(out)
    assert [b["name"].rpartition(":")[2] for b in document["benchmarks"]] == ["z", "a", "m"]
    assert [[r and r["ratio"] for r in b["results"]] for b in document["benchmarks"]] == [
        [None, None, None], [None, 3.0, 0.5], [None, None, None],
    ]  # fmt: skip
    z, a, m = document["benchmarks"]
    assert z["results"][1:] == [None, None]
    assert m["results"][0] is None
    assert a["results"][2]["interval"] is None  # one sample has none
    _, out, _ = run(capsys, "a.json", "b.json", "c.json")
    assert next(line for line in out.splitlines() if "  m " in line).split() == ["m", *"––", "2.00", "ns", *"–––––"]


def test_what_differs_in_provenance_is_marked(capsys):
    write("a.json", {"one": [1.0, 1.0]})
    write("b.json", {"one": [1.0, 1.0]}, device="NVIDIA H200", commit="b" * 40, origin={**ORIGIN, "torch": "2.9.0"})
    _, out, _ = run(capsys, "a.json", "b.json")
    marked = {line.split()[0] for line in out.splitlines() if line.endswith("≠ differs")}
    assert marked == {"device", "torch", "commit"}
    assert "NVIDIA H200" in out


def test_a_file_without_our_additions_can_be_compared(capsys):
    """That is, results of benchmarks that are not grokbench's."""
    path = Path(write("a.json", {"one": [1.0, 1.0]}))
    document = json.loads(path.read_text())
    del document["machine_info"]["grokbench"], document["benchmarks"][0]["stats"]["data"]
    document["benchmarks"][0]["extra_info"] = {}
    path.write_text(json.dumps(document))
    code, out, _ = run(capsys, "a.json", "a.json")
    assert code == 0
    assert out.count("Ryzen") == 2
    assert out.count("3.12.0") == 2
    assert "1.00 s" in out
    assert "with its 95 % interval" not in out
    assert "no interval of fewer than 5 samples; --benchmark-json or --benchmark-save-data keeps all of them" in out


def test_a_file_made_with_the_documented_hooks_can_be_compared(capsys):
    """Hooks may put anything into machine and commit, and leave out what is usual."""
    for name in ("a.json", "b.json"):
        document = json.loads(Path(write(name, {"one": [1.0] * 5})).read_text())
        document["machine_info"], document["commit_info"] = {"node": "ci"}, None
        del document["benchmarks"][0]["extra_info"]
        Path(name).write_text(json.dumps(document))
    assert cli.main(["compare", "a.json", "b.json"]) == 0
    assert "1.00 (1.00–1.00)" in capsys.readouterr().out


def test_a_benchmark_that_is_surely_slower_fails(capsys):
    rng = np.random.default_rng(0)
    fast, noisy = rng.normal(1, 0.01, 30).tolist(), rng.normal(1, 0.4, 30).clip(0.2).tolist()
    write("a.json", {"one": fast, "two": noisy})
    write("b.json", {"one": [1.2 * t for t in fast], "two": [1.1 * t for t in noisy]})
    for limit, code in (("5%", 1), ("0.05", 1), ("25%", 0)):
        assert cli.main(["compare", "a.json", "b.json", "--fail", limit]) == code
        out = capsys.readouterr().out
        assert ("FAIL: b/test_b.py::one takes 1.2 times as long in b.json, surely more than 1.05" in out) == bool(code)
        assert "FAIL: b/test_b.py::two" not in out, "its median is 10 % later, but not surely"
        assert "(all of them hold at once)" in out
    with pytest.raises(SystemExit, match="2"):
        cli.main(["compare", "a.json", "b.json", "--fail", "soon"])
    write("c.json", {"one": fast[:2]})
    assert cli.main(["compare", "a.json", "c.json", "--fail", "5%"]) == 2
    assert "one has fewer than 5 samples, so --fail cannot decide" in capsys.readouterr().err


def test_one_file_is_no_comparison(capsys):
    write("a.json", {"one": [1.0]})
    _refused(run(capsys, "a.json"), "a comparison needs at least two files, not only a.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read b.json: No such file or directory"),
        (b"", "b.json is not JSON"),
        (b"\xff\xfe", "b.json is not JSON"),
        (b"[" * 100_000, "b.json is not JSON"),
        (b"{}", "b.json is not a file of pytest-benchmark"),
        (b"[]", "b.json is not a file of pytest-benchmark"),
        (b'{"benchmarks": [1]}', "b.json is not a file of pytest-benchmark"),
        (b'{"machine_info": {"cpu": {}}, "commit_info": {}, "benchmarks": []}', "no benchmark of a.json is in another"),
    ],
)
def test_bad_files_get_one_line_and_code_2(capsys, content, message):
    write("a.json", {"one": [1.0]})
    if content is not None:
        Path("b.json").write_bytes(content)
    _refused(run(capsys, "a.json", "b.json"), message)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "fast", None, []])
@pytest.mark.parametrize("field", ["median", "data"])
def test_a_time_that_is_none_is_refused(field, value):
    path = Path(write("a.json", {"one": [1.0, 1.0]}))
    document = json.loads(path.read_text())
    document["benchmarks"][0]["stats"][field] = value if field == "median" else [1.0, value]
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"a\.json is not a file of pytest-benchmark"):
        compare.read("a.json")


def test_nothing_in_common_is_refused(capsys):
    write("a.json", {"one": [1.0]})
    write("b.json", {"two": [1.0]})
    _refused(run(capsys, "a.json", "b.json"), "no benchmark of a.json is in another of the files")


def test_a_place_that_cannot_be_written_is_refused(capsys):
    write("a.json", {"one": [1.0]})
    _refused(run(capsys, "a.json", "a.json", "--json", "no/such/folder.json"), "cannot write no/such/folder.json")


def _refused(result, message):
    code, out, err = result
    assert code == 2
    assert out == ""
    assert message in err
    assert err.startswith("grokbench: error: ")
    assert err.count("\n") == 1


def test_unlike_machines_are_refused_unless_told(capsys):
    write("a.json", {"one": [1.0, 1.1]})
    write("b.json", {"one": [1.0, 1.1]}, device="H100")
    write("d.json", {"one": [1.0, 1.1]}, origin={**ORIGIN, "threads": 4})
    for other, why in (("b.json", "b/test_b.py::one ran on EPYC and H100"), ("d.json", "threads is 2 and 4")):
        assert cli.main(["compare", "a.json", other]) == 2
        assert f"from unlike machines: {why}; --unlike compares" in capsys.readouterr().err
    assert cli.main(["compare", "a.json", "b.json", "--unlike"]) == 0
    write("c.json", {"one": [1.0, 1.1]}, commit="b" * 40, origin={**ORIGIN, "torch": "2.14"})
    assert cli.main(["compare", "a.json", "c.json"]) == 0  # another version on the same machine is what one compares
