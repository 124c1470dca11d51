"""No file, however broken, ends in anything but a result or an error that says what, where and what next.

A few seconds of what `scripts/fuzz --minutes N` does for as long as one likes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggship.runs.config import _FIELDS, _REST

from . import strategies, trials

few = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WRONG = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "text",
    [],
    [1],
    ["a"],
    [[]],
    {},
    {"a": 1},
    {"a": "b"},
    {"a": [1]},
    {"(": 1},
]


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trials.write_base(tmp_path_factory.mktemp("base") / "base.gguf")


@given(config=strategies.configs())
@few
def test_configs(config: bytes, base: Path, tmp_path: Path) -> None:
    folder = trials.write_run(tmp_path / "run", {"adapter_config.json": config})
    trials.try_run(folder, base)


@given(tensors=strategies.tensors(), config=strategies.configs())
@few
def test_safetensors(tensors: bytes, config: bytes, base: Path, tmp_path: Path) -> None:
    files = {"adapter_model.safetensors": tensors, "adapter_config.json": config}
    trials.try_run(trials.write_run(tmp_path / "run", files), base)


@given(data=strategies.ggufs())
@few
def test_ggufs(data: bytes, tmp_path: Path) -> None:
    run = trials.write_run(tmp_path / "run", {})
    file = tmp_path / "base.gguf"
    file.write_bytes(data)
    trials.try_gguf(file, run)


@given(files=strategies.asides(), flags=st.sampled_from([(), ("--json",), ("--strict",)]))
@few
def test_files_beside_the_adapter(files: dict[str, bytes], flags: tuple[str, ...], tmp_path: Path) -> None:
    trials.try_inspect(trials.write_run(tmp_path / "run", files), *flags)


@pytest.mark.parametrize("field", sorted({*_FIELDS, *_REST}))
def test_every_field_with_every_wrong_type(field: str, base: Path, tmp_path: Path) -> None:
    for method in ("LORA", "LOHA"):
        for value in WRONG:
            config = {**strategies.GOOD_CONFIG, "peft_type": method, field: value}
            data = json.dumps(config).encode()
            trials.try_run(trials.write_run(tmp_path / "run", {"adapter_config.json": data}), base)


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "trainer_state.json"]
)
def test_files_cut_off_at_every_4_kib(name: str, tmp_path: Path) -> None:
    whole = {
        "adapter_model.safetensors": strategies.safetensors(
            {
                f"{strategies.Q}.lora_{half}.weight": {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 65536]}
                for half, shape, at in (("A", [4, 4096], 0), ("B", [4096, 4], 65536))
            },
            131072,
        ),
        "adapter_config.json": json.dumps({**strategies.GOOD_CONFIG, "loftq_config": {"x": "y" * 40000}}).encode(),
        "tokenizer.json": json.dumps({"added_tokens": [{"id": n, "content": f"<{n}>"} for n in range(2000)]}).encode(),
        "trainer_state.json": json.dumps(
            {"log_history": [{"step": n, "loss": 1 / n} for n in range(1, 2000)]}
        ).encode(),
    }
    data = whole[name]
    assert trials.try_run(trials.write_run(tmp_path / "run", whole)) == ""
    for size in range(0, len(data), 4096):
        problem = trials.try_run(trials.write_run(tmp_path / "run", {**whole, name: data[:size]}))
        assert bool(problem) == name.startswith("adapter"), f"{size} bytes: {problem}"


def test_gguf_cut_off_at_every_4_kib(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    file = tmp_path / "whole.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(2)
    writer.add_token_list([f"token-{number}" for number in range(4000)])
    for block in range(2):
        writer.add_tensor(f"blk.{block}.attn_q.weight", numpy.ones((128, 128), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = file.read_bytes()
    assert trials.try_gguf(file) == ""
    for size in range(0, len(data), 4096):
        (tmp_path / "cut.gguf").write_bytes(data[:size])
        assert trials.try_gguf(tmp_path / "cut.gguf"), size
