"""Files that were made to take all memory or all time are refused at once."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from . import strategies, trials


def text(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


LLAMA = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")


def gguf(path: Path, *pairs: bytes, tensors: int = 0, keys: int | None = None, hole: int = 0) -> Path:
    """A GGUF file of these metadata pairs, and a hole in the file after them: bytes that take no disk."""
    data = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(pairs) + 1 if keys is None else keys) + LLAMA + b"".join(pairs)
    data += bytes(-len(data) % 32)
    with path.open("wb") as file:
        file.write(data)
        file.truncate(len(data) + hole)
    return path


@pytest.mark.parametrize("blocks", [2**31, 2**63, 10**6])
def test_a_base_that_says_it_has_countless_blocks(blocks: int, tmp_path: Path) -> None:
    base = gguf(tmp_path / "b.gguf", text(b"llama.block_count") + struct.pack("<IQ", 10, blocks))
    assert trials.try_gguf(base, trials.write_run(tmp_path / "run", {})) == ""


def test_an_embedding_without_dimensions(tmp_path: Path) -> None:
    tensor = text(b"token_embd.weight") + struct.pack("<IIQ", 0, 0, 0)
    base = tmp_path / "b.gguf"
    data = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + LLAMA + tensor
    base.write_bytes(data + bytes(-len(data) % 32 + 4))
    assert trials.try_gguf(base, trials.write_run(tmp_path / "run", {})) == ""


def test_an_adapter_on_a_layer_far_beyond(tmp_path: Path) -> None:
    stem = "base_model.model.model.layers.999999999.self_attn.q_proj.lora_"
    entries = {
        f"{stem}{half}.weight": {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 256]}
        for half, shape, at in (("A", [4, 16], 0), ("B", [16, 4], 256))
    }
    run = trials.write_run(tmp_path / "run", {"adapter_model.safetensors": strategies.safetensors(entries, 512)})
    assert trials.try_run(run, gguf(tmp_path / "b.gguf")) == ""


@pytest.mark.parametrize(
    ("pair", "hole"),
    [
        (text(b"x") + struct.pack("<IQ", 8, 900 << 20), 901 << 20),
        (text(b"x") + struct.pack("<IIQ", 9, 8, 100_000_000), 801 << 20),
        (text(b"x") + struct.pack("<IIQ", 9, 0, 900 << 20), 901 << 20),
        (struct.pack("<Q", 900 << 20), 901 << 20),
    ],
    ids=["string", "strings", "bytes", "key"],
)
def test_metadata_without_end(pair: bytes, hole: int, tmp_path: Path) -> None:
    assert trials.try_gguf(gguf(tmp_path / "b.gguf", pair, hole=hole)) == "the GGUF file is damaged"


@pytest.mark.parametrize("counts", [{"keys": 10**7}, {"tensors": 10**7}])
def test_more_keys_and_tensors_than_any_model_has(counts: dict[str, int], tmp_path: Path) -> None:
    assert trials.try_gguf(gguf(tmp_path / "b.gguf", hole=900 << 20, **counts)) == "the GGUF file is damaged"


@pytest.mark.parametrize("entry", [b"{},", b"[],"])
def test_a_safetensors_header_of_nothing_but_brackets(entry: bytes, tmp_path: Path) -> None:
    header = b'{"a":[' + entry * 5_000_000 + b"{}]}"
    data = struct.pack("<Q", len(header)) + header
    assert trials.try_run(trials.write_run(tmp_path / "run", {"adapter_model.safetensors": data})) == "GS004"


def test_a_tensor_name_without_end(tmp_path: Path) -> None:
    name = "base_model.model.x" + ".base_layer" * 30_000
    data = strategies.safetensors({name: {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, 4)
    assert trials.try_run(trials.write_run(tmp_path / "run", {"adapter_model.safetensors": data})) == "GS004"


def test_settings_of_nothing_but_brackets(tmp_path: Path) -> None:
    data = b'{"a":[' + b"[]," * 3_000_000 + b"[]]}"
    assert trials.try_run(trials.write_run(tmp_path / "run", {"tokenizer_config.json": data})) == "GS006"


def test_patterns_without_end(tmp_path: Path) -> None:
    for patterns in ({f"q{number}.*": 4 for number in range(1000)}, {f"q{number}": 4 for number in range(30_000)}):
        config = json.dumps({**strategies.GOOD_CONFIG, "rank_pattern": patterns}).encode()
        assert trials.try_run(trials.write_run(tmp_path / "run", {"adapter_config.json": config})) == "GS101"


def test_a_log_without_end(tmp_path: Path) -> None:
    assert trials.try_run(trials.write_run(tmp_path / "run", {"trainer_log.jsonl": b"\n" * (16 << 20)})) == ""
