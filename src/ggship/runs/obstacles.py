"""Say what of a run no GGUF adapter can carry, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ggship.runs.model import Run

# PEFT's inits that change the base's weights when training starts; eva, gaussian, orthogonal and mica do not
# (tuners/lora/layer.py: pissa_init, olora_init, corda_init, loftq_init, lora_ga_init).
_INITS_THAT_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
_VARIANTS = (
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "monteclora_config",
    "kasa_config",
)
_TASKS_WITH_A_HEAD = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why the run cannot become a GGUF adapter as it is.

    code: stable, for programs (`dora`, `saved-modules`, ...). what: in a sentence. remedy: what a user can do, or "".
    """

    code: str
    what: str
    remedy: str = ""


def obstacles(run: Run) -> tuple[Obstacle, ...]:
    """All of them; none where every trained number is in a plain LoRA pair. Scales and patterns are none: they fold."""
    found = [*_by_config(run.config), *_by_tensors(run)]
    return tuple({obstacle.code: obstacle for obstacle in reversed(found)}.values())[::-1]


def _by_config(config: Mapping[str, Any]) -> Iterator[Obstacle]:
    merge = "merge it in PEFT: model.merge_and_unload(), and ship the merged model"
    kind = config.get("peft_type")
    if kind is None:
        yield Obstacle("mlx", "mlx-lm keeps A and B transposed and under other names", "convert it to PEFT's layout")
        return
    if kind != "LORA":
        yield Obstacle("not-lora", f"the adapter is {kind}, not LoRA", merge)
        return
    if config.get("use_dora"):
        yield Obstacle("dora", "DoRA rescales whole weights; GGUF has no place for its magnitudes", merge)
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower().startswith(_INITS_THAT_CHANGE_THE_BASE):
        yield Obstacle(
            "changed-base",
            f"init_lora_weights={init} changed the base's weights before training; the adapter fits those alone",
            "save it with path_initial_model_for_weight_conversion (LLaMA-Factory: use pissa_converted/)",
        )
    if config.get("modules_to_save"):
        names = ", ".join(config["modules_to_save"][:3])
        yield Obstacle("saved-modules", f"whole modules were trained: {names}", merge)
    if config.get("trainable_token_indices"):
        yield Obstacle("trained-tokens", "single tokens' embeddings were trained", merge)
    if config.get("bias") not in (None, "none") or config.get("lora_bias"):
        yield Obstacle("bias", "biases were trained", merge)
    if config.get("fan_in_fan_out"):
        yield Obstacle("transposed", "the base keeps its weights transposed (fan_in_fan_out)", merge)
    if config.get("layer_replication"):
        yield Obstacle("replicated-layers", "layers of the base were replicated (layer_replication)", merge)
    if config.get("target_parameters"):
        yield Obstacle("parameters", "stacked experts were trained (target_parameters)", merge)
    if config.get("task_type") in _TASKS_WITH_A_HEAD:
        yield Obstacle("task", f"the task is {config['task_type']}: the model has a head and does not generate")
    variants = [name for name in _VARIANTS if config.get(name)]
    if variants:
        yield Obstacle("variant", f"{', '.join(variants)}: a kind of LoRA that computes something else", merge)


def _by_tensors(run: Run) -> Iterator[Obstacle]:
    groups = {
        "dora": _having(run, "lora_magnitude_vector"),
        "bias": _having(run, ".bias"),
        "trained-tokens": _having(run, "trainable_tokens_"),
    }
    known = {name for names in groups.values() for name in names}
    for code, names in groups.items():
        if names:
            yield Obstacle(code, f"{_some(names)} cannot be expressed")
    rest = [name for name in run.unexpressed if name not in known]
    if rest and run.config.get("peft_type") == "LORA":
        yield Obstacle("saved-modules", f"{_some(rest)} {'is' if len(rest) == 1 else 'are'} no LoRA pair")


def _having(run: Run, part: str) -> Sequence[str]:
    return [name for name in run.unexpressed if part in name]


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more tensors"
