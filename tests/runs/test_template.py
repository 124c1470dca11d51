"""The chat template comes from where transformers would read it."""

from __future__ import annotations

import pytest

from ggship.errors import BadFile
from ggship.runs import read_run


def test_no_tokenizer_saved(run_maker):
    run = read_run(run_maker.adapter())
    assert (run.tokenizer_files, run.tokenizer_dir, run.chat_template, run.chat_template_source) == ((), None, None, "")


def test_its_own_file_goes_before_the_config(run_maker):
    path = run_maker.adapter()
    run_maker.write("tokenizer_config.json", {"chat_template": "old"})
    run_maker.write("tokenizer.json", "{}")
    run_maker.write("chat_template.jinja", "{{ 'neu' }}\n")
    run = read_run(path)
    assert (run.chat_template, run.chat_template_source) == ("{{ 'neu' }}\n", "chat_template.jinja")
    assert run.tokenizer_files == ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")
    assert run.tokenizer_dir == path


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("你好 {{ x }}", "你好 {{ x }}"),
        ([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}], "d"),
        ([{"name": "only", "template": "o"}], "o"),
        ([{"name": "a", "template": "t"}, {"name": "b", "template": "d"}], None),
        (None, None),
    ],
)
def test_in_tokenizer_config(value, expected, run_maker):
    path = run_maker.adapter()
    run_maker.write("tokenizer_config.json", {"chat_template": value})
    assert read_run(path).chat_template == expected


@pytest.mark.parametrize("value", [3, {"a": 1}, "x" * (1 << 21), [{"name": "default", "template": 3}]])
def test_what_is_no_template_is_named(value, run_maker):
    path = run_maker.adapter()
    run_maker.write("tokenizer_config.json", {"chat_template": value})
    with pytest.raises(BadFile, match=r"tokenizer_config\.json: chat_template"):
        read_run(path)


def test_a_template_file_beyond_all_bounds(run_maker):
    path = run_maker.adapter()
    run_maker.write("chat_template.jinja", "x" * (1 << 21))
    with pytest.raises(BadFile, match="larger"):
        read_run(path)


def test_a_template_that_is_no_text(run_maker):
    path = run_maker.adapter()
    run_maker.write("chat_template.jinja", b"\xff\xfe")
    with pytest.raises(BadFile, match="not text"):
        read_run(path)


def test_the_checkpoints_own_tokenizer_goes_before_the_runs(run_maker):
    path = run_maker.adapter("checkpoint-3")
    run_maker.adapter()
    run_maker.write("chat_template.jinja", "of the run")
    run_maker.write("checkpoint-3/tokenizer_config.json", {"chat_template": "of the checkpoint"})
    run = read_run(path)
    assert run.chat_template == "of the checkpoint"
    assert run.tokenizer_dir == path
