"""Real PEFT adapters with random weights, saved as training would leave them."""

from __future__ import annotations

import json
import shutil
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .models import VOCABULARY, Architecture

RANK = 4


@dataclass(frozen=True)
class Option:
    """One way to train with PEFT.

    kind: the name of PEFT's config class. fields: its arguments. targets: which modules, by a name of `_targets`; ""
    for a method that has none. step: how far training went: each trained number moves by this times a normal one.
    before: names of functions of BEFORE, called on model and config, as PEFT asks before some inits.
    after: names of functions of AFTER, called on the saved directory, in order; each gives the run's own path.
    """

    name: str
    words: str
    kind: str = "LoraConfig"
    fields: Mapping[str, Any] = field(default_factory=dict)
    targets: str = "linear"
    step: float = 0.15
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def train(option: Option, arch: Architecture, model: Any, folder: Path, base: Path) -> tuple[Path, Any]:
    """Put the option on the model, "train" it, and save it: (the run, the trained model).

    Weights depend on the names of option and architecture alone.
    """
    import peft
    import torch
    import torch.utils.cpp_extension

    torch.manual_seed(zlib.crc32(f"{arch.name} {option.name}".encode()))
    fields = {key: _of(value, arch) for key, value in option.fields.items()}
    if option.kind == "LoraConfig":
        fields = {"r": RANK, "lora_alpha": 6, **fields}
    if option.targets:
        fields |= _targets(option.targets, arch)
    config = getattr(peft, option.kind)(**{"task_type": "CAUSAL_LM", **fields})
    if config.task_type != "CAUSAL_LM":
        model = _with_another_head(model, str(config.task_type))
    for name in option.before:
        BEFORE[name](model, config)
    model.name_or_path = str(base)
    torch.utils.cpp_extension.load = _compile_nothing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned = peft.get_peft_model(model, config)
        converted = "converted" in option.after
        if converted:
            tuned.peft_config["default"].init_lora_weights = True
            tuned.save_pretrained(folder / "initial")
            tuned.peft_config["default"].init_lora_weights = config.init_lora_weights
        _move(tuned, option.step)
        tuned.eval()
        extra = {"path_initial_model_for_weight_conversion": str(folder / "initial")} if converted else {}
        run = folder / "run"
        tuned.save_pretrained(run, **extra)
    for name in option.after:
        run = AFTER[name](run, tuned)
    return run, tuned


def _compile_nothing(*_: Any, **__: Any) -> None:
    """BOFT tries to compile a CUDA extension, for 10 seconds, and does without it (tuners/boft/layer.py)."""
    raise RuntimeError("nothing is compiled in tests")


def _move(tuned: Any, step: float) -> None:
    """A walk of training, all of it at once: every trained number moves."""
    import torch

    with torch.no_grad():
        for _, weight in tuned.named_parameters():
            if weight.requires_grad:
                weight += step * torch.randn(weight.shape, dtype=torch.float32).to(weight.dtype)


def _targets(which: str, arch: Architecture) -> dict[str, Any]:
    linear, embedding = list(arch.linear), arch.embedding
    return {
        "linear": {"target_modules": linear},
        "all-linear": {"target_modules": "all-linear"},
        "attention": {"target_modules": list(arch.attention)},
        "mlp": {"target_modules": list(arch.mlp)},
        "one": {"target_modules": [arch.attention[-1]]},
        "square": {"target_modules": [arch.attention[0], arch.attention[-1]]},
        "regex": {"target_modules": rf".*\.1\..*({'|'.join(arch.attention)})"},
        "embedding": {"target_modules": [*linear, embedding]},
        "head": {"target_modules": [*linear, "lm_head"]},
        "embedding-and-head": {"target_modules": [*linear, embedding, "lm_head"]},
        "only-embedding": {"target_modules": [embedding]},
        "only-head": {"target_modules": ["lm_head"]},
        "ia3": {"target_modules": linear, "feedforward_modules": list(arch.mlp)},
        "norms": {"target_modules": [*arch.norms, arch.norm]},
        "biased": {"target_modules": list(arch.biased)},
        "old-experts": {"target_modules": [*arch.attention, *arch.experts]},
        "router": {"target_modules": [*arch.attention, "gate"]},
        "experts": {
            "target_modules": list(arch.attention),
            "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
        },
        "only-experts": {"target_modules": [], "target_parameters": ["mlp.experts.down_proj"]},
    }[which]


def _of(value: Any, arch: Architecture) -> Any:
    """Names that differ by architecture stand as `$attention0`, `$mlp0`, `$embedding`, `$norm` and so on."""
    if isinstance(value, str):
        names = {"$attention0": arch.attention[0], "$attention1": arch.attention[-1], "$embedding": arch.embedding}
        names |= {"$mlp0": arch.linear[-1], "$norm": arch.norm, "$layernorm": arch.norms[0]}
        for name, meant in names.items():
            value = value.replace(name, meant)
        return value
    if callable(value):
        return value()
    if isinstance(value, Mapping):
        return {_of(key, arch): _of(item, arch) for key, item in value.items()}
    if isinstance(value, list):
        return [_of(item, arch) for item in value]
    return value


