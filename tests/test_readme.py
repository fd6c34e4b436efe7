"""What the README and the guide say can be done, can be done; what they say there is, is there."""

from __future__ import annotations

import ast
import re
import shlex

import pytest
from documents import EVERYTHING, PAGES, README, ROOT, write_files

from grokbench import cli
from grokbench.claims import presets
from grokbench.cli import common, reference
from grokbench.cli.run import options_of
from grokbench.options import BY_NAME
from grokbench.session import cases
from grokbench.spec import TASKS

BLOCKS = re.findall(r"```sh\n(.*?)```", EVERYTHING, re.S)
COMMANDS = list(
    dict.fromkeys(line for block in BLOCKS for line in block.splitlines() for line in line.split(" | ") if line)
)


@pytest.fixture(scope="module", autouse=True)
def plugged(tmp_path_factory):
    """The files of the page on plug-ins can be imported."""
    folder = tmp_path_factory.mktemp("plugged")
    write_files(PAGES["plug-ins"], folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


def test_nothing_is_left_to_be_filled_in():
    assert "@@" not in EVERYTHING


def test_the_two_commands_that_set_everything_up_are_there():
    setup = "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[test]' && "
    assert setup + "grokbench run" in COMMANDS
    assert setup + "pytest" in COMMANDS


@pytest.mark.parametrize("command", [c.rpartition("&& ")[2] for c in COMMANDS if "grokbench run" in c])
def test_every_run_command_asks_for_cases_that_exist(command):
    options = options_of(cli.parser().parse_args(shlex.split(command)[1:]))
    assert cases(options)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("grokbench ")])
def test_every_command_parses(command):
    assert cli.parser().parse_args(shlex.split(command)[1:]).command


PLAIN = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")


def test_the_pytest_command_collects_the_suite(pytester):
    command = next(c for c in COMMANDS if c.startswith("pytest --pyargs"))
    result = pytester.runpytest_subprocess(*shlex.split(command)[1:], "--collect-only", "-q", *PLAIN)
    result.stdout.fnmatch_lines(["*test_claim?muon-before-adamw-add-softmax?", "*test_claim?muon-before-adamw-pooled?"])


def test_every_option_is_explained():
    run = next(a for a in cli.parser()._subparsers._group_actions[0].choices.items() if a[0] == "run")[1]
    options = {s for action in run._actions for s in action.option_strings if s.startswith("--")} - {
        "--help",
        "--debug",
    }
    assert all(f"`{option}" in EVERYTHING for option in options)
    assert {f"--{name}" for name in BY_NAME} == options


def test_the_python_block_parses_and_the_presets_are_described():
    for block in re.findall(r"```python\n(.*?)```", EVERYTHING, re.S):
        ast.parse(block)
    for preset in presets.PRESETS.values():
        (row,) = [line for line in EVERYTHING.splitlines() if line.startswith(f"| `{preset.name}` |")]
        m = preset.model
        for figure in (m.width, m.depth, m.heads, m.feed_forward, preset.batch, preset.criterion.budget):
            assert re.search(rf"\b{figure}\b", row)
        assert row.endswith(f"| {preset.replicas} |")
    assert "weight decay 0.3, AdamW 0.016 and Muon 0.04" in " ".join(EVERYTHING.split())
    assert presets.PRESETS["ci"].optimizers == {
        "adamw": "adamw(lr=0.016, weight_decay=0.3)",
        "muon": "muon(lr=0.04, weight_decay=0.3, adamw_lr=0.016)",
    }
    assert all(len(presets.PRESETS[name].tasks) == len(TASKS) for name in ("ci", "paper"))


def test_every_room_in_the_table_of_files_exists():
    rows = re.findall(r"^\| ((?:`[\w./]+`,? ?)+) \|", PAGES["architecture"], re.M)
    rooms = [name for row in rows for name in re.findall(r"`([\w./]+)`", row)]
    assert len(rooms) > 15
    assert all((ROOT / "grokbench" / room).exists() for room in rooms)


def test_the_workflow_is_the_file():
    shown = re.findall(r"```yaml\n(.*?)```", PAGES["ci"], re.S)
    assert (ROOT / ".github" / "examples" / "optimizer.yml").read_text() in shown


def test_the_commands_of_the_workflow_parse():
    text = re.sub(
        r">-\n((?: {10}.*\n)+)",
        lambda m: " ".join(m[1].split()) + "\n",
        PAGES["ci"].partition("```yaml")[2].partition("```")[0],
    )
    commands = [c for c in re.findall(r"- run: (.*)", text) if c.startswith("grokbench ")]
    assert len(commands) == 5
    for command in commands:
        assert cli.parser().parse_args(shlex.split(command)[1:]).command


def test_the_readme_is_short_and_names_every_page():
    assert len(README.split()) <= 900
    assert re.findall(r"^\| \[([\w-]+)\]\(grokbench/guide/\1\.md\) \|", README, re.M)
    assert set(re.findall(r"guide/([\w-]+)\.md", README)) == set(PAGES)


def test_the_guide_lists_its_pages_and_shows_each(capsys):
    assert cli.main(["guide"]) == 0
    listed = capsys.readouterr().out
    for topic, text in PAGES.items():
        assert re.search(rf"^{topic} ", listed, re.M)
        assert cli.main(["guide", topic]) == 0
        assert capsys.readouterr().out == text
    assert cli.main(["guide", "nothing"]) == 2
    assert "unknown page 'nothing': choose from architecture, changelog, " in capsys.readouterr().err


def test_the_page_on_the_command_line_is_that_of_the_parser():
    """If not: python -m grokbench.cli.reference > grokbench/guide/command-line.md."""
    assert PAGES["command-line"] == reference.page()
    codes = {value for name, value in vars(common).items() if name.isupper() and type(value) is int}
    assert set(reference.EXIT_CODES) == codes


def test_files_that_are_named_exist():
    for place in set(re.findall(r"`((?:grokbench|benchmarks|tests)/[\w./-]+)`", EVERYTHING)):
        assert (ROOT / place).exists(), place


def test_the_rooms_in_the_table_are_those_of_the_package():
    rows = re.findall(
        r"^\| ((?:`[\w./]+`,? ?)+) \|", PAGES["architecture"].partition("## Where a change goes")[0], re.M
    )
    named = {name.partition("/")[0] for row in rows for name in re.findall(r"`([\w./]+)`", row)} - {"papers"}
    found = {p.name for p in (ROOT / "grokbench").iterdir() if p.name[0] not in "_."} - {"py.typed"}
    assert named == found
