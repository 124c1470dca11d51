"""The prompt of training, its special tokens and its stops are found where training left them."""

from __future__ import annotations

import json

import pytest

from ggship.errors import BadFile, UsageError
from ggship.prompts import (
    ChatTemplate,
    family,
    special_tokens,
    stop_strings,
    training_prompt,
)
from ggship.prompts.training import named_prompt

SMOLLM = family("smollm2")
NAMES = {0: "<|endoftext|>", 1: "<|im_start|>", 2: "<|im_end|>"}
IDS = {"bos_token_id": 1, "eos_token_id": 2}


def test_the_template_of_the_run_goes_before_the_one_of_the_base(make_run, make_base):
    run = make_run("{{ 'run' }}", tokenizer_config={"bos_token": "<s>", "eos_token": {"content": "</s>"}})
    chat = training_prompt(run, make_base(SMOLLM.text, **IDS), NAMES)
    assert chat is not None
    assert (chat.text, chat.bos_token, chat.eos_token) == ("{{ 'run' }}", "<s>", "</s>")
    assert chat.source == "chat_template.jinja of the run"


def test_a_template_that_is_the_same_as_the_base_says_so(make_run, make_base):
    chat = training_prompt(make_run(SMOLLM.text), make_base(SMOLLM.text, **IDS), NAMES)
    assert chat is not None
    assert "the same as the base's" in chat.source


def test_without_one_in_the_run_it_is_the_base_with_its_own_tokens(make_run, make_base):
    chat = training_prompt(make_run(), make_base(SMOLLM.text, **IDS), NAMES)
    assert chat is not None
    assert (chat.text, chat.bos_token, chat.eos_token) == (SMOLLM.text, "<|im_start|>", "<|im_end|>")
    assert "ollama:smollm2:135m" in chat.source


def test_with_none_anywhere_there_is_none(make_run, make_base):
    assert training_prompt(make_run(), make_base(**IDS), NAMES) is None


def test_tokens_may_be_named_by_a_function_or_not_at_all(make_run, make_base):
    run, base = make_run(), make_base(SMOLLM.text, **IDS)
    assert special_tokens(run, base, NAMES.get).eos == "<|im_end|>"
    nameless = special_tokens(run, base)
    assert (nameless.bos, nameless.eos, nameless.ends) == (None, None, ())


def test_a_tokenizer_without_bos_has_none_whatever_the_base_says(make_run, make_base):
    run = make_run(tokenizer_config={"bos_token": None, "eos_token": "<|im_end|>"})
    assert special_tokens(run, make_base(**IDS), NAMES).bos is None


