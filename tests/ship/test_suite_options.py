"""`ggship package --suite`: some of the tests, a judge, plugins; what they decide stands in the package."""

from __future__ import annotations

import json

import pytest

from ggship.errors import GateFailed, UsageError
from ggship.evals.assertions import REGISTRY
from ggship.evals.codec import read_report

SUITE = """
version: 1
tests:
  - {id: law, prompt: Which paragraph?, tags: [law], assert: [{type: cites-law}, {type: llm-rubric, value: is kind}]}
  - {id: other, prompt: Who?, tags: [people], assert: [{type: contains, value: nobody ever says this}]}
"""
PLUGIN = """
from ggship.evals.assertions import assertion

@assertion("cites-law", "none", "names a paragraph")
def cites_law(subject):
    return "%s" in subject.text
"""


@pytest.fixture
def asked(shop):
    """A server whose judge is kind, and a suite that needs it and a plugin."""
    before = dict(REGISTRY)
    (shop.root / "suite.yaml").write_text(SUITE)
    (shop.root / "checks.py").write_text(PLUGIN % "5")
    shop.server.hold("judge", b"a judge")
    verdict = json.dumps({"reason": "so be it", "pass": True, "score": 0.9})
    shop.server.answer = lambda request: verdict if request["model"].startswith("judge") else "Paragraph 5."
    yield shop
    REGISTRY.clear()
    REGISTRY.update(before)


def package(shop, **options):
    given = {"suite": shop.root / "suite.yaml", "tags": ("law",), "judge": "judge", "force": True}
    return shop.package(**{**given, "plugins": (str(shop.root / "checks.py"),), **options})


def test_judge_and_plugin_decide_and_stand_in_the_report(asked):
    with pytest.raises(GateFailed):  # this server's base and tuned model say the same
        package(asked)
    report = read_report(next(asked.root.glob("out/law*/eval/report.json")))
    assert [case.id for case in report.cases] == ["law"]
    assert [check.passed for check in report.cases[0].tuned.checks] == [True, True]
    assert [(one.kind, one.name) for one in report.instruments] == [("plugins", "checks"), ("judge", "judge")]
    assert all(one.digest for one in report.instruments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"judge": None}, "`llm-rubric` needs a model to judge with"),
        ({"plugins": ()}, "unknown assertion `cites-law`"),
        ({"tags": ("lwa",)}, "no test has the tag `lwa`"),
        ({"suite": None}, "are for a suite"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_made(asked, options, said):
    with pytest.raises(UsageError, match=said):
        package(asked, **options)
    assert not (asked.root / "out").exists()
    assert set(asked.server.models) == {"judge:latest"}
