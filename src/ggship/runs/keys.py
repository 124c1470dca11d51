"""Take the name of an adapter's tensor apart: the module it belongs to, and which part of which method it is.

PEFT leaves the adapter's own name out when it saves; raw state_dict dumps (FSDP, DeepSpeed) keep it, and wrappers'
copies of frozen weights as well (lora_A.default.weight, modules_to_save.default.weight, original_module.weight).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "base_model.model."
_SHARED = re.compile(r"(?:base_model\.)?(?P<part>vera_[AB])(?:\.(?P<adapter>[^.]+))?")
_PARTS = (
    "lora_A",
    "lora_B",
    "lora_E",
    "lora_embedding_A",
    "lora_embedding_B",
    "lora_magnitude_vector",
    "hada_w[12]_[ab]",
    "hada_t[12]",
    "lokr_w[12](?:_[ab])?",
    "lokr_t2",
    "ia3_l",
    "vera_lambda_[bd]",
    "oft_R",
    "trainable_tokens_delta",
    "ln_tuning_layers",
    "modules_to_save",
)
_PART = re.compile(
    rf"(?P<module>.+?)\.(?:token_adapter\.)?(?P<part>{'|'.join(_PARTS)})"
    r"(?:\.(?!(?:weight|bias)$)(?P<adapter>[^.]+))?(?:\.(?P<kind>weight|bias))?"
)
_WHOLE = re.compile(r"(?P<module>.+)\.(?P<kind>weight|bias)")
_FROZEN = re.compile(r"(?P<module>.+?)\.(?:token_adapter\.)?(?:base_layer\.)+weight")
# What wrappers keep aside for themselves, and numbers that say what shapes say already.
_ASIDE = re.compile(r".+\.(?:original_module\..+|ranknum(?:\..+)?|trainable_tokens_original(?:\..+)?)")


@dataclass(frozen=True, slots=True)
class Key:
    """One tensor's name, taken apart. module: its path in the base, with `.base_layer` where wrappers are nested.

    part: PEFT's word for what it is; `weight` and `bias` of a module that was trained whole; `frozen` for a copy of the
    base's weight; "" for what is nothing known, and then module is the whole name. adapter: the adapter's name where
    the dump kept it.
    """

    module: str
    part: str
    adapter: str = ""


def parse_key(name: str) -> Key | None:
    """The name taken apart; None for what PEFT's wrappers keep aside, in which nothing was trained."""
    shared = _SHARED.fullmatch(name)
    if shared:
        return Key("", shared["part"], shared["adapter"] or "")
    inner = name.removeprefix(PREFIX)
    if _ASIDE.fullmatch(inner):
        return None
    frozen = _FROZEN.fullmatch(inner)
    if frozen:
        return Key(frozen["module"], "frozen")
    found = _PART.fullmatch(inner)
    if found is None:
        whole = _WHOLE.fullmatch(inner)
        return Key(whole["module"].removesuffix(".base_layer"), whole["kind"]) if whole else Key(name, "")
    module, part, adapter, kind = found["module"], found["part"], found["adapter"] or "", found["kind"] or "weight"
    if part in ("modules_to_save", "ln_tuning_layers"):
        return Key(module, kind, adapter)
    if kind == "bias":
        return Key(module, "lora_bias", adapter) if part == "lora_B" else Key(name, "")
    return Key(module, part, adapter)
