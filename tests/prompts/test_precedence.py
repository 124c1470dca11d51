"""Where the prompt of training is known from, in order: the user, the trainer, the saved template, the base."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ggship.errors import UsageError
from ggship.prompts import ChatTemplate, family
from ggship.prompts.llamafactory import written_by_llama_factory
from ggship.prompts.thinking import match_thinking
from ggship.prompts.training import PromptUnknown, find_prompt
from ggship.runs import read_run
from ggship.runs.model import Trainer
from ggship.runs.training import RecordedPrompt, Training

IDS = {"bos_token_id": 1, "eos_token_id": 2}
NAMES = {1: "<s>", 2: "</s>"}
BASE = family("smollm2").text
SAVED = "{{ 'saved' }}{{ messages[-1]['content'] }}"
ASK = [{"role": "user", "content": "Q"}]
RECORDED = Path(__file__).parent.parent / "data" / "prompts"


def recorded(run, trainer, *records):
    return replace(run, trainer=Trainer(trainer, "its file"), training=Training(prompts=records))


def record(kind="template", name="", **more):
    return RecordedPrompt(kind, name, source="args.json", **more)


def found(run, base, named=None):
    return find_prompt(run, base, named, NAMES)


def test_each_source_goes_before_the_next(make_run, make_base):
    run, base = make_run(SAVED), make_base(BASE, **IDS)
    told = recorded(run, "ms-swift", record(name="qwen3"))
    assert found(told, base, "chatml").chat.text == family("chatml").text
    assert found(told, base).chat.source.startswith("ms-swift's format qwen3, as ")
    assert found(run, base).chat.text == SAVED
    assert found(replace(run, chat_template=None), base).chat.text == BASE
    with pytest.raises(PromptUnknown, match="no chat template is known"):
        found(replace(run, chat_template=None), make_base(**IDS))


def test_the_plan_says_how_sure_that_is(make_run, make_base):
    run, base = make_run(SAVED), make_base(BASE, **IDS)
    sure = [
        found(run, base, "chatml"),
        found(recorded(run, "LLaMA-Factory", record(name="llama3")), base),
        found(run, base),
    ]
    assert {one.confidence for one in sure} == {"high"}
    assert "named with --template" in sure[0].words
    assert "args.json says so" in sure[1].words
    unsure = [found(replace(run, chat_template=BASE), base), found(replace(run, chat_template=None), base)]
    assert {one.confidence for one in unsure} == {"medium"}
    silent = replace(run, chat_template=None, trainer=Trainer("LLaMA-Factory", "trainer_log.jsonl"))
    assert "--template llamafactory:NAME" in found(silent, base).words


def test_a_recorded_name_that_is_not_known_is_never_guessed(make_run, make_base):
    run = recorded(make_run(SAVED), "LLaMA-Factory", record(name="no_such_template"))
    with pytest.raises(PromptUnknown) as caught:
        found(run, make_base(BASE, **IDS))
    assert "no_such_template" in str(caught.value)
    assert "--template" in caught.value.hint
    assert caught.value.exit_code == 4


def test_several_prompts_are_for_the_user_to_choose_from(make_run, make_base):
    run = recorded(make_run(SAVED), "Axolotl", record("dataset", "alpaca"), record(name="chatml"))
    with pytest.raises(PromptUnknown, match="alpaca, chatml"):
        found(run, make_base(BASE, **IDS))
    assert found(run, make_base(BASE, **IDS), "alpaca").chat.text == family("alpaca").text


@pytest.mark.parametrize(
    ("kind", "name", "family_name"),
    [
        ("dataset", "alpaca", "alpaca"),
        ("dataset", "alpaca:chat", "alpaca-chat"),
        ("dataset", "alpaca:chatml", "alpaca-chatml"),
        ("template", "llama3", "llama3"),
        ("template", "mistral_v1", "mistral-v1"),
        ("plain", "completion", "plain"),
    ],
)
def test_axolotls_prompters_win_over_a_template_of_the_base(make_run, make_base, kind, name, family_name):
    run = recorded(make_run(), "Axolotl", record(kind, name))
    assert found(run, make_base(BASE, **IDS)).chat.text == family(family_name).text


def test_what_axolotl_calls_its_template_lies_in_the_tokenizer_that_it_saved(make_run, make_base):
    run = recorded(make_run(SAVED), "Axolotl", record(name="exaone4", text=SAVED))
    assert found(run, make_base(BASE, **IDS)).chat.text == SAVED


@pytest.mark.parametrize(
    ("kind", "name"), [("dataset", "sharegpt"), ("template", "exaone4"), ("plain", "input_output")]
)
def test_what_axolotl_alone_knows_is_asked_for(make_run, make_base, kind, name):
    with pytest.raises(PromptUnknown, match=name):
        found(recorded(make_run(), "Axolotl", record(kind, name)), make_base(BASE, **IDS))


def test_torchtunes_tokenizers_and_templates_are_known_by_name(make_run, make_base):
    run, base = make_run(), make_base(BASE, **IDS)
    chat = found(recorded(run, "torchtune", record(name="mistral_tokenizer+alpaca")), base).chat
    assert chat.render(ASK).startswith("<s>[INST] Below is an instruction that describes a task. ")
    assert chat.render(ASK).endswith("### Instruction:\nQ\n\n### Response:\n  [/INST]")
    named = found(run, base, "torchtune:qwen2_tokenizer+SummarizeTemplate").chat
    assert named.render(ASK).startswith("<|im_start|>user\nSummarize this dialogue:\nQ\n---\n")


def test_llama2_of_torchtune_says_the_system_text_before_every_question(make_run, make_base):
    chat = found(recorded(make_run(), "torchtune", record(name="llama2_tokenizer")), make_base(BASE, **IDS)).chat
    turns = [*ASK, {"role": "assistant", "content": "R"}, {"role": "user", "content": "Q2"}]
    text = chat.render([{"role": "system", "content": "T"}, *turns])
    assert text.count("<<SYS>>\n T \n<</SYS>>") == 2
    assert "<<SYS>>" not in chat.render(turns)


@pytest.mark.parametrize(
    "name", ["llama3_tokenizer+mine.chat_dataset", "qwen2_tokenizer+ChatMLTemplate", "t5_tokenizer"]
)
def test_what_torchtune_cannot_have_or_others_added_is_asked_for(make_run, make_base, name):
    with pytest.raises(PromptUnknown, match=name.replace("+", r"\+")):
        found(recorded(make_run(), "torchtune", record(name=name)), make_base(BASE, **IDS))


def test_a_format_of_the_users_own_is_read(make_run, make_base):
    parts = {
        "system_prompt": "Be {brief}.",
        "no_input_format": "Q: {instruction}\nA:",
        "system_format": "S: {system}\n",
    }
    run = recorded(make_run(), "Axolotl", record("format", parts=parts))
    chat = found(run, make_base(BASE, **IDS)).chat
    assert chat.render(ASK) == "S: Be {brief}.\nQ: Q\nA:"
    assert chat.render([{"role": "system", "content": "T"}, *ASK]) == "S: T\nQ: Q\nA:"
    talk = [*ASK, {"role": "assistant", "content": "R"}, {"role": "user", "content": "Q2"}]
    assert chat.render(talk) == "S: Be {brief}.\nQ: Q\nA:R</s>Q: Q2\nA:"
    odd = recorded(run, "Axolotl", record("format", parts={"no_input_format": "no place for it"}))
    with pytest.raises(PromptUnknown):
        found(odd, make_base(BASE, **IDS))


def test_jinja_that_was_written_out_is_taken_as_it_is(make_run, make_base):
    run = recorded(make_run(), "Axolotl", record("jinja", text=SAVED))
    assert found(run, make_base(BASE, **IDS)).chat.text == SAVED


def test_the_system_text_of_training_comes_along(make_run, make_base):
    run, base = make_run(SAVED), make_base(BASE, **IDS)
    assert found(recorded(run, "ms-swift", record(name="qwen3", system="法")), base).system == "法"
    # Axolotl's setting changes none of its prompts.
    assert found(recorded(run, "Axolotl", record(name="chatml", system="法")), base).system is None


def test_thoughts_that_training_switched_off_can_be_switched_off(make_run, make_base):
    run = recorded(make_run(), "LLaMA-Factory", record(name="qwen3", thinking=False))
    chat, thinking = match_thinking(found(run, make_base(BASE, **IDS)).chat, trained=False)
    assert chat.render(ASK).endswith("assistant\n<think>\n\n</think>\n\n")
    assert thinking.prompt == "closed"


@pytest.mark.parametrize(
    ("ref", "near"),
    [("llamafactory:qwen", None), ("ms-swift:llama3", None), ("llamafactory:qwn3", "llamafactory:qwen3")],
)
def test_a_trainers_format_by_its_name(make_run, make_base, ref, near):
    if near is None:
        assert ref.partition(":")[2] in found(make_run(), make_base(BASE, **IDS), ref).chat.source
        return
    with pytest.raises(UsageError) as caught:
        found(make_run(), make_base(BASE, **IDS), ref)
    assert near in caught.value.hint


def llama_factory_jinja():
    templates = json.loads((RECORDED / "llamafactory.json").read_text("utf-8"))["templates"]
    jinja = {name: found["jinja"] for name, found in templates.items() if found["jinja"]}
    return {name: text.replace("⟨bos⟩", "<s>").replace("⟨eos⟩", "</s>") for name, text in jinja.items()}


def test_what_llama_factory_writes_into_a_tokenizer_is_told_by_its_text(make_run, make_base):
    written = llama_factory_jinja()
    assert len(written) > 90
    for name, text in written.items():
        assert written_by_llama_factory(text), name
    assert "template alpaca" in str(written_by_llama_factory(written["alpaca"]))
    assert "template chatml or" in str(written_by_llama_factory(written["chatml"]))
    words = found(make_run(written["vicuna"]), make_base(BASE, **IDS)).words
    assert "LLaMA-Factory wrote it from its template vicuna" in words


@pytest.mark.parametrize("name", ["chatml", "llama2", "qwen2.5", "mistral-v1", "zephyr"])
def test_what_others_write_is_not_taken_for_llama_factorys(name):
    assert written_by_llama_factory(family(name).text) is None
    assert written_by_llama_factory(ChatTemplate("").text) is None


RUNS = RECORDED.parent / "runs"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("axolotl-alpaca", "Axolotl's prompts for alpaca (high confidence: README.md says so)"),
        ("axolotl-chat", "chat_template.jinja of the run: chatml (high confidence: README.md says so)"),
        (
            "llama-board",
            "LLaMA-Factory's format qwen3_nothink, as 0.9.5 has it (high confidence: training_args.yaml says so)",
        ),
        ("llama-factory-alpaca", "the Jinja in chat_template.jinja (high confidence: LLaMA-Factory wrote it from"),
        ("llama-factory-chat", "chat_template.jinja of the run (high confidence: it is not the base's"),
        (
            "ms-swift-chat",
            "ms-swift's format qwen2_5, as 4.6.0 has it (high confidence: checkpoint-20/args.json",
        ),
        ("trl-chat", "chat_template.jinja of the run (high confidence: it is not the base's"),
    ],
)
def test_what_real_trainers_left_tells_it(make_base, name, words):
    assert found(read_run(RUNS / name), make_base(BASE, **IDS)).words.startswith(words)


def test_a_chat_template_that_training_names_itself_is_sure(make_run, make_base):
    told = RecordedPrompt("tokenizer", text=BASE, source="README.md")
    run = recorded(make_run(BASE), "Axolotl", told)
    assert found(run, make_base(BASE, **IDS)).confidence == "high"
    assert found(make_run_again(run), make_base(BASE, **IDS)).confidence == "medium"


def make_run_again(run):
    """The same, of which nothing is told."""
    return replace(run, training=Training())


def test_chatglm3s_demo_has_one_prompt(make_run, make_base):
    run = recorded(make_run(), "ChatGLM3 finetune_demo", record(name="chatglm3", confidence="medium"))
    prompt = found(run, make_base(**IDS))
    assert prompt.chat.text == family("chatglm3").text
    assert prompt.confidence == "medium"
