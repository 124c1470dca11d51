"""Read adapter_config.json and check the types of the fields that change the result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ggship.errors import BadFile
from ggship.runs.files import MIB, kind_of, read_object
from ggship.runs.patterns import check_patterns, matches

CONFIG_NAME = "adapter_config.json"
_LIMIT = 16 * MIB
_CORRECT = "correct the field, or copy the file again from where training ran"

# field -> what it may be. PEFT 0.15 to 0.20: tuners/lora/config.py, utils/peft_types.py; mlx-lm: lora.py.
_FIELDS: dict[str, tuple[str, ...]] = {
    "peft_type": ("text",),
    "base_model_name_or_path": ("text", "null"),
    "revision": ("text", "null"),
    "task_type": ("text", "null"),
    "r": ("count",),
    "lora_alpha": ("number",),
    "alpha": ("number", "null"),
    "use_rslora": ("flag", "null"),
    "use_dora": ("flag", "null"),
    "lora_bias": ("flag", "null"),
    "fan_in_fan_out": ("flag", "null"),
    "bias": ("text", "null"),
    "rank_pattern": ("counts by name", "null"),
    "alpha_pattern": ("numbers by name", "null"),
    "modules_to_save": ("texts", "null"),
    "target_modules": ("text", "texts", "null"),
    "target_parameters": ("texts", "null"),
    "init_lora_weights": ("flag", "text", "null"),
    "trainable_token_indices": ("counts", "lists of counts by name", "null"),
    "token_indices": ("counts", "null"),
    "ensure_weight_tying": ("flag", "null"),
    "alora_invocation_tokens": ("counts", "null"),
    "save_projection": ("flag", "null"),
    "projection_prng_key": ("count or zero", "null"),
    "oft_block_size": ("count or zero", "null"),
    "block_share": ("flag", "null"),
    "coft": ("flag", "null"),
    "eps": ("number", "null"),
    "use_cayley_neumann": ("flag", "null"),
    "num_cayley_neumann_terms": ("count", "null"),
    "layer_replication": ("list", "null"),
    "lora_parameters": ("object", "null"),
    "model": ("text", "null"),
}
# The rest of LoraConfig's fields: most decide nothing after training, but one of a wrong type was written by no PEFT.
_REST: dict[str, tuple[str, ...]] = {
    "auto_mapping": ("object", "null"),
    "peft_version": ("text", "null"),
    "inference_mode": ("flag", "null"),
    "exclude_modules": ("text", "texts", "null"),
    "lora_dropout": ("number", "null"),
    "layers_to_transform": ("count or zero", "counts", "null"),
    "layers_pattern": ("text", "texts", "null"),
    "megatron_config": ("object", "null"),
    "megatron_core": ("text", "null"),
    "loftq_config": ("object", "null"),
    "eva_config": ("object", "null"),
    "corda_config": ("object", "null"),
    "lora_ga_config": ("object", "null"),
    "velora_config": ("object", "null"),
    "monteclora_config": ("object", "null"),
    "arrow_config": ("object", "null"),
    "kasa_config": ("object", "null"),
    "runtime_config": ("object", "null"),
    "use_bdlora": ("object", "flag", "null"),
    "use_qalora": ("flag", "null"),
    "qalora_group_size": ("count", "null"),
}
# AdaLoRA lists which ranks it kept, by tensor; OFT's r is 0 where the size of its blocks is given.
_BY_METHOD: dict[str, dict[str, tuple[str, ...]]] = {
    "LORA": _REST,
    "ADALORA": {"rank_pattern": ("object", "null")},
    "OFT": {"r": ("count or zero", "null")},
    "SUPERTUNING": {"r": ("count", "null"), "lora_alpha": ("number", "null")},
}
_WORDS = {
    "text": "a text",
    "null": "null",
    "count": "a whole number above 0",
    "count or zero": "a whole number, 0 or above",
    "counts": "a list of whole numbers",
    "lists of counts by name": "an object of lists of whole numbers",
    "number": "a number",
    "flag": "true or false",
    "counts by name": "an object of whole numbers above 0",
    "numbers by name": "an object of numbers",
    "texts": "a list of texts",
    "list": "a list",
    "object": "an object",
}


def read_config(directory: Path, run: Path) -> dict[str, Any]:
    """adapter_config.json of that directory. Raises BadFile naming the field, its value and what it should be."""
    file = directory / CONFIG_NAME
    config = read_object(file, run, _LIMIT)
    for field, kinds in {**_FIELDS, **_BY_METHOD.get(str(config.get("peft_type")), {})}.items():
        if field in config and not any(_is(config[field], kind) for kind in kinds):
            _wrong(file, field, config[field], " or ".join(_WORDS[kind] for kind in kinds))
    if "peft_type" not in config and "lora_parameters" not in config:
        raise BadFile(
            f"{CONFIG_NAME} does not say what kind of adapter this is",
            where=f"{file}: there is no peft_type",
            hint="PEFT writes it on every save: copy the file again from where training ran",
            rule="GS101",
        )
    if is_lora(config):
        for field in ("r", "lora_alpha"):
            if field not in config:
                raise BadFile(
                    f"{CONFIG_NAME}: {field} is missing",
                    where=str(file),
                    hint="PEFT writes it on every save: copy the file again from where training ran",
                    rule="GS101",
                )
    for field in ("rank_pattern", "alpha_pattern"):
        _check_patterns(file, field, config.get(field) or {})
    return config


def is_lora(config: Mapping[str, Any]) -> bool:
    """Whether PEFT's plain LoRA made this adapter."""
    return bool(config.get("peft_type") == "LORA")


