"""The Jinja in a merged model gives the prompt of training, whatever variables the server adds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ggship.prompts import PROBES, ChatTemplate, families, family, gguf_chat_template

ASK = [{"role": "user", "content": "x"}]
SERVER = {"enable_thinking": True, "date_string": "22 Nov 2026", "datetime": "Nov 22 2026"}
DATED = (
    "{%- if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    "{{ 'Today Date: ' + date_string + '\\n' }}{{ messages[0].content }}"
)
SHUT = "{{ messages[0].content }}{% if enable_thinking %}{{ '<think>' }}{% else %}{{ '<think></think>' }}{% endif %}"
OPEN = "{{ messages[0].content }}{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"


@pytest.mark.parametrize("text", [DATED, SHUT], ids=["date", "thinking"])
def test_what_only_the_server_passes_changes_nothing(text):
    chat = ChatTemplate(text)
    assert replace(chat, arguments=SERVER).render(ASK) != chat.render(ASK)
    written = gguf_chat_template(chat)
    assert ChatTemplate(written, arguments=SERVER).render(ASK) == chat.render(ASK)
    assert ChatTemplate(written).render(ASK) == chat.render(ASK)


@pytest.mark.parametrize("switched", [True, False])
def test_the_switch_that_the_one_who_asks_may_turn_changes_nothing_either(switched):
    """Endpoints ask with it off (ENABLE_THINKING), and Ollama has it on where nobody says so."""
    asked = {"enable_thinking": switched}
    for text in (OPEN, SHUT):
        written = gguf_chat_template(ChatTemplate(text))
        assert ChatTemplate(written, arguments=asked).render(ASK) == ChatTemplate(text).render(ASK)


@pytest.mark.parametrize("name", sorted(set(families()) - {"qwen3"}))
def test_templates_that_use_none_of_them_are_kept_byte_for_byte(name):
    assert gguf_chat_template(family(name)) == family(name).text


def test_what_training_passed_is_set_in_front():
    chat = ChatTemplate(SHUT + "{{ style }}", arguments={"enable_thinking": False, "style": '"法"', "unset": None})
    written = ChatTemplate(gguf_chat_template(chat), arguments=SERVER)
    for probe in PROBES:
        assert written.render(probe.messages) == chat.render(probe.messages)


def test_where_renaming_would_change_a_text_the_template_is_left_alone():
    text = "{{ 'the date_string is:' }}{{ messages[0].content }}{{ '' if date_string is defined else '!' }}"
    assert gguf_chat_template(ChatTemplate(text)) == text


def test_what_is_set_in_front_moves_no_line_of_the_template():
    for text in ("\n{{ style }}", "  {% if style %}x{% endif %}", "\n\n {{ style }}"):
        chat = ChatTemplate(text, arguments={"style": "a"})
        assert ChatTemplate(gguf_chat_template(chat)).render(ASK) == chat.render(ASK)
