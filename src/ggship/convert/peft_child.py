"""The child process of a merge by PEFT: base in Transformers, adapter attached, merged, saved as a directory.

`python -m ggship.convert.peft_child SPEC` reads a JSON file: base (a directory), gguf_file (a name in it, or null),
adapter (a directory in PEFT's layout), tensors (the files that hold the adapter, in that directory or not), out,
scratch (an empty folder of ours), result, dtype. It writes `out`, and to `result` what it did, or {"refused": {code,
what, where}}: what would have come out wrong. torch and PEFT are imported here, in a process that ends.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

from ggship.convert.peft_proof import (
    RefusedError,
    changed_weights,
    checksums,
    has_own_head,
    largest,
    log_probabilities,
    make_probe,
    plain_name,
    refuse_left_over,
    refuse_recomputed,
)

# Largest difference of a log-probability (nats) that merging may make, by rounding alone. A wrong merge differs as much
# as the adapter itself does, so weights of 16 bits, which round away more, are measured against that.
FLOAT32_LIMIT = 0.01
HALF_LIMIT = 0.25
_VOCABULARY = re.compile(r"(^|\.)(embed_tokens|wte|embed_in|word_embeddings|lm_head|embed_out)(\.|$).*weight$")
# Words of PEFT's warnings that mean that the adapter was not loaded whole (peft_model.py, save_and_load.py).
_ALARMS = ("missing adapter keys", "unexpected keys", "not initialized from the model checkpoint", "size mismatch")


def merge(spec: dict[str, Any]) -> dict[str, Any]:
    """Do what the module says; returns what the parent wants to know. Raises RefusedError."""
    adapter, shapes = plain_adapter(spec)
    base = load_base(spec, shapes)
    before, probe, tied = checksums(base), make_probe(base), not has_own_head(base)
    bare = log_probabilities(base, probe)
    tuned = attach(base, adapter)
    expected = log_probabilities(tuned, probe)
    effect = largest(expected - bare)
    limit = FLOAT32_LIMIT if spec["dtype"] == "float32" else FLOAT32_LIMIT + HALF_LIMIT * effect
    merged = _merged(tuned)
    difference = largest(log_probabilities(merged, probe) - expected)
    if not difference <= limit and tied:
        # PEFT merges an update of the embedding into the output head too where they are one tensor: two, then.
        del base, tuned, merged
        merged = _merged(attach(_with_own_head(load_base(spec, shapes)), adapter))
        difference = largest(log_probabilities(merged, probe) - expected)
    if not difference <= limit:
        raise RefusedError(
            "merged-differs",
            "the merged model answers otherwise than base and adapter together",
            f"a log-probability differs by {difference:.3g} nats ({limit:.3g} allowed); the adapter makes {effect:.3g}",
        )
    after = checksums(merged)
    changed = changed_weights(before, after)
    merged.save_pretrained(spec["out"], safe_serialization=True)
    if spec["gguf_file"] is None:
        _copy_tokenizer(Path(spec["base"]), Path(spec["out"]))
    return {
        "weights": len(after),
        "changed": changed,
        "effect": effect,
        "difference": difference,
        "untied": has_own_head(merged),
        "versions": {name: sys.modules[name].__version__ for name in ("peft", "transformers", "torch")},
        "vocabulary": int(merged.get_input_embeddings().weight.shape[0]),
    }


def plain_adapter(spec: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """(A directory that PEFT can read, the tensors' names and shapes in it): a copy where names or files are others."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    folder, files = Path(spec["adapter"]), [Path(file) for file in spec["tensors"]]
    shapes: dict[str, Any] = {}
    for file in files:
        with safe_open(file, "pt") as opened:
            shapes |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    plain = {name: plain_name(name) for name in shapes}
    if len(set(plain.values())) != len(plain):
        raise RefusedError("two-adapters", "the file holds more than one adapter", ", ".join(sorted(shapes)[:4]))
    if files != [folder / "adapter_model.safetensors"] or any(old != new for old, new in plain.items()):
        scratch = Path(spec["scratch"])
        tensors = {plain[name]: tensor for file in files for name, tensor in load_file(file).items()}
        save_file(tensors, scratch / "adapter_model.safetensors", {"format": "pt"})
        shutil.copyfile(folder / "adapter_config.json", scratch / "adapter_config.json")
        folder = scratch
    return folder, {plain[name]: shape for name, shape in shapes.items()}


def load_base(spec: dict[str, Any], adapter: dict[str, Any]) -> Any:
    """The base alone, every weight of it there. adapter: shapes of its tensors, which may bring rows of new tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"gguf_file": spec["gguf_file"]} if spec["gguf_file"] else {"use_safetensors": True}
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            spec["base"],
            dtype=getattr(torch, spec["dtype"]),
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    except (AssertionError, ImportError, KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        raise RefusedError("base-unreadable", "transformers cannot read the base", _words(error)) from error
    if spec["gguf_file"]:
        # What was read are plain numbers: nothing is quantized any more (modeling_utils.py would not save it).
        model.hf_quantizer = None
        model.is_quantized = False
        model.config.__dict__.pop("quantization_config", None)
    lost = sorted({*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])})
    if lost:
        raise RefusedError(
            "base-incomplete", "weights of the base are missing, or of another shape", ", ".join(lost[:5])
        )
    rows = max((shape[0] for name, shape in adapter.items() if _VOCABULARY.search(name) and len(shape) == 2), default=0)
    if rows > model.get_input_embeddings().weight.shape[0]:
        # Training had added tokens. Their rows come with the adapter.
        model.resize_token_embeddings(rows, mean_resizing=False)
    return model.eval()


def _with_own_head(model: Any) -> Any:
    """The model with an output head that is a copy of its embedding, and no longer the same tensor."""
    import torch

    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(model.get_input_embeddings().weight.detach().clone(), requires_grad=False)
    model.config.tie_word_embeddings = False
    return model


def attach(base: Any, adapter: Path) -> Any:
    """The base with the adapter, every tensor of whose file is in its place."""
    from peft import PeftModel
    from safetensors.torch import load_file

    own = dict(base.named_buffers())
    _compile_nothing()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            tuned = PeftModel.from_pretrained(base, adapter, is_trainable=False, torch_device="cpu")
        except (ImportError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise RefusedError("peft-refuses", "PEFT cannot put this adapter on this base", _words(error)) from error
    alarms = [str(each.message) for each in said if any(alarm in str(each.message) for alarm in _ALARMS)]
    if alarms:
        raise RefusedError("keys-left-over", "PEFT did not find all of the adapter", "\n".join(alarms)[:600])
    file = load_file(adapter / "adapter_model.safetensors")
    refuse_left_over(tuned, file)
    refuse_recomputed(tuned, own, file)
    return tuned.eval()


def _compile_nothing() -> None:
    """BOFT compiles a CUDA extension, or tries to for 10 seconds, and does without it (tuners/boft/layer.py)."""
    import torch.utils.cpp_extension

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("ggship compiles nothing")

    torch.utils.cpp_extension.load = refuse


def _merged(tuned: Any) -> Any:
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not hasattr(tuned, "merge_and_unload") and not hasattr(tuned.base_model, "merge_and_unload"):
        raise RefusedError("unmergeable", "PEFT has no way to merge this kind of adapter")
    try:
        merged = tuned.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise RefusedError("unmergeable", "PEFT cannot merge this adapter", _words(error)) from error
    left = [name for name, module in merged.named_modules() if isinstance(module, BaseTunerLayer)]
    if left:
        raise RefusedError("unmergeable", "PEFT left parts of the adapter unmerged", ", ".join(left[:5]))
    return merged.eval()


def _copy_tokenizer(base: Path, out: Path) -> None:
    """What llama.cpp's converter reads beside the weights, and what a user of the directory needs."""
    for pattern in ("*.json", "*.model", "*.txt", "*.jinja"):
        for file in base.glob(pattern):
            if not (out / file.name).exists() and not file.name.endswith(".index.json"):
                shutil.copyfile(file, out / file.name)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:600]


def main() -> None:
    """Read the specification that the first argument names, and write the result beside it."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        result = merge(spec)
    except RefusedError as refused:
        result = {"refused": refused.told}
    Path(spec["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
