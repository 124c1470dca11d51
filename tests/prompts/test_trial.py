"""A hostile chat template is refused in a process of its own, and names its line where it can."""

from __future__ import annotations

import pytest

from ggship.errors import BadFile
from ggship.prompts import ChatTemplate, family
from ggship.prompts.trial import check_template
from ggship.runner import run_subprocess

DOUBLED = "{% set ns = namespace(x='aa') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"


def test_an_honest_template_passes():
    check_template(family("gemma2"))


@pytest.mark.parametrize(
    "text",
    [DOUBLED, "{% for i in range(90000) %}{% set q = range(90000)|list|join %}{% endfor %}"],
    ids=["memory", "time"],
)
def test_taking_all_memory_or_time_is_refused(text):
    with pytest.raises(BadFile) as caught:
        check_template(ChatTemplate(text, source="chat_template.jinja"))
    assert "more time or memory" in caught.value.message
    assert caught.value.where == "chat_template.jinja"


def test_what_the_child_finds_is_said_with_its_line():
    with pytest.raises(BadFile) as caught:
        check_template(ChatTemplate("\n{{ messages[0].content", source="chat_template.jinja"))
    assert caught.value.where == "chat_template.jinja: line 2"


def test_a_child_that_never_ends_is_stopped():
    def runner(argv, **options):
        return run_subprocess([argv[0], "-c", "import time; time.sleep(60)"], **options)

    with pytest.raises(BadFile) as caught:
        check_template(family("chatml"), runner=runner, seconds=0.2)
    assert "0.2 s" in caught.value.message