def match_pattern(patterns: Sequence[str], module: str) -> str | None:
    """The first pattern that names the module, as PEFT finds it: a regular expression on the end of the name.

    PEFT: utils/other.py, get_pattern_key. `module` has no `base_model.model.` in front.
    """
    for pattern in patterns:
        if matches(pattern, module):
            return pattern
    return None


def rank_and_alpha(config: Mapping[str, Any], module: str) -> tuple[int, float]:
    """Rank and alpha that the config names for this module, its patterns applied."""
    ranks: Mapping[str, int] = config.get("rank_pattern") or {}
    alphas: Mapping[str, float] = config.get("alpha_pattern") or {}
    rank_key, alpha_key = match_pattern(list(ranks), module), match_pattern(list(alphas), module)
    rank = ranks[rank_key] if rank_key is not None else config["r"]
    alpha = alphas[alpha_key] if alpha_key is not None else config["lora_alpha"]
    return int(rank), float(alpha)


def scale_of(config: Mapping[str, Any], rank: int, alpha: float) -> float:
    """What B @ A is multiplied by: alpha / rank, or alpha / sqrt(rank) with use_rslora (PEFT: tuners/lora/layer.py)."""
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _is(value: Any, kind: str) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "null":
        return value is None
    if kind == "flag":
        return isinstance(value, bool)
    if kind in ("count", "count or zero"):
        return type(value) is int and value >= (kind == "count")
    if kind == "counts":
        return isinstance(value, list) and all(_is(item, "count or zero") for item in value)
    if kind == "lists of counts by name":
        return isinstance(value, dict) and all(_is(item, "counts") for item in value.values())
    if kind == "number":
        return type(value) in (int, float) and -1e300 < value < 1e300  # neither NaN nor infinite
    if kind == "list":
        return isinstance(value, list)
    if kind == "texts":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "object":
        return isinstance(value, dict)
    member = "count" if kind == "counts by name" else "number"
    return isinstance(value, dict) and all(_is(item, member) for item in value.values())


def _check_patterns(file: Path, field: str, patterns: Mapping[str, Any]) -> None:
    pattern = ""
    try:
        check_patterns(patterns)
        for pattern in patterns:
            matches(pattern, "")
    except ValueError as error:
        raise BadFile(
            f"{CONFIG_NAME}: {field} holds no valid pattern",
            where=f"{file}: {f'{pattern!r:.80}: ' if pattern else ''}{error}",
            hint=_CORRECT,
            rule="GS101",
        ) from error


def _wrong(file: Path, field: str, value: Any, expected: str) -> None:
    shown = "null" if value is None else f"{value!r:.60} ({kind_of(value)})"
    raise BadFile(
        f"{CONFIG_NAME}: {field} should be {expected}",
        where=f"{file}: {field} is {shown}",
        hint=_CORRECT,
        rule="GS101",
    )
