"""Tiny bases in every form that users have, the run that was trained on them, a stand-in for Ollama's list."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from ggship.errors import ServerError
from ggship.runs import Run, read_run

REVISION = "abc123".ljust(40, "0")
NAMED = "org/Tiny-1B-Instruct"


@dataclass(frozen=True)
class Tiny:
    """Sizes of a llama: everything that shapes depend on."""

    layers: int = 2
    width: int = 16
    heads: int = 4
    kv_heads: int = 2
    inner: int = 24
    vocabulary: int = 40

    @property
    def kv(self) -> int:
        return self.width // self.heads * self.kv_heads

    def weights(self) -> dict[str, tuple[str, tuple[int, int]]]:
        """Hugging Face module -> (GGUF name, [out, in])."""
        found = {"model.embed_tokens": ("token_embd.weight", (self.vocabulary, self.width))}
        for block in range(self.layers):
            for module, name, shape in (
                ("self_attn.q_proj", "attn_q", (self.width, self.width)),
                ("self_attn.k_proj", "attn_k", (self.kv, self.width)),
                ("self_attn.v_proj", "attn_v", (self.kv, self.width)),
                ("self_attn.o_proj", "attn_output", (self.width, self.width)),
                ("mlp.gate_proj", "ffn_gate", (self.inner, self.width)),
                ("mlp.up_proj", "ffn_up", (self.inner, self.width)),
                ("mlp.down_proj", "ffn_down", (self.width, self.inner)),
            ):
                found[f"model.layers.{block}.{module}"] = (f"blk.{block}.{name}.weight", shape)
        return found


def header_bytes(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """A safetensors file of zeros."""
    sizes = {"F32": 4, "F16": 2, "BF16": 2}
    header, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        end = at + sizes[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


@dataclass
class Workshop:
    """Makes bases and runs below one directory."""

    root: Path

    def gguf(self, name: str = "tiny.gguf", tiny: Tiny = Tiny(), dtype: Any = np.float16, **keys: Any) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = gguf.GGUFWriter(path, keys.pop("arch", "llama"))
        writer.add_block_count(tiny.layers)
        writer.add_embedding_length(tiny.width)
        writer.add_head_count(tiny.heads)
        writer.add_head_count_kv(tiny.kv_heads)
        writer.add_feed_forward_length(tiny.inner)
        writer.add_token_list([f"t{number}" for number in range(200)])
        writer.add_chat_template("{% of the base %}")
        for key, value in keys.items():
            (writer.add_uint16 if isinstance(value, int) else writer.add_string)(key.replace("__", "."), value)
        for target, shape in tiny.weights().values():
            writer.add_tensor(target, np.zeros(shape, dtype=dtype))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def directory(self, name: str, tiny: Tiny = Tiny(), *, weights: bool = True, **config: Any) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        fields = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": tiny.width,
            "num_hidden_layers": tiny.layers,
            "num_attention_heads": tiny.heads,
            "num_key_value_heads": tiny.kv_heads,
            "intermediate_size": tiny.inner,
            "vocab_size": tiny.vocabulary,
            **config,
        }
        (path / "config.json").write_text(json.dumps(fields))
        (path / "chat_template.jinja").write_text("{% of the directory %}")
        if weights:
            tensors = {f"{module}.weight": ("BF16", shape) for module, (_, shape) in tiny.weights().items()}
            (path / "model.safetensors").write_bytes(header_bytes(tensors))
        return path

    def cache(self, repository: str, revision: str = REVISION, tiny: Tiny = Tiny(), **options: Any) -> Path:
        """A model in a Hugging Face cache at `hub/`, its files links to blobs as huggingface_hub makes them."""
        top = self.root / "hub" / f"models--{repository.replace('/', '--')}"
        made = self.directory(f"made-{repository.replace('/', '-')}", tiny, **options)
        snapshot = top / "snapshots" / revision
        for folder in (snapshot, top / "blobs", top / "refs"):
            folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(made.iterdir()):
            file.rename(top / "blobs" / file.name)
            (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
        made.rmdir()
        (top / "refs" / "main").write_text(revision)
        return snapshot

    def run(
        self, name: str = "work/lora-out", tiny: Tiny = Tiny(), modules: tuple[str, ...] = (), **config: Any
    ) -> Run:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        wanted = modules or tuple(module for module in tiny.weights() if "layers" in module)
        tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
        for module in wanted:
            out, width = tiny.weights()[module][1] if module in tiny.weights() else (tiny.vocabulary, tiny.width)
            stem = f"base_model.model.{module}"
            if module.endswith("embed_tokens"):
                tensors[f"{stem}.lora_embedding_A"] = ("F32", (4, out))
                tensors[f"{stem}.lora_embedding_B"] = ("F32", (width, 4))
                continue
            tensors[f"{stem}.lora_A.weight"] = ("F32", (4, width))
            tensors[f"{stem}.lora_B.weight"] = ("F32", (out, 4))
        (path / "adapter_model.safetensors").write_bytes(header_bytes(tensors))
        fields = {
            "peft_type": "LORA",
            "r": 4,
            "lora_alpha": 8,
            "base_model_name_or_path": NAMED,
            "target_modules": ["q_proj", "v_proj"],
            **config,
        }
        (path / "adapter_config.json").write_text(json.dumps(fields))
        return read_run(path)


@dataclass
class Shelf:
    """An Ollama server's list of models, as /api/tags and /api/show tell it. `modern` hides tensors unless verbose."""

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    local: bool = True
    modern: bool = False
    asked: list[tuple[str, bool]] = field(default_factory=list)

    def add(self, name: str, file: Path, blobs: Path, *, adapter: bool = False, **extra: Any) -> None:
        """Put a GGUF file on the shelf."""
        blob = blobs / ("sha256-" + f"{len(self.models):064x}")
        blobs.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(file.read_bytes())
        reader = gguf.GGUFReader(file)
        info: dict[str, Any] = {
            key: value.contents()
            for key, value in reader.fields.items()
            if "." in key and not key.startswith("GGUF.") and key not in ("general.name", "tokenizer.chat_template")
        }
        info["tokenizer.ggml.tokens"] = None
        self.models[name] = {
            "modelfile": f"# Modelfile\nFROM {blob}\n"
            + (f"ADAPTER {blob}\n" if adapter else "")
            + 'TEMPLATE """\nFROM /nowhere/sha256-'
            + "0" * 64
            + '\n"""\n',
            "template": "{{ .Prompt }}",
            "model_info": info,
            "tensors": [
                {"name": tensor.name, "type": tensor.tensor_type.name, "shape": [int(size) for size in tensor.shape]}
                for tensor in reader.tensors
            ],
            **extra,
        }

    def tags(self) -> list[str]:
        return list(self.models)

    def show(self, name: str, *, verbose: bool = False) -> dict[str, Any]:
        self.asked.append((name, verbose))
        if name not in self.models:
            raise ServerError(f"model '{name}' not found", status=404)
        shown = dict(self.models[name])
        if self.modern and not verbose:
            del shown["tensors"]
        return shown

    def is_local(self) -> bool:
        return self.local


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("GGSHIP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("GGSHIP_CACHE_DIR", str(tmp_path / "cache"))
    return Workshop(tmp_path)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def revision() -> str:
    """The commit of what lies in the cache."""
    return REVISION


@pytest.fixture
def tiny() -> type[Tiny]:
    return Tiny
