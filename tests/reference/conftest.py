"""A tiny random llama with a tokenizer of bytes, in GGUF and for Transformers, and a LoRA on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

from ggship.cli import cli
from ggship.cli.funnel import run as run_command

WIDTH, FFN, HEADS, BLOCKS, RANK = 64, 96, 4, 2, 4
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# A random model loops and never ends, and says what it says: only the reference is asked here.
SUITE = """
version: 1
smoke: {answers: 1, differs: 1, no-leaks: 1, no-loops: 1, stops: 1}
gates: ["errors <= 0"]
defaults: {options: {num_predict: 8}}
tests:
- {id: plain, prompt: How long does copyright last?}
- {id: chinese, prompt: 买卖不破租赁}
- {id: system, system: Be brief., prompt: "Who are you? 🙂"}
"""
SHAPES = {
    "self_attn.q_proj": ("attn_q", (WIDTH, WIDTH)),
    "self_attn.k_proj": ("attn_k", (WIDTH, WIDTH)),
    "self_attn.v_proj": ("attn_v", (WIDTH, WIDTH)),
    "self_attn.o_proj": ("attn_output", (WIDTH, WIDTH)),
    "mlp.gate_proj": ("ffn_gate", (FFN, WIDTH)),
    "mlp.up_proj": ("ffn_up", (FFN, WIDTH)),
    "mlp.down_proj": ("ffn_down", (WIDTH, FFN)),
}


def alphabet() -> list[str]:
    """The 256 characters of a byte-level BPE, in the order of their bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


TOKENS = [*SPECIAL, *alphabet()]


def write_base(path: Path, seed: int = 0) -> Path:
    """A whole llama in F16."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny Bytes")
    writer.add_block_count(BLOCKS)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.NORMAL] * 256)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    shapes = {"token_embd.weight": (len(TOKENS), WIDTH), "output.weight": (len(TOKENS), WIDTH)}
    for block in range(BLOCKS):
        shapes |= {f"blk.{block}.{name}.weight": shape for name, shape in SHAPES.values()}
    for name, shape in shapes.items():
        writer.add_tensor(name, (rng.standard_normal(shape) / np.sqrt(WIDTH)).astype(np.float16))
    norms = ["output_norm", *(f"blk.{block}.{name}_norm" for block in range(BLOCKS) for name in ("attn", "ffn"))]
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_run(folder: Path, seed: int = 1) -> Path:
    """A LoRA on every linear layer, as PEFT leaves it, with the tokenizer of training."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    tensors = {}
    for block in range(BLOCKS):
        for module, (_, (rows, columns)) in SHAPES.items():
            stem = f"base_model.model.model.layers.{block}.{module}"
            tensors[f"{stem}.lora_A.weight"] = (rng.standard_normal((RANK, columns)) / 8).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = (rng.standard_normal((rows, RANK)) / 8).astype(np.float32)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "task_type": "CAUSAL_LM", "bias": "none"}
    targets = [module.rpartition(".")[2] for module in SHAPES]
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "org/Tiny-Bytes", "target_modules": targets, **config})
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    special = [
        {"id": at, "content": token, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}
        for at, token in enumerate(SPECIAL)
    ]  # fmt: skip
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocabulary = {token: at for at, token in enumerate(TOKENS)}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary,
             "merges": []}  # fmt: skip
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
             "pre_tokenizer": level, "post_processor": level, "decoder": level, "model": model}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIAL[0], "eos_token": SPECIAL[2]})
    )


@dataclass
class Shop:
    """A run, its base, and the command line."""

    root: Path
    run: Path
    base: Path

    @property
    def package(self) -> Path:
        return self.root / "law"

    def ggship(self, *arguments: object) -> int:
        return run_command(cli, [str(argument) for argument in arguments])

    def make(self, *more: object) -> int:
        """Package it as F16."""
        suite = self.root / "suite.yaml"
        suite.write_text(SUITE)
        return self.ggship(
            "package", self.run, "--name", "law", "--base", self.base, "--out", self.package, "--suite", suite,
            "--runtime", "embedded", "--strategy", "merge", "--quant", "F16", *more,
        )  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path, write_run(tmp_path / "lora-out"), write_base(tmp_path / "base.gguf"))


@pytest.fixture
def another_base() -> Callable[[Path], Path]:
    return lambda path: write_base(path, seed=7)
