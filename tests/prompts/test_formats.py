"""Every format that a trainer knows by name is rendered as that trainer renders it: its own texts, recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ggship.errors import BadFile
from ggship.prompts import GoTemplate, go_template
from ggship.prompts.formats import format_names, trainer_format

GOLDEN = Path(__file__).parent.parent / "data" / "prompts"
TRAINERS = {"LLaMA-Factory": "llamafactory", "ms-swift": "ms-swift", "torchtune": "torchtune"}
TEXTS = {"S": "Qs1", "U": "Qu1", "A": "Qa1", "V": "Qu2"}
CONVERSATIONS = {
    "alone": [("user", "Qu1")],
    "system": [("system", "Qs1"), ("user", "Qu1")],
    "turns": [("user", "Qu1"), ("assistant", "Qa1"), ("user", "Qu2")],
    "all": [("system", "Qs1"), ("user", "Qu1"), ("assistant", "Qa1"), ("user", "Qu2")],
    "spaces": [("user", "\n Qu1 \n")],
    "answered": [("user", "Qu1"), ("assistant", "Qa1")],
}


def rendered(chat, turns):
    messages = [{"role": role, "content": content} for role, content in turns]
    try:
        return chat.render(messages, add_generation_prompt=turns[-1][0] == "user")
    except BadFile:
        return None


# A Go TEMPLATE cannot say the system text again at every question.
REPEATS = ("llama2_tokenizer", "llama2_tokenizer+alpaca")


def test_torchtunes_formats_go_into_a_template_of_ollamas():
    for name in format_names("torchtune"):
        chat = replace(trainer_format("torchtune", name), bos_token="<s>", eos_token="</s>")
        repeats = name in REPEATS or "Llama2ChatTemplate" in name
        assert isinstance(go_template(chat), GoTemplate) != repeats, name


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_format_gives_what_its_trainer_gives(trainer):
    recorded = json.loads((GOLDEN / f"{TRAINERS[trainer]}.json").read_text("utf-8"))["templates"]
    for name in format_names(trainer):
        chat = replace(trainer_format(trainer, name), bos_token="⟨bos⟩", eos_token=recorded[name]["eos"])
        for conversation, turns in CONVERSATIONS.items():
            assert rendered(chat, turns) == recorded[name]["prompts"][conversation], (name, conversation)
