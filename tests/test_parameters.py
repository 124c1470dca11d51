"""Parameters of the served model are those that training and base recorded, each with its source, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ggship.bases.model import Base
from ggship.errors import BadFile, UsageError
from ggship.parameters import Parameters, plan_parameters
from ggship.runs.model import Run
from ggship.runs.training import Setting, Training


@pytest.fixture
def planned(tmp_path: Path):
    """What is planned for a run and a base of which this is known."""

    def plan(*wanted: str, length: Any = None, run: Any = None, base: Any = None, **metadata: Any) -> Parameters:
        for name, config in (("run", run), ("base", base)):
            (tmp_path / name).mkdir(exist_ok=True)
            if config is not None:
                text = config if isinstance(config, str) else json.dumps(config)
                (tmp_path / name / "generation_config.json").write_text(text)
        training = Training((Setting("sequence_length", length, "args.json"),) if length is not None else ())
        folder = tmp_path / "run"
        read = Run(
            root=folder, path=folder, chosen="the run itself", config={}, tensors={}, modules=(), unexpressed=(),
            checkpoints=(), trainer=None, tokenizer_files=(), chat_template=None, chat_template_source="",
            base_named="", base_revision="", training=training,
        )  # fmt: skip
        values = {key.replace("__", "."): value for key, value in metadata.items()}
        found = Base("b.gguf", "llama", "named", config_dir=tmp_path / "base", metadata=values)
        return plan_parameters(read, found, wanted)

    return plan


def values(planned: Parameters) -> dict[str, Any]:
    return {item.name: item.value for item in planned.given}


def test_nothing_recorded_is_nothing_set(planned):
    assert planned() == Parameters()
    assert planned(base={"bos_token_id": 1, "eos_token_id": 2, "max_new_tokens": 512, "do_sample": True}).given == ()


def test_the_runs_generation_config_before_the_bases_each_with_its_source(planned):
    config = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1.05}
    of_base = planned(base=config)
    assert values(of_base) == {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "repeat_penalty": 1.05}
    assert of_base.given[0].source == "generation_config.json of the base: temperature"
    of_run = planned(run={"temperature": 0.1, "do_sample": True}, base=config)
    assert values(of_run) == {"temperature": 0.1}
    assert of_run.reasons() == (("temperature", "0.1: generation_config.json of the run: temperature"),)


def test_greedy_where_it_was_said_to_be_greedy(planned):
    said = planned(base={"do_sample": False, "temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.1})
    assert values(said) == {"temperature": 0.0, "repeat_penalty": 1.1}
    assert "do_sample is false" in said.given[0].source


def test_numbers_that_transformers_never_used_are_left_out_and_said(planned):
    said = planned(base={"temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.1})
    assert values(said) == {"repeat_penalty": 1.1}
    assert "temperature, top_p without do_sample" in said.notes[0]
    assert planned(base={"do_sample": None, "repetition_penalty": 1.1}).notes == ()


def test_what_a_gguf_kept_is_read_as_it_was_written(planned):
    kept = planned(general__sampling__temp=0.6000000238418579, general__sampling__top_k=20)
    assert values(kept) == {"temperature": 0.6, "top_k": 20}


@pytest.mark.parametrize("value", ["hot", True, -1, 1e99, [0.5], {"a": 1}])
def test_what_is_no_value_is_left_out_and_said(planned, value):
    odd = planned(base={"temperature": value, "top_k": 5, "do_sample": True})
    assert values(odd) == {"top_k": 5}
    assert "left out" in odd.notes[0]


def test_a_damaged_file_is_an_error(planned):
    with pytest.raises(BadFile):
        planned(run="{")


@pytest.mark.parametrize(
    ("length", "own", "num_ctx"),
    [(8192, 32768, 8192), (2048, 32768, 4096), (4096, None, 4096), (512, 2048, 2048), (8192, 4096, 8192)],
)
def test_the_context_is_at_least_that_of_training(planned, length, own, num_ctx):
    metadata = {"llama__context_length": own} if own else {}
    planned_so = planned(length=length, **metadata)
    assert values(planned_so) == {"num_ctx": num_ctx}
    assert num_ctx >= length
    assert f"training cut at {length:,} tokens (args.json)" in planned_so.given[0].source
    assert bool(planned_so.notes) == (own is not None and own < length)


@pytest.mark.parametrize("length", ["2048", 0, -1, True, 1.5])
def test_a_length_that_is_none_sets_nothing(planned, length):
    assert planned(length=length) == Parameters()


def test_what_the_user_says_comes_first(planned):
    asked = planned(
        "temperature=0.2", "num_ctx=1024", "stop=User:", "stop= ", "num_ctx=2048", length=8192, base={"temperature": 1}
    )
    assert asked.pairs(("</s>",)) == (
        ("stop", "</s>"),
        ("stop", "User:"),
        ("stop", " "),
        ("temperature", 0.2),
        ("num_ctx", 2048),
    )
    assert "num_ctx 2048, as you asked, is less than 8192" in asked.notes[0]


@pytest.mark.parametrize("text", ["temperature", "temprature=1", "num_ctx=4k", "mirostat=1", "=1"])
def test_what_is_no_parameter_is_refused_before_any_work(planned, text):
    with pytest.raises(UsageError):
        planned(text)
