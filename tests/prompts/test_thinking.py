"""A model that can think is asked with its thoughts closed only where training had them closed, and nowhere else."""

from __future__ import annotations

from ggship.prompts import PROBES, ChatTemplate, family, gguf_chat_template, go_template, simulate
from ggship.prompts.thinking import match_thinking, thoughts_closed

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


# As DeepSeek-R1 and its distillations do it: a thought is opened for the model, and none is kept of its answers.
R1 = ChatTemplate(
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% set c = m.content %}{% if '</think>' in c %}{% set c = c.split('</think>')[-1] %}{% endif %}"
    "{{ '<A>' + c + '<e>' }}{% else %}{{ '<' + m.role + '>' + m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<A><think>\\n' }}{% endif %}",
    "<b>",
)
# As Qwen3-2507 does it, which always thinks: the opened thought is where training's (empty) ones begin.
ALWAYS = ChatTemplate(TURNS.replace("'<assistant>' }}", "'<assistant><think>\\n' }}") + "{% endif %}")


def test_a_thought_that_training_never_saw_is_not_opened():
    chat, thinking = match_thinking(R1)
    assert R1.render(ASK) == "<b><user>Q<A><think>\n"
    assert chat.render(ASK) == "<b><user>Q<A>"
    assert (thinking.prompt, thinking.ask) == ("free", False)
    assert "no <think>" in thinking.why
    for probe in PROBES:
        turns = [*probe.messages, {"role": "assistant", "content": "x</think>A"}]
        trained = R1.render(turns, add_generation_prompt=False)
        assert trained.startswith(chat.render(probe.messages))
        assert chat.render(turns, add_generation_prompt=False) == trained


def test_a_thought_that_training_opened_too_stays_open():
    chat, thinking = match_thinking(ALWAYS)
    assert chat is ALWAYS
    assert (thinking.prompt, thinking.ask, thinking.forbidden) == ("opened", True, ())


def test_what_the_trainer_recorded_counts_more_than_what_the_template_shows():
    chat, thinking = match_thinking(QWEN3, True, "args.json")
    assert chat.render(ASK).endswith("<assistant>")
    assert (thinking.prompt, thinking.ask) == ("free", True)
    assert "enable_thinking was true in training (args.json)" in thinking.why
    for switched in ({}, {"enable_thinking": False}):
        assert ChatTemplate(gguf_chat_template(chat), arguments=switched).render(ASK) == chat.render(ASK)
    chat, thinking = match_thinking(SMOLLM3, False, "args.json")
    assert chat.render(ASK).startswith("/no_think ")
    assert not thinking.ask


def test_how_it_is_asked_is_said():
    chat, thinking = match_thinking(QWEN3)
    assert chat == thoughts_closed(QWEN3)
    assert thinking.document() == {
        "prompt": "closed",
        "think": False,
        "why": "off: empty thoughts stand before training's answers, so the prompt ends with them",
    }
    assert thinking.forbidden == ("<think>", "</think>")
    assert match_thinking(SMOLLM3)[1].prompt == "free"
    assert match_thinking(family("chatml")) == (family("chatml"), None)
    doubtful = ChatTemplate(
        "{% for m in messages %}{{ m.content }}{% endfor %}{{ '<think>' if add_generation_prompt and 1 }}x"
    )
    assert "compare answers" in match_thinking(doubtful)[1].why
