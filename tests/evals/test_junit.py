from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import xmlschema

from ggship.errors import ServerError
from ggship.evals.junit import to_junit

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


def test_a_ci_server_can_read_it(run: Any, scripted: Any, suite: Any) -> None:
    made = suite(
        """
        version: 1
        name: mixed
        gates: [pass_rate >= 1, p95_latency <= 0.1]
        tests:
          - {id: right, prompt: a, assert: [{type: contains, value: x}]}
          - {id: wrong, prompt: b, assert: [{type: contains, value: x}]}
          - {id: gone, prompt: c, assert: [{type: contains, value: x}]}
          - {id: noted, prompt: d, weight: 0, assert: [{type: contains, value: x}]}
        """
    )
    report = run(made, scripted({"a": "x", "c": ServerError("no", status=500)}))
    for timings in (False, True):
        text = to_junit(report, timings=timings)
        SCHEMA.validate(text)
        root = ET.fromstring(text)
        cases, smoke, gates = root.findall("testsuite")
        assert (
            cases.attrib.items()
            >= {"name": "mixed", "tests": "4", "failures": "1", "errors": "1", "skipped": "1"}.items()
        )
        assert [test.find("*").tag if len(test) else "" for test in cases] == ["", "failure", "error", "skipped"]
        assert cases.find("testcase[@name='wrong']/failure").attrib["message"] == "contains: lacks “x”"
        assert cases.find("testcase[@name='gone']/error").attrib["message"] == "no"
        assert (smoke.attrib["failures"], gates.attrib["failures"]) == ("0", "2")
        assert (cases[0].get("time") is not None) is timings


def test_what_xml_cannot_hold_does_not_break_it(hostile: Any) -> None:
    text = to_junit(hostile)
    SCHEMA.validate(text)
    names = [test.get("name") for test in ET.fromstring(text).iter("testcase")]
    assert "<script>" in names[0]  # as text, not as an element
    assert "\x1b" not in text