def test_the_base_directory_is_read_where_the_run_has_no_tokenizer(make_run, make_base, tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "special_tokens_map.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}), "utf-8")
    assert special_tokens(make_run(), make_base(config_dir=folder)).eos == "</s>"


def test_a_damaged_tokenizer_file_is_named(make_run, make_base):
    run = make_run(tokenizer_config={})
    (run.path / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(BadFile) as caught:
        special_tokens(run, make_base())
    assert "tokenizer_config.json" in str(caught.value)


def test_stops_of_smollm2(make_run, make_base):
    run, base = make_run(), make_base(SMOLLM.text, **IDS)
    chat = training_prompt(run, base, NAMES)
    assert chat is not None
    assert stop_strings(run, base, chat, NAMES) == ("<|im_end|>", "<|im_start|>")


@pytest.mark.parametrize("where", ["tokenizer_config", "added_tokens", "tokenizer"])
def test_every_end_of_generation_config_is_a_stop_by_its_name(make_run, make_base, where):
    listed = {
        "tokenizer_config": {
            "added_tokens_decoder": {"7": {"content": "<|observation|>"}, "8": {"content": "<|user|>"}}
        },
        "added_tokens": {"<|observation|>": 7, "<|user|>": 8},
        "tokenizer": {"added_tokens": [{"id": 7, "content": "<|observation|>"}, {"id": 8, "content": "<|user|>"}]},
    }[where]
    files = {"generation_config": {"eos_token_id": [2, 8, 7, 99]}, where: listed}
    run, base = make_run(**files), make_base(eos_token_id=2)
    stops = stop_strings(run, base, family("chatglm3"), {2: "</s>"})
    assert set(stops) == {"</s>", "<|user|>", "<|observation|>"}
    assert len(stops) == 3


def test_plain_text_formats_stop_at_the_next_question(make_run, make_base):
    run = make_run(tokenizer_config={"eos_token": "</s>"})
    assert stop_strings(run, make_base(), family("alpaca")) == ("</s>", "### Instruction:")
    assert stop_strings(run, make_base(), family("vicuna")) == ("</s>", "USER:")


@pytest.mark.parametrize(
    ("before", "after", "end", "stops"),
    [
        ("User\n", "\nAssistant\n", "</s>\n", {"</s>", "\nUser\n"}),  # an answer may hold the word
        ("User ", "\nAssistant ", "</s>\n", {"</s>", "\nUser"}),
        ("User ", " Assistant ", "</s>", {"</s>"}),
        ("User: ", " Assistant: ", "</s>", {"</s>", "User:"}),
    ],
)
def test_a_heading_of_plain_words_stops_only_where_it_stands_as_one(make_run, make_base, before, after, end, stops):
    asked = f"{{{{ {before!r} + m.content + {after!r} }}}}"
    text = f"{{% for m in messages %}}{{% if m.role == 'user' %}}{asked}{{% else %}}{{{{ m.content + {end!r} }}}}"
    chat = ChatTemplate(f"{text}{{% endif %}}{{% endfor %}}", eos_token="</s>")
    assert set(stop_strings(make_run(tokenizer_config={"eos_token": "</s>"}), make_base(), chat)) == stops


def test_no_stop_is_empty_white_space_or_twice(make_run, make_base):
    turn = "{{ '\\n' }}{{ m.content }}{{ ' \\n' }}"
    plain = ChatTemplate("{% for m in messages %}" + turn + "{% endfor %}", eos_token="\n")
    run = make_run(generation_config={"eos_token_id": [0, 1, 1]})
    assert stop_strings(run, make_base(), plain, {0: "", 1: "<e>"}) == ("<e>",)


def test_a_template_without_a_pattern_still_stops_at_eos(make_run, make_base):
    run = make_run(tokenizer_config={"eos_token": "</s>"})
    upper = ChatTemplate("{% for m in messages %}{{ m.content | upper }}{% endfor %}", eos_token="</s>")
    assert stop_strings(run, make_base(), upper) == ("</s>",)


@pytest.mark.parametrize("eos", ["<|im_end|>", None])
def test_a_family_is_named_in_place_of_a_file(make_run, make_base, tmp_path, monkeypatch, eos):
    monkeypatch.chdir(tmp_path)
    run = make_run("{{ 'run' }}", **({"tokenizer_config": {"eos_token": eos}} if eos else {}))
    chat = named_prompt("alpaca", run, make_base())
    assert chat.text == family("alpaca").text
    assert chat.source == "the alpaca family"
    assert chat.eos_token == (eos or family("alpaca").eos_token)


def test_a_file_of_that_name_goes_before_the_family(make_run, make_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chatml").write_text("{{ 'mine' }}", "utf-8")
    assert named_prompt("chatml", make_run(), make_base()).text == "{{ 'mine' }}"


@pytest.mark.parametrize(("ref", "hint"), [("lama3", "llama3"), ("none.jinja", "chatml"), ("no/chatml", "chatml")])
def test_a_template_that_is_nowhere_is_an_error_with_what_there_is(make_run, make_base, ref, hint):
    with pytest.raises(UsageError) as caught:
        named_prompt(ref, make_run(), make_base())
    assert hint in caught.value.hint
    assert ref in str(caught.value)
