"""Names of one model are found alike, names of its relatives are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.bases.likeness import likeness, repository_of, tells_a_model, unquantized


@pytest.mark.parametrize(
    ("named", "candidate"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", ["qwen2.5:7b-instruct-q4_K_M"]),
        ("Qwen/Qwen2.5-7B-Instruct", ["qwen2.5:7b"]),
        ("Qwen/Qwen2.5-7B-Instruct", ["Qwen2.5-7B-Instruct-GGUF:Q4_K_M"]),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", ["smollm2:135m", "Smollm2 135M 8k Lc100K Mix1 Ep2", "smollm2 135M"]),
        ("/data/models/chatglm3-6b", ["chatglm3:6b"]),
        ("unsloth/Qwen3-4B-unsloth-bnb-4bit", ["qwen3:4b"]),
        ("meta-llama/Llama-3.2-1B-Instruct", ["llama3.2:1b-instruct-fp16"]),
    ],
)
def test_alike(named, candidate):
    assert likeness(named, *candidate) >= 0.5


@pytest.mark.parametrize(
    ("named", "candidate"),
    [
        ("Qwen/Qwen2.5-7B", ["qwen2.5:7b-instruct"]),
        ("Qwen/Qwen2.5-7B-Instruct", ["qwen2.5-coder:7b"]),
        ("Qwen/Qwen2.5-7B-Instruct", ["deepseek-r1:7b", "DeepSeek R1 Distill Qwen 7B"]),
        ("Qwen/Qwen2.5-Coder-7B", ["qwen2.5:7b"]),
        ("meta-llama/Llama-3.1-8B-Instruct", ["hermes3:8b"]),
        ("Qwen/Qwen2.5-7B-Instruct", ["qwen2.5:7b-base"]),
        ("org/name-1b", [""]),
        ("", ["qwen2.5:7b"]),
    ],
)
def test_not_alike(named, candidate):
    assert likeness(named, *candidate) < 0.5


@given(st.text(alphabet="abcXYZ019.-_", min_size=1, max_size=30), st.text(max_size=30))
def test_laws(name, other):
    value = likeness(name, other)
    assert 0 <= value <= 1
    if likeness(name, name):
        assert likeness(name, name) == 1 >= value


@pytest.mark.parametrize(
    ("named", "repository"),
    [
        ("Qwen/Qwen2.5-7B", ("Qwen/Qwen2.5-7B", "")),
        ("/x/hub/models--Qwen--Qwen2.5-7B/snapshots/abc", ("Qwen/Qwen2.5-7B", "abc")),
        ("/x/hub/models--Qwen--Qwen2.5-7B/snapshots/abc/", ("Qwen/Qwen2.5-7B", "abc")),
        ("/root/.cache/modelscope/hub/Qwen/Qwen2___5-7B-Instruct", ("Qwen/Qwen2.5-7B-Instruct", "")),
        (r"C:\cache\modelscope\hub\models\Qwen\Qwen2___5-7B", ("Qwen/Qwen2.5-7B", "")),
        ("/root/models/qwen", ("", "")),
        ("./models/qwen", ("", "")),
        ("../qwen", ("", "")),
        ("qwen", ("", "")),
        ("", ("", "")),
    ],
)
def test_repository_of(named, repository):
    assert repository_of(named) == repository


def test_unquantized():
    assert unquantized("unsloth/Qwen3-4B-unsloth-bnb-4bit") == "unsloth/Qwen3-4B"
    assert unquantized("unsloth/llama-3-8b-bnb-4bit") == "unsloth/llama-3-8b"
    assert unquantized("Qwen/Qwen3-4B") == "Qwen/Qwen3-4B"


def test_tells_a_model():
    assert tells_a_model("/data/chatglm3-6b")
    assert not tells_a_model("/root/autodl-tmp/model")
    assert not tells_a_model("./base_model")
