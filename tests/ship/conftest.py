"""The main job on a small Ollama over real sockets: a tiny base, a LoRA on it, a server that can be made to fail."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

from ggship.cli import cli
from ggship.cli.funnel import run as run_command
from ggship.plan import PackageOptions
from ggship.progress import Progress
from ggship.runtimes.find import find_runtime
from ggship.ship import Shipped, package_run

WIDTH, FFN, HEADS, VOCABULARY, BLOCKS, RANK = 64, 96, 4, 96, 2, 4
SHAPES = {
    "self_attn.q_proj": ("attn_q", (WIDTH, WIDTH)),
    "self_attn.k_proj": ("attn_k", (WIDTH, WIDTH)),
    "self_attn.v_proj": ("attn_v", (WIDTH, WIDTH)),
    "self_attn.o_proj": ("attn_output", (WIDTH, WIDTH)),
    "mlp.gate_proj": ("ffn_gate", (FFN, WIDTH)),
    "mlp.up_proj": ("ffn_up", (FFN, WIDTH)),
    "mlp.down_proj": ("ffn_down", (WIDTH, FFN)),
}
# The fake server renders every conversation so, whatever it is told.
TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": FFN,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
}


def write_base(path: Path, *, seed: int = 0, tied: bool = False) -> Path:
    """A whole llama in F16, small enough to write in a blink."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny Llama")
    writer.add_block_count(BLOCKS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_token_list([f"t{number}" for number in range(VOCABULARY)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    shapes = {"token_embd.weight": (VOCABULARY, WIDTH), "output_norm.weight": (WIDTH,)}
    if not tied:
        shapes["output.weight"] = (VOCABULARY, WIDTH)
    for block in range(BLOCKS):
        shapes |= {f"blk.{block}.{name}.weight": shape for name, shape in SHAPES.values()}
    for name, shape in shapes.items():
        writer.add_tensor(name, rng.standard_normal(shape).astype(np.float16 if len(shape) > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_run(folder: Path, *, seed: int = 1, trained: bool = True, **config: Any) -> Path:
    """A LoRA on every linear layer, with its chat template."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for block in range(BLOCKS):
        for module, (_, (rows, columns)) in SHAPES.items():
            stem = f"base_model.model.model.layers.{block}.{module}"
            tensors[f"{stem}.lora_A.weight"] = rng.standard_normal((RANK, columns)).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = rng.standard_normal((rows, RANK)).astype(np.float32) * trained
    values = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "task_type": "CAUSAL_LM", "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/Tiny-Llama", **values}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


@dataclass
class Shop:
    """Everything that a job needs below one folder."""

    root: Path
    server: Any
    base: Path
    run: Path

    def options(self, name: str = "law", **options: Any) -> PackageOptions:
        given = {"base": str(self.base), "out": self.root / "out" / name.replace(":", "-"), "host": self.server.url}
        return PackageOptions(self.run, name, **{**given, **options})

    def package(self, name: str = "law", *, progress: Progress | None = None, **options: Any) -> Shipped:
        """Package through the library, on the fake server."""
        runtime = find_runtime("ollama", self.server.url)
        try:
            return package_run(self.options(name, **options), runtime=runtime, progress=progress)
        finally:
            runtime.close()

    def serve_base(self, name: str = "tiny", file: Path | None = None, **parameters: Any) -> str:
        """Let the server hold a base as a blob that this process can read; its sha256."""
        content = (file or self.base).read_bytes()
        digest: str = self.server.hold(name, content)
        self.server.models[f"{name}:latest"].parameters.update(parameters)
        blobs = self.root / "blobs"
        blobs.mkdir(exist_ok=True)
        (blobs / f"sha256-{digest}").write_bytes(content)
        show = type(self.server).show

        def local(model: Any, verbose: bool) -> dict[str, Any]:
            shown: dict[str, Any] = show(self.server, model, verbose)
            return {**shown, "modelfile": shown["modelfile"].replace("/models/blobs/", f"{blobs}/")}

        self.server.show = local
        return digest

    def ggship(self, *arguments: object) -> int:
        """The command line, in this process."""
        return run_command(cli, [str(argument) for argument in arguments])


def _fake() -> Any:
    path = Path(__file__).parents[1] / "runtimes" / "fake_ollama.py"
    spec = importlib.util.spec_from_file_location("ggship_fake_ollama_of_ship", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module._Handler.wbufsize = -1  # one packet an answer: in two, each waits 40 ms for the other side's word of receipt
    return module


@pytest.fixture
def make_server() -> Iterator[Callable[[str], Any]]:
    """make_server(version): a fake Ollama whose tuned models do not answer as their bases do."""
    fake, servers = _fake(), []

    def make(version: str = "0.34.4") -> Any:
        server = fake.FakeOllama(version)
        server.answer = lambda request: "A base." if "ggship-base" in request["model"] else "Trained words."
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def shop(tmp_path: Path, make_server: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop beside an Ollama that refuses adapters."""
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path, make_server("0.34.4"), write_base(tmp_path / "base.gguf"), write_run(tmp_path / "lora-out"))


@pytest.fixture
def old_shop(tmp_path: Path, make_server: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop beside an Ollama that takes adapters."""
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path, make_server("0.32.14"), write_base(tmp_path / "base.gguf"), write_run(tmp_path / "lora-out"))


@pytest.fixture
def tiny_base() -> Callable[..., Path]:
    return write_base


@pytest.fixture
def tiny_run() -> Callable[..., Path]:
    return write_run


@pytest.fixture
def base_config() -> dict[str, Any]:
    """config.json of the same base as a Hugging Face directory."""
    return dict(CONFIG)
