"""Sort what an adapter holds besides plain LoRA pairs: which method gave which tensors to which module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ggship.errors import BadFile
from ggship.runs.config import match_pattern, rank_and_alpha, scale_of
from ggship.runs.model import TensorHeader, TrainedModule

# peft_type -> (method, the parts that a module of it must have, those it may have)
_METHODS: dict[str, tuple[str, tuple[frozenset[str], ...]]] = {
    "ADALORA": ("adalora", (frozenset(("lora_A", "lora_B", "lora_E")),)),
    "LOHA": ("loha", (frozenset(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")),)),
    "LOKR": (
        "lokr",
        tuple(
            frozenset((*first, *second))
            for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
            for second in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))
        ),
    ),
    "IA3": ("ia3", (frozenset(("ia3_l",)),)),
    "VERA": ("vera", (frozenset(("vera_lambda_b", "vera_lambda_d")),)),
    "OFT": ("oft", (frozenset(("oft_R",)),)),
}
"""Methods that a merge into GGUF knows. The sets are the parts that a module has, one of them exactly."""

_DIMENSIONS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("bias", "lora_bias", "lora_magnitude_vector", "vera_lambda_b", "vera_lambda_d"), (1,)),
    **dict.fromkeys(("weight", "frozen"), (1, 2)),
    **dict.fromkeys(("lora_A", "lora_B", "lora_E", "lora_embedding_A", "lora_embedding_B"), (2,)),
    **dict.fromkeys(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "lokr_w1", "lokr_w2"), (2,)),
    **dict.fromkeys(("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "ia3_l", "oft_R"), (2,)),
    **dict.fromkeys(("vera_A", "vera_B", "trainable_tokens_delta"), (2,)),
    **dict.fromkeys(("hada_t1", "hada_t2", "lokr_t2"), ()),
}
"""Dimensions that a part has where a linear layer, an embedding or a norm was trained; convolutions have others."""

_LORA_EXTRAS = {"lora_magnitude_vector": "dora", "lora_bias": "bias"}
_EVERYWHERE = {"weight": "saved", "bias": "saved", "trainable_tokens_delta": "tokens"}


def sort_methods(
    config: Mapping[str, Any], parts: Mapping[str, Mapping[str, TensorHeader]]
) -> tuple[tuple[TrainedModule, ...], tuple[str, ...]]:
    """(modules, names of the tensors that no known method explains). parts: module -> part -> tensor.

    Law: every tensor is in exactly one module or among the names, but for VeRA's shared projections (module ""), which
    are in each of its modules.
    """
    kind = str(config.get("peft_type") or "")
    shared = parts.get("", {}) if kind == "VERA" else {}
    modules: list[TrainedModule] = []
    unexplained: list[str] = []
    for name, tensors in parts.items():
        if name == "" and shared:
            continue
        left = {part: tensor for part, tensor in tensors.items() if len(tensor.shape) in _DIMENSIONS[part]}
        unexplained += [tensor.name for part, tensor in tensors.items() if part not in left]
        if "frozen" in left:
            modules.append(TrainedModule(name, "frozen", {"weight": left.pop("frozen")}))
        for part, method in {**(_LORA_EXTRAS if kind == "LORA" else {}), **_EVERYWHERE}.items():
            if part in left and not (method == "tokens" and token_indices(config, name) is None):
                modules.append(TrainedModule(name, method, {part: left.pop(part)}))
        method, sets = _METHODS.get(kind, ("", ()))
        if not left:
            continue
        if frozenset(left) in sets:
            _refuse_unfit(method, name, left)
            modules.append(TrainedModule(name, method, {**left, **shared}, _scale(config, kind, name, left)))
        else:
            unexplained += [tensor.name for tensor in left.values()]
    return _gathered(modules), tuple(unexplained)


def sort_experts(
    config: Mapping[str, Any], pairs: Mapping[str, Mapping[str, TensorHeader]]
) -> tuple[tuple[TrainedModule, ...], tuple[str, ...]]:
    """Name the parameters that nested pairs of target_parameters belong to: (modules, unexplained names).

    pairs: module -> {A, B}. PEFT wraps the parameters of a module in the order in which the module has them, the first
    innermost (tuners_utils.py, _inject_parameters): experts.base_layer.lora_A is of gate_up_proj where
    experts.lora_A is of down_proj. Three-dimensional parameters [experts, out, in] alone: transformers' fused experts.
    """
    wanted = tuple(config.get("target_parameters") or ())
    depths: dict[str, list[str]] = {}
    for name in pairs:
        depths.setdefault(name.replace(".base_layer", ""), []).append(name)
    modules: list[TrainedModule] = []
    unexplained: list[str] = []
    for module, names in depths.items():
        leaves = [leaf for leaf in ("gate_up_proj", "down_proj") if _targeted(wanted, module, leaf)]
        names.sort(key=len, reverse=True)
        if len(leaves) != len(names):
            unexplained += [tensor.name for name in names for tensor in pairs[name].values()]
            continue
        for leaf, name in zip(leaves, names, strict=True):
            full = f"{module}.{leaf}"
            rank, alpha = rank_and_alpha(config, full)
            scale = scale_of(config, rank, alpha)
            found = {"lora_A": pairs[name]["A"], "lora_B": pairs[name]["B"]}
            _refuse_unfit("experts", full, found, rank)
            modules.append(TrainedModule(full, "experts", found, scale, rank))
    return tuple(modules), tuple(unexplained)


def token_indices(config: Mapping[str, Any], module: str) -> tuple[int, ...] | None:
    """The tokens whose rows `trainable_tokens_delta` of that module has, in its order; None where the config says none.

    PEFT: trainable_token_indices is a list for the input embedding, or lists by the end of a module's name;
    TrainableTokensConfig has token_indices.
    """
    found = config.get("token_indices", config.get("trainable_token_indices"))
    if isinstance(found, Mapping):
        found = next((found[key] for key in found if module == key or module.endswith(f".{key}")), None)
    if not isinstance(found, list) or not all(type(item) is int and item >= 0 for item in found):
        return None
    return tuple(found)


def _refuse_unfit(method: str, module: str, parts: Mapping[str, TensorHeader], rank: int = 1) -> None:
    """Raise BadFile where the tensors of one module do not belong together."""
    shapes = {name: part.shape for name, part in parts.items()}
    if method in ("adalora", "experts"):
        inner = [(shapes["lora_A"][0], shapes["lora_B"][1]), (shapes["lora_A"][0] % rank, 0)]
        inner += [(shapes["lora_E"][0], shapes["lora_A"][0])] if method == "adalora" else []
    elif method == "loha":
        inner = [(shapes[f"hada_{w}_a"][1], shapes[f"hada_{w}_b"][0]) for w in ("w1", "w2")]
        inner += [(shapes["hada_w1_a"][0], shapes["hada_w2_a"][0]), (shapes["hada_w1_b"][1], shapes["hada_w2_b"][1])]
    elif method == "lokr":
        halves = [w for w in ("lokr_w1", "lokr_w2") if w not in shapes]
        inner = [(shapes[f"{w}_a"][1], shapes[f"{w}_b"][0]) for w in halves]
    else:
        inner = [(min(shapes["ia3_l"]), 1)] if method == "ia3" else []
    if any(one != other for one, other in inner):
        raise BadFile(
            f"the tensors of {module} do not belong together",
            where=f"{next(iter(parts.values())).file}: {', '.join(f'{key} {list(s)}' for key, s in shapes.items())}",
            hint="the adapter was not saved whole: copy or save it again from where training ran",
            rule="GS202",
        )


def _targeted(wanted: Iterable[str], module: str, leaf: str) -> bool:
    full = f"{module}.{leaf}"
    return any(full == name or full.endswith(f".{name}") for name in wanted)


def _scale(config: Mapping[str, Any], kind: str, module: str, parts: Mapping[str, TensorHeader]) -> float:
    """What the method multiplies its update by.

    LoHa, LoKr: alpha / r as the config names them (tuners/loha/layer.py, update_layer). AdaLoRA: alpha, or the rank
    where alpha is not above 0, through the rank that pruning left (tuners/adalora/layer.py, get_delta_weight).
    """
    if kind in ("LOHA", "LOKR"):
        ranks: Mapping[str, int] = config.get("rank_pattern") or {}
        alphas: Mapping[str, float] = config.get("alpha_pattern") or {}
        rank_key, alpha_key = match_pattern(list(ranks), module), match_pattern(list(alphas), module)
        rank = ranks[rank_key] if rank_key is not None else config.get("r")
        alpha = alphas[alpha_key] if alpha_key is not None else config.get("alpha")
        if type(rank) is not int or rank < 1 or type(alpha) not in (int, float):
            raise BadFile(
                f"adapter_config.json does not say how {module} is scaled",
                where=f"r is {rank!r:.40}, alpha is {alpha!r:.40}",
                hint="PEFT writes both on every save: copy the file again from where training ran",
                rule="GS101",
            )
        return float(alpha) / rank  # type: ignore[arg-type]
    if kind == "ADALORA":
        rank, alpha = parts["lora_A"].shape[0], config.get("lora_alpha", 8)
        return (float(alpha) if alpha > 0 else float(rank)) / (rank + 1e-5)
    return 1.0


def _gathered(modules: Iterable[TrainedModule]) -> tuple[TrainedModule, ...]:
    """Weight and bias of a module that was saved whole are one module."""
    found: dict[tuple[str, str], TrainedModule] = {}
    for module in modules:
        before = found.get((module.name, module.method))
        if before is not None:
            module = TrainedModule(module.name, module.method, {**before.parts, **module.parts}, module.scale)
        found[module.name, module.method] = module
    return tuple(found.values())
