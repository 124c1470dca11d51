"""Chat templates are rendered in a sandbox, and what they do wrong is said with their line."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime

import pytest

from ggship.errors import BadFile
from ggship.prompts import PROBES, ChatTemplate, TemplateRefused

ASK = [{"role": "user", "content": "Hello"}]


def render(text: str, **options: object) -> str:
    return ChatTemplate(text, source="chat_template.jinja").render(ASK, **options)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("{{ ''.__class__.__mro__ }}", 1, "__class__"),
        ("\n{{ cycler.__init__.__globals__ }}", 2, "__init__"),
        ("\n\n{{ messages.append(1) }}", 3, "append"),
        ("{{ messages[0].update(role='x') }}", 1, "update"),
        ("{% for i in range(500) %}\n{% for j in range(500) %}a{% endfor %}{% endfor %}", 2, "turns"),
        ("{% for i in range(99999999) %}{% endfor %}", 1, "Range too big"),
        ("\n{% include 'secret' %}", 2, "another file"),
        ("{% import 'secret' as s %}", 1, "another file"),
        ("\n{{ 'x' * 100000000 }}", 2, "makes more than"),
        ("\n{{ [0] * 100000000 }}", 2, "makes more than"),
        ("\n{{ 7 ** 100000000 }}", 2, "makes more than"),
        ("\n{{ '%1000000000d' % 1 }}", 2, "makes more than"),
        ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", 1, "recursion"),
        ("one\n{% if %}", 2, "no valid Jinja"),
        ("one\n\n{{ messages[7].content }}", 3, "has no element 7"),
        ("one\n{{ messages[0].name.first }}", 2, "has no attribute 'name'"),
        ("one\n{{ 1 // 0 }}", 2, "division"),
    ],
)
def test_what_a_template_does_wrong_is_said_with_its_line(text, line, words):
    with pytest.raises(BadFile) as caught:
        render(text)
    assert words in caught.value.message
    assert caught.value.where == f"chat_template.jinja: line {line}"


def test_output_without_end_is_refused():
    with pytest.raises(BadFile, match="longer than 2000000 characters"):
        render("{{ range(90000) | join('a' * 90) }}")


def test_honest_arithmetic_is_left_alone():
    text = "{{ '=' * 40 }}{{ 2 ** 10 }}{{ 3 * 4 }}{{ '%s %05d' % ('a', 7) }}{{ 7 % 4 }}{{ [1] * 2 }}{{ 2.5 * 2 }}"
    assert render(text) == "=" * 40 + "102412a 000073[1, 1]5.0"


def test_taking_all_memory_is_an_error_that_nothing_goes_on_after():
    text = "{% set ns = namespace(x='a' * 1000) %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from ggship.prompts.chat import ChatTemplate, TemplateTooLarge\n"
        f"try: ChatTemplate({text!r}, source='t.jinja').render([{ASK[0]!r}])\n"
        "except TemplateTooLarge as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "the chat template takes more time or memory than a template may: t.jinja\n"


def test_a_template_that_refuses_says_so_in_its_own_words():
    with pytest.raises(TemplateRefused, match="System role not supported"):
        render("{{ raise_exception('System role not supported') }}")


def test_json_is_written_as_training_wrote_it():
    tools = [{"name": "法律", "description": "<b> & 'c'"}]
    assert render("{{ tools | tojson }}", tools=tools) == '[{"name": "法律", "description": "<b> & \'c\'"}]'
    assert render("{{ tools | tojson(indent=1) }}", tools=tools).startswith('[\n {\n  "name"')


def test_blocks_leave_no_lines_and_marks_of_training_no_trace():
    turn = "    {% generation %}\n{{ m.content }}\n{% endgeneration %}\n{% break %}\n"
    text = "{% for m in messages %}\n" + turn + "{% endfor %}\nend"
    assert render(text) == "Hello\nend"


def test_tokens_are_there_only_where_the_tokenizer_has_them():
    text = "{% if bos_token is defined %}{{ bos_token }}{% else %}none{% endif %}"
    assert render(text) == "none"
    assert ChatTemplate(text, bos_token="<s>").render(ASK) == "<s>"


def test_the_day_is_the_one_that_is_given():
    assert render("{{ strftime_now('%d %b %Y') }}", now=datetime(2024, 7, 26)) == "26 Jul 2024"


def test_a_template_cannot_change_the_conversation_of_the_caller():
    messages = [{"role": "user", "content": "Hello"}]
    with pytest.raises(BadFile):
        ChatTemplate("{% set messages[0].content = 'x' %}").render(messages)
    assert messages == ASK


def test_probes_are_many_and_end_with_a_question():
    assert len({probe.name for probe in PROBES}) == len(PROBES)
    for probe in PROBES:
        assert probe.turns[-1][0] == "user"
        assert all(text == text.strip() for _, text in probe.turns)
