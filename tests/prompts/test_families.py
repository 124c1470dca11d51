"""Every family renders as its definer does, and its Go TEMPLATE as its Jinja does."""

from __future__ import annotations

import pytest

from ggship.errors import UsageError
from ggship.modelfile import Modelfile, not_carried, parse, render
from ggship.prompts import PROBES, GoTemplate, TemplateRefused, families, family, go_template, simulate
from ggship.prompts.stops import pieces_stops

VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
BELOW = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
UNSLOTH = (
    "Below are some instructions that describe some tasks. Write responses that appropriately complete each request."
)

# S, U, A, V are the texts of system, first question, answer and second question. With system, then without it.
GOLDEN: dict[str, tuple[str | None, str]] = {
    "alpaca": (
        "S\n\n### Instruction:\nU\n\n### Response:\nA</s>\n\n### Instruction:\nV\n\n### Response:\n",
        BELOW + "\n\n### Instruction:\nU\n\n### Response:\n",
    ),
    "alpaca-stanford": (
        "S\n\n### Instruction:\nU\n\n### Response:A</s>\n\n### Instruction:\nV\n\n### Response:",
        BELOW + "\n\n### Instruction:\nU\n\n### Response:",
    ),
    "alpaca-unsloth": (
        "S\n\n### Instruction:\nU\n\n### Response:\nA</s>\n\n### Instruction:\nV\n\n### Response:\n",
        UNSLOTH + "\n\n### Instruction:\nU\n\n### Response:\n",
    ),
    "chatglm3": (
        "[gMASK]sop<|system|>\n S<|user|>\n U<|assistant|>\n A<|user|>\n V<|assistant|>",
        "[gMASK]sop<|user|>\n U<|assistant|>",
    ),
    "chatml": (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
        "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n",
    ),
    "deepseek-v2": (
        "<｜begin▁of▁sentence｜>S\n\nUser: U\n\nAssistant: A<｜end▁of▁sentence｜>User: V\n\nAssistant:",
        "<｜begin▁of▁sentence｜>User: U\n\nAssistant:",
    ),
    "deepseek-v3": (
        "<｜begin▁of▁sentence｜>S<｜User｜>U<｜Assistant｜>A<｜end▁of▁sentence｜><｜User｜>V<｜Assistant｜>",
        "<｜begin▁of▁sentence｜><｜User｜>U<｜Assistant｜>",
    ),
    "gemma2": (None, "<bos><start_of_turn>user\nU<end_of_turn>\n<start_of_turn>model\n"),
    "gemma3": (
        "<bos><start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"
        "<start_of_turn>user\nV<end_of_turn>\n<start_of_turn>model\n",
        "<bos><start_of_turn>user\nU<end_of_turn>\n<start_of_turn>model\n",
    ),
    "glm4": (
        "[gMASK]<sop><|system|>\nS<|user|>\nU<|assistant|>\nA<|user|>\nV<|assistant|>\n",
        "[gMASK]<sop><|user|>\nU<|assistant|>\n",
    ),
    "llama2": (
        "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST] A </s><s>[INST] V [/INST]",
        "<s>[INST] U [/INST]",
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "mistral-v1": ("<s> [INST] S\n\nU [/INST] A</s> [INST] V [/INST]", "<s> [INST] U [/INST]"),
    "mistral-v3": ("<s>[INST] U[/INST] A</s>[INST] S\n\nV[/INST]", "<s>[INST] U[/INST]"),
    "mistral-v3-tekken": ("<s>[INST]U[/INST]A</s>[INST]S\n\nV[/INST]", "<s>[INST]U[/INST]"),
    "mistral-v7": (
        "<s>[SYSTEM_PROMPT] S[/SYSTEM_PROMPT][INST] U[/INST] A</s>[INST] V[/INST]",
        "<s>[INST] U[/INST]",
    ),
    "phi3": (
        "<|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nV<|end|>\n<|assistant|>\n",
        "<|user|>\nU<|end|>\n<|assistant|>\n",
    ),
    "phi4": (
        "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>U<|im_end|>"
        "<|im_start|>assistant<|im_sep|>A<|im_end|><|im_start|>user<|im_sep|>V<|im_end|><|im_start|>assistant<|im_sep|>",
        "<|im_start|>user<|im_sep|>U<|im_end|><|im_start|>assistant<|im_sep|>",
    ),
    "phi4-mini": (
        "<|system|>S<|end|><|user|>U<|end|><|assistant|>A<|end|><|user|>V<|end|><|assistant|>",
        "<|user|>U<|end|><|assistant|>",
    ),
    "qwen2.5": (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
        "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n",
    ),
    "smollm2": (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
        "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n",
    ),
    "vicuna": ("S USER: U ASSISTANT: A</s>USER: V ASSISTANT:", VICUNA + " USER: U ASSISTANT:"),
    "zephyr": (
        "<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\nA</s>\n<|user|>\nV</s>\n<|assistant|>\n",
        "<|user|>\nU</s>\n<|assistant|>\n",
    ),
}
WITH_SYSTEM = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U"},
    {"role": "assistant", "content": "A"},
    {"role": "user", "content": "V"},
]
ALONE = [{"role": "user", "content": "U"}]


def test_every_family_has_its_golden_text():
    assert set(GOLDEN) == set(families())


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_renders_as_its_definer_does(name):
    with_system, alone = GOLDEN[name]
    assert family(name).render(ALONE) == alone
    if with_system is not None:
        assert family(name).render(WITH_SYSTEM) == with_system


@pytest.mark.parametrize("adds_bos", [True, False], ids=["server adds BOS", "server adds none"])
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_go_template_renders_every_conversation_that_the_jinja_takes(name, adds_bos):
    chat = family(name)
    go = go_template(chat, server_adds_bos=adds_bos)
    assert isinstance(go, GoTemplate), go
    for probe in PROBES:
        try:
            expected = chat.render(probe.messages)
        except TemplateRefused:
            assert name == "gemma2"
            continue
        got = simulate(go.text, probe.messages)
        assert got == (expected.removeprefix(chat.bos_token or "") if adds_bos else expected)


@pytest.mark.parametrize("name", sorted(GOLDEN))
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
