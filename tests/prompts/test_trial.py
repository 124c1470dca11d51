"""A hostile chat template is refused in a process of its own, and names its line where it can."""

from __future__ import annotations

import os
from datetime import date

import pytest

from ggship.errors import BadFile
from ggship.prompts import ChatTemplate, family
from ggship.prompts.trial import check_template, check_template_once
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


@pytest.mark.parametrize("text", ["", "You are a lawyer.", "{{ bos_token }}"])
def test_one_that_leaves_the_question_out_is_refused(text):
    with pytest.raises(BadFile, match="leaves the question out"):
        check_template(ChatTemplate(text, "<s>", source="chat_template.jinja"))


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


HELD = "{% set ns = namespace(x='aa') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"


@pytest.mark.parametrize(
    "when",
    [
        "not add_generation_prompt",
        "strftime_now('%Y') == '2025'",
        "messages[0].content == 'zqUSERONEqz'",
        "enable_thinking is defined and not enable_thinking",
        "date_string is defined",
    ],
)
def test_what_it_does_only_later_is_found_too(when):
    turns = "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '<e>' }}{% endfor %}<assistant>"
    with pytest.raises(BadFile, match="more time or memory"):
        check_template(ChatTemplate("{% if " + when + " %}" + HELD + "{% endif %}" + turns))


def test_nothing_is_imported_from_the_folder_that_the_user_stands_in(tmp_path, monkeypatch):
    (tmp_path / "jinja2.py").write_text("from pathlib import Path\nPath('ran').write_text('x')\nimport nothing_such\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep + os.environ.get("PYTHONPATH", ""))
    check_template(family("chatml"))
    assert not (tmp_path / "ran").exists()


def test_a_template_that_asks_for_the_time_is_tried_again_the_next_day():
    tried = []

    def runner(argv, **options):
        tried.append(argv)
        return run_subprocess([argv[0], "-c", ""], **options)

    timed = ChatTemplate("{{ strftime_now('%d') }}{{ messages[0].content }}")
    for day in (1, 1, 2):
        check_template_once(timed, runner=runner, today=date(2026, 1, day))
    assert len(tried) == 2
    for day in (1, 2):
        check_template_once(family("chatml"), runner=runner, today=date(2026, 1, day))
    assert len(tried) == 3
