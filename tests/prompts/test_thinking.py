"""A model that can think is asked with its thoughts closed only where training had them closed, and nowhere else."""

from __future__ import annotations

from ggship.prompts import PROBES, ChatTemplate, family, gguf_chat_template, go_template, simulate
from ggship.prompts.thinking import thoughts_closed

ASK = [{"role": "user", "content": "Q"}]
TURNS = (
    "{% for m in messages %}{{ '<' + m.role + '>' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{{ m.content + '<e>' }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}"
)
# As Qwen3 does it: the last answer has (empty) thoughts in training, and the switch closes them in the prompt.
QWEN3 = ChatTemplate(
    TURNS + "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{% endif %}"
)
# As SmolLM3 does it: the switch changes the system text, so that closing the thoughts is another prompt.
SMOLLM3 = ChatTemplate(
    "{% set enable_thinking = true if enable_thinking is not defined else enable_thinking %}"
    "{{ '/think ' if enable_thinking else '/no_think ' }}" + TURNS + "{% endif %}"
)


def test_thoughts_that_training_closed_are_closed_in_the_prompt():
    chat = thoughts_closed(QWEN3)
    assert chat.render(ASK) == "<user>Q<e><assistant><think>\n\n</think>\n\n"
    for probe in PROBES:
        trained = QWEN3.render([*probe.messages, {"role": "assistant", "content": "A"}], add_generation_prompt=False)
        assert trained.startswith(chat.render(probe.messages))


def test_the_closed_prompt_is_the_one_of_every_server():
    chat = thoughts_closed(QWEN3)
    go = go_template(chat)
    for switched in ({}, {"enable_thinking": True}, {"enable_thinking": False}):
        for probe in PROBES:
            written = ChatTemplate(gguf_chat_template(chat), arguments=switched)
            assert written.render(probe.messages) == chat.render(probe.messages) == simulate(go.text, probe.messages)


def test_a_switch_that_says_something_else_than_training_is_left_alone():
    assert thoughts_closed(SMOLLM3) is SMOLLM3
    written = ChatTemplate(gguf_chat_template(SMOLLM3), arguments={"enable_thinking": False})
    assert written.render(ASK) == SMOLLM3.render(ASK)


def test_templates_without_the_switch_or_with_a_choice_made_are_as_they_are():
    assert thoughts_closed(family("chatml")).arguments == {}
    chosen = ChatTemplate(QWEN3.text, arguments={"enable_thinking": True})
    assert thoughts_closed(chosen) is chosen
