"""Fields of a wrong type are named, with their value and what they should be."""

from __future__ import annotations

import json

import pytest

from ggship.errors import BadFile, NotARun
from ggship.runs import read_run


@pytest.mark.parametrize(
    ("field", "value", "shown", "expected"),
    [
        ("r", "8", "'8' (a text)", "a whole number above 0"),
        ("r", 0, "0", "a whole number above 0"),
        ("r", -8, "-8", "a whole number above 0"),
        ("r", 8.0, "8.0", "a whole number above 0"),
        ("r", True, "True (true or false)", "a whole number above 0"),
        ("r", None, "null", "a whole number above 0"),
        ("lora_alpha", "16", "'16' (a text)", "a number"),
        ("lora_alpha", float("nan"), "nan", "a number"),
        ("lora_alpha", float("inf"), "inf", "a number"),
        ("lora_alpha", 10**400, "1000", "a number"),
        ("use_rslora", 1, "1 (a whole number)", "true or false or null"),
        ("use_rslora", "false", "'false'", "true or false"),
        ("alpha_pattern", {"q_proj": "4"}, "{'q_proj': '4'}", "an object of numbers"),
        ("rank_pattern", {"q_proj": 4.5}, "{'q_proj': 4.5}", "an object of whole numbers"),
        ("alpha_pattern", [1], "[1] (a list)", "an object of numbers"),
        ("modules_to_save", "lm_head", "'lm_head'", "a list of texts"),
        ("base_model_name_or_path", 3, "3", "a text or null"),
        ("peft_type", ["LORA"], "['LORA']", "a text"),
        ("target_parameters", [1], "[1]", "a list of texts"),
    ],
)
def test_wrong_types(field, value, shown, expected, run_maker):
    path = run_maker.adapter(**{field: value})
    with pytest.raises(BadFile) as caught:
        read_run(path)
    assert f"{field} should be {expected}" in caught.value.message
    assert f"{field} is {shown}" in caught.value.where
    assert str(path / "adapter_config.json") in caught.value.where


@pytest.mark.parametrize("field", ["r", "lora_alpha"])
def test_missing_fields(field, run_maker):
    with pytest.raises(BadFile, match=f"{field} is missing"):
        read_run(run_maker.adapter(**{field: ...}))


def test_a_config_without_a_kind(run_maker):
    with pytest.raises(BadFile, match="what kind of adapter"):
        read_run(run_maker.adapter(peft_type=...))


def test_a_pattern_that_is_no_regular_expression(run_maker):
    with pytest.raises(BadFile) as caught:
        read_run(run_maker.adapter(alpha_pattern={"(": 4}))
    assert "alpha_pattern" in caught.value.message


def test_broken_json_is_named_with_its_line(run_maker):
    path = run_maker.adapter()
    run_maker.write("adapter_config.json", '{\n  "r": 8,\n  "lora_')
    with pytest.raises(BadFile) as caught:
        read_run(path)
    assert caught.value.message == "adapter_config.json is not valid JSON"
    assert "line 3" in caught.value.where


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 100_000, b"[1]", b"", b"1" * 5000])
def test_other_damage_is_named(content, run_maker):
    path = run_maker.adapter()
    run_maker.write("adapter_config.json", content)
    with pytest.raises(BadFile, match=r"adapter_config\.json"):
        read_run(path)


def test_a_byte_order_mark_is_no_damage(run_maker):
    path = run_maker.adapter()
    text = json.dumps(run_maker.config).encode()
    run_maker.write("adapter_config.json", b"\xef\xbb\xbf" + text)
    assert read_run(path).modules


def test_weights_without_config(run_maker):
    path = run_maker.adapter()
    (path / "adapter_config.json").unlink()
    with pytest.raises(NotARun) as caught:
        read_run(path)
    assert "an adapter's weights, but no adapter_config.json" in caught.value.where
