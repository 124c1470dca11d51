"""The native converter writes what llama.cpp's own does, byte for byte, on adapters of every architecture it knows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggship.bases.model import Base
from ggship.convert import convert_adapter
from ggship.convert.vendored import vendored_llama_cpp
from ggship.runs import read_run

pytestmark = pytest.mark.hf

SMALL = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LINEAR = {"target_modules": "all-linear"}
# case -> (GGUF architecture, transformers' model type, its config, PEFT's config)
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("llama", "llama", {}, LINEAR),
    "llama-head-and-embedding": (
        "llama",
        "llama",
        {"tie_word_embeddings": False},
        {"target_modules": ["q_proj", "k_proj", "embed_tokens", "lm_head"]},
    ),
    "llama-ranks": ("llama", "llama", {"head_dim": 32}, {**LINEAR, "rank_pattern": {"q_proj": 2, "down_proj": 8}}),
    "mistral": ("llama", "mistral", {"sliding_window": 64}, LINEAR),
    "qwen2": ("qwen2", "qwen2", {"tie_word_embeddings": False}, LINEAR),
    "qwen3": ("qwen3", "qwen3", {"head_dim": 24}, LINEAR),
    "gemma": ("gemma", "gemma", {"head_dim": 16}, LINEAR),
    "gemma2": ("gemma2", "gemma2", {"head_dim": 16}, LINEAR),
    "gemma3": ("gemma3", "gemma3_text", {"head_dim": 16}, LINEAR),
    "phi3": ("phi3", "phi3", {}, LINEAR),
    "glm": ("chatglm", "glm", {"head_dim": 16}, LINEAR),
    "glm4": ("glm4", "glm4", {"head_dim": 16}, LINEAR),
    "chatglm3": ("chatglm", "chatglm", {}, {}),
}
OUTTYPES = ("f32", "f16", "bf16")
STORED = ("float32", "bfloat16", "float16", "mixed")

# One process for all: the script itself, as `python convert_lora_to_gguf.py ...` runs it, with torch imported once.
RUN_SCRIPT_OFTEN = """
import json, runpy, sys
script, jobs = sys.argv[1], json.load(open(sys.argv[2]))
sys.path.insert(0, script.rpartition("/")[0])
for job in jobs:
    sys.argv = [script, *job]
    runpy.run_path(script, run_name="__main__")
"""


CARD = """---
base_model: some-org/ChatGLM3-6B
license: apache-2.0
library_name: peft
pipeline_tag: text-generation
datasets:
- some-org/law-questions
language:
- zh
- no
tags: [lora, llama-factory]
---
# A model card
"""


def stored_type(name: str, stored: str) -> Any:
    import torch

    return getattr(torch, ("float32" if "lora_A" in name else "bfloat16") if stored == "mixed" else stored)


def train_tiny(model_type: str, config: Mapping[str, Any], peft: Mapping[str, Any], stored: str, folder: Path) -> None:
    """A random model with a random adapter, saved as training saves it: folder/base and folder/law-lora-1B."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    base_config = AutoConfig.for_model(model_type, **{**SMALL, **config})
    model = AutoModelForCausalLM.from_config(base_config)
    base_config.architectures = [type(model).__name__]
    base_config.save_pretrained(folder / "base")
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=6, task_type="CAUSAL_LM", **peft))
    for name, weight in tuned.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn_like(weight).to(stored_type(name, stored))
    tuned.save_pretrained(folder / "law-lora-1B")


def write_chatglm3(stored: str, folder: Path) -> None:
    """ChatGLM3 is remote code, in no release of transformers: its config.json and its adapter, by hand."""
    import torch
    from safetensors.torch import save_file

    base, run = folder / "base", folder / "law-lora-1B"
    base.mkdir(parents=True)
    run.mkdir()
    config = {
        "architectures": ["ChatGLMModel"],
        "model_type": "chatglm",
        "auto_map": {"AutoConfig": "configuration_chatglm.ChatGLMConfig"},
        "num_layers": 2,
        "hidden_size": 64,
        "ffn_hidden_size": 96,
        "num_attention_heads": 4,
        "multi_query_group_num": 2,
        "padded_vocab_size": 96,
        "seq_length": 128,
    }
    (base / "config.json").write_text(json.dumps(config))
    (run / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 6, "bias": "none"})
    )
    (run / "README.md").write_text(CARD)
    (run / "generation_config.json").write_text(json.dumps({"temperature": 0.5, "top_k": 7, "repetition_penalty": 1.1}))
    torch.manual_seed(0)
    shapes = {
        "self_attention.query_key_value": (128, 64),
        "self_attention.dense": (64, 64),
        "mlp.dense_h_to_4h": (192, 64),
        "mlp.dense_4h_to_h": (64, 96),
    }
    tensors = {}
    for block in range(2):
        for name, (rows, columns) in shapes.items():
            module = f"base_model.model.transformer.encoder.layers.{block}.{name}"
            tensors[f"{module}.lora_A.weight"] = torch.randn(4, columns).to(stored_type("lora_A", stored))
            tensors[f"{module}.lora_B.weight"] = torch.randn(rows, 4).to(stored_type("lora_B", stored))
    save_file(tensors, run / "adapter_model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """(case, outtype) -> its folder: base/, law-lora-1B/ and vendored-OUTTYPE.gguf, made by llama.cpp's script."""
    root = tmp_path_factory.mktemp("parity")
    jobs = []
    for number, (case, (_, model_type, config, peft)) in enumerate(CASES.items()):
        folder, stored = root / case, STORED[number % len(STORED)]
        if model_type == "chatglm":
            write_chatglm3(stored, folder)
        else:
            train_tiny(model_type, config, peft, stored, folder)
        for outtype in OUTTYPES:
            out = folder / f"vendored-{outtype}.gguf"
            arguments = ["--base", folder / "base", "--outtype", outtype, "--outfile", out, folder / "law-lora-1B"]
            jobs.append([str(argument) for argument in arguments])
    (root / "jobs.json").write_text(json.dumps(jobs))
    script = vendored_llama_cpp() / "convert_lora_to_gguf.py"
    done = subprocess.run(
        [sys.executable, "-c", RUN_SCRIPT_OFTEN, str(script), str(root / "jobs.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return lambda case, outtype: root / case / f"vendored-{outtype}.gguf"


def content(path: Path) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    from gguf import GGUFReader

    reader = GGUFReader(path)
    fields = {name: (field.types, field.contents()) for name, field in reader.fields.items()}
    tensors = {t.name: (t.tensor_type, tuple(t.shape), np.asarray(t.data).tobytes()) for t in reader.tensors}
    return fields, tensors


@pytest.mark.parametrize("outtype", OUTTYPES)
@pytest.mark.parametrize("case", CASES)
def test_the_native_file_is_what_llama_cpp_writes(
    case: str, outtype: str, converted: Callable[[str, str], Path], tmp_path: Path
) -> None:
    vendored = converted(case, outtype)
    base = Base(ref="base", architecture=CASES[case][0], found="made here", config_dir=vendored.parent / "base")
    run = read_run(vendored.parent / "law-lora-1B")

    result = convert_adapter(run, tmp_path / "a.gguf", base=base, outtype=outtype)

    fields, tensors = content(tmp_path / "a.gguf")
    fields_theirs, tensors_theirs = content(vendored)
    assert result.converter == "native"
    assert result.pairs == len(run.modules)
    assert list(fields.items()) == list(fields_theirs.items())
    assert tensors == tensors_theirs
    assert (tmp_path / "a.gguf").read_bytes() == vendored.read_bytes()
