"""Fixtures: verdicts of cases, findings of checks, gates and races."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from grokbench.plugin.asked import FAILED, SESSION, options_of

if TYPE_CHECKING:
    from grokbench.conformance import Finding
    from grokbench.gates import Result as GateResult
    from grokbench.perf import Result as PerfResult
    from grokbench.session import Case, Session
    from grokbench.verdicts.verdict import Verdict

GROK = {"grok", "grok_verdict", "grok_finding", "grok_gate", "grok_perf"}  # the fixtures here
NOTE = "grok_note"  # property of a test that is to be annotated: level, title, text


@pytest.fixture(scope="session")
def grok(pytestconfig: pytest.Config) -> Session:
    """The session that answers cases: `grok.verdict(case)` trains what the case needs and judges it."""
    if FAILED in pytestconfig.stash:
        raise pytestconfig.stash[FAILED]
    if SESSION not in pytestconfig.stash:
        raise pytest.UsageError("the fixture grok answers tests that take grok_case, and there is none")
    return pytestconfig.stash[SESSION]


@pytest.fixture
def grok_verdict(grok: Session, grok_case: Case, request: pytest.FixtureRequest) -> Verdict:
    """The verdict of the present case; also properties of the test in JUnit reports."""
    verdict = grok.verdict(grok_case)
    properties = {
        "claim": verdict.claim,
        "cell": str(verdict.cell or "pooled"),
        "status": verdict.status.value,
        "reason": verdict.reason,
        "pairs": verdict.pairs,
        "p": verdict.p,
        "ratio": verdict.ratio,
        "interval": verdict.interval and "{:.4g} {:.4g}".format(*verdict.interval),
        "sustained_ratio": verdict.sustained,
    }
    properties = {name: value for name, value in properties.items() if value is not None}
    request.node.user_properties += [(f"grok_{name}", value) for name, value in properties.items()]
    return verdict


@pytest.fixture
def grok_finding(request: pytest.FixtureRequest) -> Finding:
    """What one check found of one optimizer; also properties of the test in JUnit reports."""
    from grokbench.conformance import examine, expectations, kinds
    from grokbench.spec import registry

    text, check = request.param
    kind, _, other = text.partition(" ")
    if kind in kinds.KINDS:
        finding = kinds.examine(kind, other, check)
    else:
        spec = registry.parse(text)
        finding = examine(spec, check, expectations(spec))
    properties = {"optimizer": text, "check": check, "outcome": finding.outcome.value, "text": finding.text}
    request.node.user_properties += [(f"grok_{name}", value) for name, value in properties.items()]
    return finding


@pytest.fixture
def grok_gate(request: pytest.FixtureRequest) -> Callable[..., GateResult]:
    """`grok_gate(baseline=…, candidate=…, …)` asks a gate, with the fields of `grokbench.gates.Request`.

    What it says is also a property of the test in JUnit reports.
    """
    from grokbench import gates
    from grokbench.report import gate as report

    def ask(**asked: Any) -> GateResult:
        options = options_of(request.config)
        shared = {"store": options.store, "device": options.device, "threads": options.threads}
        result: GateResult = _asked(gates.Request, gates.run, {**shared, **asked})
        found = {"outcome": result.outcome.value, "reason": result.reason, "identical": result.identical}
        request.node.user_properties += [(f"grok_gate_{name}", value) for name, value in found.items()]
        request.node.user_properties += [(NOTE, tuple(note)) for note in report.publish(result)]
        return result

    return ask


@pytest.fixture
def grok_perf(request: pytest.FixtureRequest) -> Callable[..., PerfResult]:
    """`grok_perf(baseline=…, candidate=…, …)` races two optimizers, with the fields of `grokbench.perf.Request`."""
    from grokbench import perf
    from grokbench.report import perf as report

    def ask(**asked: Any) -> PerfResult:
        options = options_of(request.config)
        shared = {"device": options.device, "threads": options.threads}
        result: PerfResult = _asked(perf.Request, perf.run, {**shared, **asked})
        for timing in result.timings:
            figures = f"{timing.verdict} {timing.race.ratio:.3f}"
            request.node.user_properties.append((f"grok_perf_{timing.name.replace(' ', '_')}", figures))
        request.node.user_properties += [(NOTE, tuple(note)) for note in report.publish(result)]
        return result

    return ask


def _asked(make: Callable[..., Any], answer: Callable[[Any], Any], fields: dict[str, Any]) -> Any:
    """The answer; what cannot be asked fails the test without a traceback through grokbench."""
    from grokbench.spec import UsageError, choose

    try:
        for name in fields:
            choose("argument", name, tuple(make.__dataclass_fields__))  # type: ignore[attr-defined]
        return answer(make(**fields))
    except UsageError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)
