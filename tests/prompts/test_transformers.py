"""Prompts are those of transformers' own apply_chat_template, to the letter."""

from __future__ import annotations

import pytest

from ggship.errors import BadFile
from ggship.prompts import PROBES, ChatTemplate, Probe, families, family

pytestmark = pytest.mark.hf

SPACED = tuple(
    Probe(name, (("user", text),))
    for name, text in (
        ("leading space", "  What is a contract?"),
        ("trailing newline", "What is a contract?\n"),
        ("leading ideographic space", "\u3000\u3000合同是什么？"),
    )
)
# Written as model authors write them: blocks on lines of their own, marks of training, tools, macros.
LOOSE = """
{%- macro said(text) -%}
    {{ text | trim }}
{%- endmacro -%}
{% for message in messages %}
    {%- if message.role == 'assistant' %}
    {% generation %}
        {{- '<a>' + said(message.content) + eos_token }}
    {% endgeneration %}
    {%- elif loop.last %}
  {{ '<last>' ~ message.content }}
    {%- else %}
        {{- '<' + message['role'] + '>' + message['content'] | tojson }}
    {%- endif %}
{% endfor %}
{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}
{%- set ns = namespace(n=0) %}
{%- for m in messages %}{% set ns.n = ns.n + 1 %}{% if ns.n > 2 %}{% break %}{% endif %}{% endfor %}
{{ ns.n }}{% if add_generation_prompt %}
<a>{% endif %}
"""
TOOLS = [{"type": "function", "function": {"name": "法律", "description": "<b> 'x'", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def reference():
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")

    def render(chat: ChatTemplate, messages, **options):
        model = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
        given = {"bos_token": chat.bos_token, "eos_token": chat.eos_token}
        tokens = {name: token for name, token in given.items() if token}
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=model, **tokens)
        return tokenizer.apply_chat_template(messages, chat_template=chat.text, tokenize=False, **options)

    return render


CHATS = {name: family(name) for name in families()} | {"loose": ChatTemplate(LOOSE, "<s>", "</s>")}


@pytest.mark.parametrize("name", sorted(CHATS))
def test_every_conversation_is_rendered_the_same(reference, name):
    chat = CHATS[name]
    rendered = 0
    for probe in (*PROBES, *SPACED):
        for generation in (True, False):
            try:
                ours = chat.render(probe.messages, add_generation_prompt=generation)
            except BadFile:
                with pytest.raises(Exception, match="System role not supported"):
                    reference(chat, probe.messages, add_generation_prompt=generation)
                continue
            assert ours == reference(chat, probe.messages, add_generation_prompt=generation)
            rendered += 1
    assert rendered >= 20


def test_tools_are_rendered_the_same(reference):
    chat = CHATS["loose"]
    for probe in PROBES:
        theirs = reference(chat, probe.messages, tools=TOOLS, add_generation_prompt=True)
        assert chat.render(probe.messages, tools=TOOLS) == theirs
