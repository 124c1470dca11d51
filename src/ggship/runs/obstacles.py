"""Say what of a run no GGUF adapter can carry, and why; and what can carry it instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ggship.runs.model import Run, TrainedModule

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
# peft_type of methods that add to the input or to the attention's cache, or choose among adapters for each token: there
# is no weight that could be merged (tuners/*: no `merge`, or one that raises).
_UNMERGEABLE = frozenset(
    ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "CPT", "CARTRIDGE", "ADAPTION_PROMPT",
     "POLY", "XLORA")
)  # fmt: skip
_METHOD_NAMES = {
    "ADALORA": "AdaLoRA",
    "LOHA": "LoHa",
    "LOKR": "LoKr",
    "IA3": "IA3",
    "VERA": "VeRA",
    "OFT": "OFT",
    "LN_TUNING": "LN tuning",
    "TRAINABLE_TOKENS": "trainable tokens",
}
_HELD = ("saved", "tokens", "bias", "dora")
_SERVE = "serve it with Transformers and PEFT, or train plain LoRA"
_COPY = "copy or save the adapter again from where training ran"
MERGE = "ggship merge (or package --strategy merge) puts it into the base's weights, exactly"
_WEIGHTS = "pass the base's own weights, --base DIRECTORY or hf:REPO, and merge (package --strategy merge)"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why the run cannot become a GGUF adapter as it is.

    code: stable, for programs (`dora`, `saved-modules`, ...). what: in a sentence. remedy: what a user can do, or "".
    way: "merge" where ggship merges it into the base's GGUF itself, "peft" where PEFT must merge it into the base's own
    weights, "" where nothing that ggship has can carry it.
    """

    code: str
    what: str
    remedy: str = ""
    way: str = ""


def obstacles(run: Run) -> tuple[Obstacle, ...]:
    """All of them; none where every trained number is in a plain LoRA pair. Scales and patterns are none: they fold."""
    found = [*_by_config(run), *_by_tensors(run)]
    return tuple({obstacle.code: obstacle for obstacle in reversed(found)}.values())[::-1]


def _by_config(run: Run) -> Iterator[Obstacle]:
    config: Mapping[str, Any] = run.config
    kind = str(config.get("peft_type"))
    if kind in _UNMERGEABLE:
        what = f"the adapter is {kind}: it trains no weight that could be shipped in GGUF"
        yield Obstacle("not-lora", what, _SERVE)
        return
    if config.get("task_type") in _TASKS_WITH_A_HEAD:
        what = f"the task is {config['task_type']}: the model has a head and does not generate"
        yield Obstacle("task", what, "serve it with Transformers, or train with task_type CAUSAL_LM")
    head = _value_head(run)
    if head:
        what = f"{head} is a value head: the model was trained to score texts, not to write them"
        remedy = "where it is the policy of PPO, which writes all the same, move that file away"
        yield Obstacle("task", what, remedy if (run.path / head).is_file() else _SERVE)
    if kind != "LORA":
        yield _other_method(kind, run)
        return
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower().startswith(_INITS_THAT_CHANGE_THE_BASE):
        yield Obstacle(
            "changed-base",
            f"init_lora_weights={init} changed the base's weights before training; the adapter fits those alone",
            "save it with path_initial_model_for_weight_conversion (LLaMA-Factory: use pissa_converted/)",
        )
    if config.get("fan_in_fan_out"):
        yield Obstacle("transposed", "the base keeps its weights transposed (fan_in_fan_out)", MERGE, "merge")
    if config.get("layer_replication"):
        what = "layers of the base were replicated (layer_replication)"
        yield Obstacle("replicated-layers", what, "build the deeper model first, and train on that")
    variants = [name for name in _VARIANTS if config.get(name)]
    if variants:
        yield Obstacle("variant", f"{', '.join(variants)}: a kind of LoRA that computes something else", _SERVE)
    yield from _missing(run)


