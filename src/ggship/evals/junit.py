"""The report as JUnit XML, for whatever shows test results."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from ggship.evals.gates import number
from ggship.evals.reference import Reference, figures
from ggship.evals.report import CaseReport, Gate, Report, SmokeCheck

SHOWN = 2_000
# XML 1.0 can hold no other controls, not even as references, and neither surrogates nor U+FFFE and U+FFFF.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Row:
    """One test: outcome is pass, fail, error or skipped."""

    name: str
    outcome: str
    message: str = ""
    detail: str = ""
    seconds: float | None = None


def to_junit(report: Report, *, timings: bool = False) -> str:
    """One test suite each for the cases of the tuned model, the smoke checks, the gates and the reference.

    Times only with `timings`: without them the same answers give the same bytes.
    """
    seconds = report.timing.tuned.seconds if timings else {}
    suites = [
        (report.suite, [_case(case, seconds.get(case.id)) for case in report.cases]),
        ("smoke", [_smoke(check) for check in report.smoke]),
        ("gates", [_gate(gate, timings or gate in report.gates) for gate in report.all_gates]),
        ("reference", [_reference(report.reference)] if report.reference else []),
    ]
    root = ET.Element("testsuites", _counts([row for _, rows in suites for row in rows], "ggship"))
    del root.attrib["skipped"]  # Jenkins' schema (junit-10.xsd) knows it on testsuite alone
    for name, rows in suites:
        if rows:
            suite = ET.SubElement(root, "testsuite", _counts(rows, name))
            if timings:
                suite.set("timestamp", report.timing.started.split("+")[0])
            for row in rows:
                _write(suite, name, row)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(case: CaseReport, seconds: float | None) -> _Row:
    result = case.tuned
    failed = [f"{check.type}: {check.reason}" for check in result.checks if not check.passed]
    answer = f"asked: {case.messages[-1]['content'][:SHOWN]}\nanswer: {result.text[:SHOWN]}"
    if result.outcome == "error":
        return _Row(case.id, "error", result.error, answer, seconds)
    if result.outcome == "fail" and not case.weight:
        return _Row(case.id, "skipped", f"recorded only, weight 0: {'; '.join(failed)}", seconds=seconds)
    return _Row(case.id, result.outcome, "; ".join(failed), answer, seconds)


def _smoke(check: SmokeCheck) -> _Row:
    return _Row(check.name, check.outcome, check.reason, "cases: " + ", ".join(check.cases))


def _gate(gate: Gate, tell: bool) -> _Row:
    observed = "nothing to observe" if gate.observed is None else f"observed {number(gate.observed)}"
    return _Row(gate.rule, "pass" if gate.passed else "fail", observed if tell else "does not hold")


def _reference(found: Reference) -> _Row:
    detail = "\n".join(f"{name}: {value}" for name, value in figures(found))
    return _Row("as base + adapter", "pass" if found.passed else "fail", "; ".join(found.reasons), detail)


def _counts(rows: Sequence[_Row], name: str) -> dict[str, str]:
    def count(outcome: str) -> str:
        return str(sum(row.outcome == outcome for row in rows))

    return {
        "name": _clean(name),
        "tests": str(len(rows)),
        "failures": count("fail"),
        "errors": count("error"),
        "skipped": count("skipped"),
    }


def _write(suite: ET.Element, classname: str, row: _Row) -> None:
    test = ET.SubElement(suite, "testcase", {"classname": _clean(classname), "name": _clean(row.name)})
    if row.seconds is not None:
        test.set("time", f"{row.seconds:.3f}")
    if row.outcome == "skipped":
        ET.SubElement(test, "skipped", {"message": _clean(row.message)})
    elif row.outcome != "pass":
        tag = "failure" if row.outcome == "fail" else "error"
        ET.SubElement(test, tag, {"message": _clean(row.message), "type": tag}).text = _clean(row.detail)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
