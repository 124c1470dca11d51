"""Every family renders as its definer does, and its Go TEMPLATE as its Jinja does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ggship.errors import UsageError
from ggship.modelfile import Modelfile, not_carried, parse, render
from ggship.prompts import PROBES, GoTemplate, TemplateRefused, families, family, go_template, simulate
from ggship.prompts.stops import pieces_stops

GOLDEN_FOLDER = Path(__file__).parent.parent / "data" / "prompts"
CONVERSATIONS = {
    "alone": [("user", "Qu1")],
    "system": [("system", "Qs1"), ("user", "Qu1")],
    "turns": [("user", "Qu1"), ("assistant", "Qa1"), ("user", "Qu2")],
    "all": [("system", "Qs1"), ("user", "Qu1"), ("assistant", "Qa1"), ("user", "Qu2")],
    "spaces": [("user", "\n Qu1 \n")],
}

# Who defines the format, the name it has there. scripts/record-prompts let each render its own: nothing is ours.
GOLDEN = {
    "alpaca": "axolotl alpaca:instruct",
    "alpaca-chat": "axolotl alpaca:chat",
    "alpaca-chatml": "axolotl alpaca:chatml",
    "alpaca-jinja": "axolotl alpaca",
    "alpaca-llamafactory": "llamafactory alpaca",
    "alpaca-phi": "axolotl alpaca:phi",
    "alpaca-stanford": "stanford-alpaca alpaca",
    "alpaca-unsloth": "unsloth alpaca",
    "chatglm3": "llama.cpp chatglm3",
    "chatml": "axolotl chatml",
    "deepseek-r1": "trl deepseek_r1_distill",
    "deepseek-v2": "llama.cpp deepseek2",
    "deepseek-v3": "llamafactory deepseek3",
    "gemma": "trl gemma",
    "gemma2": "trl gemma",
    "gemma3": "trl gemma3",
    "glm4": "llama.cpp chatglm4",
    "llama2": "unsloth llama",
    "llama3": "trl llama3",
    "llama3.1": "trl llama3_1",
    "mistral-v1": "mistral-common v1",
    "mistral-v3": "mistral-common v3",
    "mistral-v3-tekken": "mistral-common v3-tekken",
    "mistral-v7": "mistral-common v7",
    "mistral-v7-tekken": "axolotl mistral_v7_tekken",
    "phi3": "trl phi3",
    "phi4": "unsloth phi4",
    "phi4-mini": "llamafactory phi4_mini",
    "plain": "llamafactory empty",
    "qwen2.5": "trl qwen2_5",
    "qwen3": "trl qwen3",
    "qwen3-nothink": "trl qwen3_instruct_2507",
    "qwen3-thinking": "unsloth qwen3_thinking",
    "vicuna": "fastchat vicuna_v1.1",
    "zephyr": "unsloth zephyr",
}
# Its definer is the base that live tests use, whose own template they compare with.
LIVE = {"smollm2"}
# What a definer renders and the family leaves out: Mistral Small 3's default system text, which holds today's date.
LEFT_OUT = {"mistral-v7-tekken": {"alone", "turns", "spaces"}}


def recorded(name):
    definer, template = GOLDEN[name].split(" ")
    found = json.loads((GOLDEN_FOLDER / f"{definer}.json").read_text("utf-8"))["templates"][template]
    prompts = {key: text for key, text in found["prompts"].items() if key in CONVERSATIONS}
    eos = found["eos"] if "⟨eos⟩" in str(prompts) or "</s>" in str(prompts) else family(name).eos_token
    return found.get("bos", "⟨bos⟩"), eos, prompts


def rendered(chat, turns):
    try:
        return chat.render([{"role": role, "content": text} for role, text in turns])
    except TemplateRefused:
        return None


def test_every_family_has_a_text_that_is_not_ours():
    assert set(GOLDEN) | LIVE == set(families())


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_renders_as_its_definer_does(name):
    bos, eos, prompts = recorded(name)
    chat = replace(family(name), bos_token=bos, eos_token=eos)
    compared = 0
    for conversation, expected in prompts.items():
        if conversation in LEFT_OUT.get(name, ()) or (expected is None and GOLDEN[name].startswith("axolotl alpaca:")):
            continue
        got = rendered(chat, CONVERSATIONS[conversation])
        if bos not in str(prompts.values()) or name in ("alpaca-unsloth",):  # who adds the BOS is the tokenizer's word
            got, expected = got.removeprefix(bos), expected.removeprefix(bos)
        assert got == expected, conversation
        compared += 1
    assert compared >= 2


def test_qwen3_closes_its_thoughts_where_they_are_switched_off():
    golden = json.loads((GOLDEN_FOLDER / "trl.json").read_text("utf-8"))["templates"]["qwen3 enable_thinking=False"]
    chat = replace(family("qwen3"), arguments={"enable_thinking": False})
    for conversation, turns in CONVERSATIONS.items():
        assert rendered(chat, turns) == golden["prompts"][conversation]


def test_qwen3_keeps_the_thoughts_of_its_last_answer_alone():
    asked = [("user", "U"), ("assistant", "<think>\nT\n</think>\n\nA"), ("user", "V")]
    assert "T" not in rendered(family("qwen3"), asked)
    text = family("qwen3").render([{"role": r, "content": c} for r, c in asked[:2]], add_generation_prompt=False)
    assert text.endswith("<|im_start|>assistant\n<think>\nT\n</think>\n\nA<|im_end|>\n")


@pytest.mark.parametrize("adds_bos", [True, False], ids=["server adds BOS", "server adds none"])
@pytest.mark.parametrize("name", families())
def test_go_template_renders_every_conversation_that_the_jinja_takes(name, adds_bos):
    chat = family(name)
    go = go_template(chat, server_adds_bos=adds_bos)
    assert isinstance(go, GoTemplate), go
    for probe in PROBES:
        try:
            expected = chat.render(probe.messages)
        except TemplateRefused:
            assert name in ("gemma", "gemma2")
            continue
        got = simulate(go.text, probe.messages)
        assert got == (expected.removeprefix(chat.bos_token or "") if adds_bos else expected)


@pytest.mark.parametrize("name", families())
def test_go_template_survives_the_modelfile(name):
    go = go_template(family(name))
    assert isinstance(go, GoTemplate)
    stops = pieces_stops(go.pieces, family(name).bos_token)
    modelfile = Modelfile("./model.gguf", template=go.text, parameters=tuple(("stop", stop) for stop in stops))
    assert not_carried(modelfile) == ()
    assert parse(render(modelfile)) == modelfile


STOPS = {
    "alpaca": ("</s>", "### Instruction:"),
    "chatglm3": ("<|user|>",),
    "deepseek-v2": ("<｜end▁of▁sentence｜>", "User:"),
    "gemma2": ("<end_of_turn>", "<start_of_turn>"),
    "llama2": ("</s>", "[INST]"),
    "llama3": ("<|eot_id|>", "<|start_header_id|>"),
    "phi4": ("<|im_end|>", "<|im_start|>"),
    "qwen2.5": ("<|im_end|>", "<|im_start|>"),
    "smollm2": ("<|im_end|>", "<|im_start|>"),
    "vicuna": ("</s>", "USER:"),
    "zephyr": ("</s>", "<|user|>"),
}


@pytest.mark.parametrize("name", sorted(STOPS))
def test_format_says_where_an_answer_ends(name):
    for adds_bos in (True, False):
        go = go_template(family(name), server_adds_bos=adds_bos)
        assert isinstance(go, GoTemplate)
        assert pieces_stops(go.pieces, family(name).bos_token) == STOPS[name]


def test_unknown_family_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        family("lama3")
    assert "llama3" in caught.value.hint