def _missing(run: Run) -> Iterator[Obstacle]:
    """What the config says was trained, and no tensor holds."""
    config = run.config
    having = {method: {module.name for module in run.trained if module.method == method} for method in _HELD}
    pairs = {module.name for module in run.modules}
    saved = [
        name for name in config.get("modules_to_save") or () if not any(name in module for module in having["saved"])
    ]
    if saved:
        yield _lost("saved-modules", f"modules_to_save names {', '.join(saved[:3])}")
    if config.get("trainable_token_indices") and not having["tokens"]:
        yield _lost("trained-tokens", "trainable_token_indices names tokens")
    stacks = [name for name in config.get("target_parameters") or () if not name.endswith("weight")]
    if stacks and not any(module.method == "experts" for module in run.trained):
        yield _lost("parameters", f"target_parameters names stacked experts ({stacks[0]})")
    if config.get("lora_bias") and not having["bias"]:
        yield _lost("bias", "lora_bias is true")
    if config.get("use_dora") and pairs - having["dora"]:
        yield _lost("dora", f"use_dora is true, but {min(pairs - having['dora'])} has no DoRA magnitudes")
    elif having["dora"] and not config.get("use_dora"):
        first = next(_names([module])[0] for module in run.trained if module.method == "dora")
        yield Obstacle("dora", f"PEFT would not use {first}, since use_dora is not true", _COPY)
    elif having["dora"] - pairs:
        yield Obstacle("dora", f"{min(having['dora'] - pairs)} has DoRA magnitudes, but no LoRA pair", _COPY)
    elif having["dora"] and having["bias"]:
        what = "lora_bias and use_dora together: PEFT merges them into something else than it trained"
        yield Obstacle("dora", what, _SERVE)


def _lost(code: str, why: str) -> Obstacle:
    return Obstacle(code, f"{why}: the file does not hold all that was trained", _COPY)


def _value_head(run: Run) -> str:
    """The file or the tensor that holds one, "" for none.

    LLaMA-Factory keeps it beside the adapter (extras/constants.py, V_HEAD_SAFE_WEIGHTS_NAME), for reward models and for
    PPO; TRL calls it v_head (AutoModelForCausalLMWithValueHead).
    """
    files = [name for name in ("value_head.safetensors", "value_head.bin") if (run.path / name).is_file()]
    names = [name for name in run.tensors if "v_head." in name or "value_head." in name]
    return next(iter((*files, *names)), "")


def _other_method(kind: str, run: Run) -> Obstacle:
    if kind in _METHOD_NAMES and not run.unexpressed:
        what = f"{_METHOD_NAMES[kind]} is no low-rank pair of matrices, the one thing that a GGUF adapter holds"
        return Obstacle(kind.lower().replace("_", "-"), what, MERGE, "merge")
    return Obstacle("not-lora", f"the adapter is {kind}, not LoRA", f"PEFT can merge it: {_WEIGHTS}", "peft")


def _by_tensors(run: Run) -> Iterator[Obstacle]:
    words = {
        "dora": ("dora", "DoRA's magnitudes, which rescale whole weights"),
        "bias": ("bias", "biases of lora_B"),
        "tokens": ("trained-tokens", "the embeddings of single tokens"),
        "experts": ("parameters", "stacked experts (target_parameters)"),
    }
    for method, (code, what) in words.items():
        modules = [module for module in run.trained if module.method == method]
        if modules:
            yield Obstacle(code, f"{what} were trained: {_some(_names(modules))}", MERGE, "merge")
    saved = [module for module in run.trained if module.method == "saved"]
    biases = [module for module in saved if set(module.parts) == {"bias"}]
    whole = [module for module in saved if "weight" in module.parts]
    if biases:
        yield Obstacle("bias", f"biases were trained: {_some(_names(biases))}", MERGE, "merge")
    if whole:
        yield Obstacle("saved-modules", f"whole modules were trained: {_some(_names(whole))}", MERGE, "merge")
    if run.unexpressed and run.config.get("peft_type") == "LORA":
        what = f"{_some(run.unexpressed)} {'is' if len(run.unexpressed) == 1 else 'are'} nothing that ggship can merge"
        if "lora_parameters" in run.config:
            yield Obstacle("unknown-tensors", what, "fuse it with mlx-lm (mlx_lm.fuse) and ship the fused model")
        else:
            yield Obstacle("unknown-tensors", what, f"PEFT may: {_WEIGHTS}", "peft")


def _names(modules: Sequence[TrainedModule]) -> list[str]:
    return [part.name for module in modules for part in module.parts.values()]


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more tensors"