def _with_another_head(model: Any, task: str) -> Any:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    kind = AutoModelForSequenceClassification if task == "SEQ_CLS" else AutoModelForTokenClassification
    other = kind.from_config(model.config)
    other.base_model.load_state_dict(model.base_model.state_dict())
    return other


def _look_at_data(model: Any, config: Any) -> None:
    """CorDA looks at what the layers see."""
    from peft.tuners.lora.corda import preprocess_corda

    preprocess_corda(model, config, run_model=lambda: model(input_ids=_data()))


def _take_gradients(model: Any, config: Any) -> None:
    """LoRA-GA looks at a gradient."""
    from peft.tuners.lora.loraga import preprocess_loraga

    preprocess_loraga(model, config, lambda: model(input_ids=_data(), labels=_data()).loss.backward())


def _data() -> Any:
    import torch

    return torch.randint(0, 256, (1, 128), generator=torch.Generator().manual_seed(0))


def lora_ga() -> Any:
    from peft.tuners.lora.config import LoraGAConfig

    return LoraGAConfig()


def _rewrite(run: Path, rename: Callable[[str], str], change: Callable[[Any], Any] = lambda tensor: tensor) -> None:
    from safetensors.torch import load_file, save_file

    file = run / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({rename(name): change(tensor).contiguous() for name, tensor in tensors.items()}, file, {"format": "pt"})


def _set(run: Path, **fields: Any) -> Path:
    file = run / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, **fields}, indent=2))
    return run


def _default_keys(run: Path, tuned: Any) -> Path:
    """As a raw state_dict leaves the names: lora_A.default.weight (FSDP, DeepSpeed)."""

    def rename(name: str) -> str:
        for part in ("lora_A", "lora_B"):
            name = name.replace(f".{part}.weight", f".{part}.default.weight")
        for part in ("lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"):
            name = name + ".default" if name.endswith(f".{part}") else name
        return name

    _rewrite(run, rename)
    return run


def _subfolder(run: Path, tuned: Any) -> Path:
    """As PEFT saves an adapter that is not called `default`: in a folder of its name."""
    inside = run.with_name("named") / "law"
    shutil.copytree(run, inside)
    return inside


def _sharded(run: Path, tuned: Any) -> Path:
    from safetensors.torch import load_file, save_file

    tensors = load_file(run / "adapter_model.safetensors")
    (run / "adapter_model.safetensors").unlink()
    names = sorted(tensors)
    parts = (names[::2], names[1::2])
    weight_map = {}
    for number, part in enumerate(parts, start=1):
        file = f"adapter_model-{number:05}-of-{len(parts):05}.safetensors"
        save_file({name: tensors[name] for name in part}, run / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    (run / "adapter_model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return run


def _half(dtype: str) -> Callable[[Path, Any], Path]:
    def save(run: Path, tuned: Any) -> Path:
        """The trained model takes the rounded numbers too: what is saved is what was trained."""
        import torch

        kind = getattr(torch, dtype)
        _rewrite(run, lambda name: name, lambda tensor: tensor.to(kind))
        with torch.no_grad():
            for name, weight in tuned.named_parameters():
                if "lora_" in name:
                    weight.copy_(weight.to(kind).to(weight.dtype))
        return run

    return save


def _value_head(run: Path, tuned: Any) -> Path:
    """As TRL's AutoModelForCausalLMWithValueHead leaves it: v_head.* among the adapter's tensors."""
    import torch
    from safetensors.torch import load_file, save_file

    file = run / "adapter_model.safetensors"
    head = {"v_head.summary.weight": torch.randn(1, 64), "v_head.summary.bias": torch.randn(1)}
    save_file({**load_file(file), **head}, file, {"format": "pt"})
    return run


BEFORE: dict[str, Callable[[Any, Any], None]] = {"corda": _look_at_data, "lora_ga": _take_gradients}
AFTER: dict[str, Callable[[Path, Any], Path]] = {
    "default_keys": _default_keys,
    "subfolder": _subfolder,
    "sharded": _sharded,
    "half": _half("float16"),
    "bfloat": _half("bfloat16"),
    "converted": lambda run, tuned: run,
    "eva": lambda run, tuned: _set(run, init_lora_weights="eva", eva_config={"rho": 2.0, "tau": 0.99}),
    "loftq": lambda run, tuned: _set(run, init_lora_weights="loftq", loftq_config={"loftq_bits": 4, "loftq_iter": 1}),
    "value_head": _value_head,
    "zero_alpha": lambda run, tuned: _set(run, lora_alpha=0),
}
assert VOCABULARY > 256
