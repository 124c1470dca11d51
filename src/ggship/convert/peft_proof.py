"""Is what PEFT loaded and merged what was trained? Asked of live modules, by the child of `ggship.convert.peft`."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

PROBE_SHAPE = (2, 24)
_LORA_NAME = re.compile(r"\.(lora_[AB])\.[^.]+(?=\.(weight|bias)$)|\.(lora_embedding_[AB])\.[^.]+$")
_WRAPPERS = re.compile(r"\.(base_layer|original_module|modules_to_save\.[^.]+)(?=\.)")
_DEFAULT_NAME = re.compile(r"\.default(?=\.|$)")
# What layers of PEFT hold beside the file: permutations, numbers drawn from a seed in the config (VeRA and its kin,
# UniLoRA), a frozen copy of the base's rows, and the part of a weight that OSF leaves alone, whose signs cancel.
_REBUILT = re.compile(
    r"\.(boft_P|rows|cols|p?vera_[AB]|randlora_[AB]|unilora_(indices|scales)_[AB]|trainable_tokens_original"
    r"|_osf_[USV]_(low_init|high))(\.|$)"
)


class RefusedError(Exception):
    """Going on would give a wrong model. told: the code, what, and where, for the parent."""

    def __init__(self, code: str, what: str, where: str = "") -> None:
        super().__init__(what)
        self.told = {"code": code, "what": what, "where": where}


def plain_name(name: str) -> str:
    """As PEFT saves it: without the adapter's own name, which raw dumps of a state_dict keep."""
    plain = _DEFAULT_NAME.sub("", _LORA_NAME.sub(lambda found: f".{found[1] or found[3]}", name))
    # A module with a weight in the model, a bare tensor in the file (tuners/lora/model.py).
    return plain.removesuffix(".weight") if plain.endswith(".lora_magnitude_vector.weight") else plain


def refuse_left_over(tuned: Any, file: Mapping[str, Any]) -> None:
    """Raise unless the model holds every tensor of the file, number for number: PEFT drops some in silence."""
    import torch

    loaded = dict(_held(tuned))
    left = []
    for name, tensor in file.items():
        there = loaded.get(name)
        if there is None or there.shape != tensor.shape or not torch.equal(there, tensor.to(there.dtype)):
            left.append(name)
    if left:
        raise RefusedError(
            "keys-left-over",
            f"PEFT left {len(left)} of the adapter's {len(file)} tensors out",
            ", ".join(sorted(left)[:5]),
        )


def refuse_recomputed(tuned: Any, base_buffers: Collection[str], file: Mapping[str, Any]) -> None:
    """Raise where a layer of PEFT holds numbers that are neither in the file nor surely the same on every machine.

    Such are the factors of a decomposition of the base's weights: their signs are the library's own (PSOFT, FRoD).
    base_buffers: names of those that the base has without an adapter.
    """
    own = {f"base_model.model.{name}" for name in base_buffers}
    made = [
        name
        for name, _ in tuned.named_buffers()
        if not _REBUILT.search(name) and _WRAPPERS.sub("", name) not in own and plain_name(name) not in file
    ]
    if made:
        raise RefusedError(
            "recomputed",
            "PEFT computes a part of this adapter anew from the base's weights, and not the same on every machine",
            ", ".join(made[:5]),
        )


def make_probe(model: Any) -> Any:
    """Random tokens, the same always: int64 [rows, length]."""
    import torch

    size = int(model.get_input_embeddings().weight.shape[0])
    return torch.randint(0, size, PROBE_SHAPE, generator=torch.Generator().manual_seed(0))


def log_probabilities(model: Any, probe: Any) -> Any:
    """Of every next token after every token of the probe, float32 [rows, length, vocabulary]."""
    import torch

    with torch.no_grad():
        return torch.log_softmax(model(input_ids=probe, use_cache=False).logits.float(), dim=-1)


def largest(difference: Any) -> float:
    """The largest absolute number."""
    return float(difference.abs().max())


def checksums(model: Any) -> dict[str, int]:
    """One for each weight."""
    import torch

    return {
        name: zlib.crc32(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
        for name, tensor in model.state_dict().items()
    }


def changed_weights(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Names of the weights that merging changed. Raises where there are none, or other weights than before."""
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())
        raise RefusedError("other-weights", "the merged model has other weights than the base", ", ".join(odd[:5]))
    changed = sorted(name for name, checksum in after.items() if before[name] != checksum)
    if not changed:
        raise RefusedError("unchanged", "merging changed nothing: the merged model is the base")
    return changed


def has_own_head(model: Any) -> bool:
    """Whether the output head is a matrix of its own, and not the embedding."""
    head = model.get_output_embeddings()
    return head is not None and head.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr()


def _held(tuned: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor of the model under its name in the adapter's file."""
    for name, tensor in tuned.state_dict().items():
        yield plain_name(name).replace(".modules_to_save.", "."), tensor
    for parent, module in tuned.named_modules():
        for attribute in ("shira_indices", "supertuning_indices"):  # kept in a dictionary, by the adapter's name
            found = getattr(module, attribute, None)
            if found is not None and "default" in found:
                yield f"{parent}.{attribute}", found["default"]
