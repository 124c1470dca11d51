"""Several runs of one base as one: the weighted sum of what each of them trained, as a run like any other.

W + sum of w_i s_i B_i A_i, exactly: the pairs of one module stand side by side, A under A and w_i s_i B_i beside it, so
that their ranks add up. PEFT computes the same with several adapters active (tuners/lora/layer.py, forward and merge
add each one's delta) and as add_weighted_adapter(combination_type="cat") (tuners/lora/model.py). Its "linear" is
another thing, sums of A times sums of B with all the products across; "svd" only comes near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from ggship.errors import BaseMismatch
from ggship.runs.model import History, LoraModule, Run, Share, TensorHeader
from ggship.runs.modules import natural
from ggship.runs.training import RecordedPrompt, Setting, Training

_KEPT = ("F32", "F16", "BF16")


def blend(shares: Sequence[Share]) -> Run:
    """One run of them all; the first gives tokenizer, chat template and names. One alone at weight 1 is itself.

    Laws: delta(blend) == sum of weight * delta(share), module by module, every number of B rounded once, to float32;
    A keeps its numbers. What others than plain pairs trained stands in `trained`, as each run has it.
    """
    if len(shares) == 1 and shares[0].weight == 1.0:
        return shares[0].run
    first = shares[0].run
    modules = _modules(shares)
    return replace(
        first,
        chosen=f"a blend of {', '.join(share.label for share in shares)}",
        config=_config(first, modules),
        tensors={
            f"{number}/{name}": tensor
            for number, share in enumerate(shares)
            for name, tensor in share.run.tensors.items()
        },
        modules=modules,
        unexpressed=tuple(chain.from_iterable(share.run.unexpressed for share in shares)),
        trained=tuple(chain.from_iterable(share.run.trained for share in shares)),
        shares=tuple(shares),
        **({} if len(shares) == 1 else _in_common([share.run for share in shares])),
    )


def _in_common(runs: Sequence[Run]) -> dict[str, Any]:
    """What can be said of how several runs were trained; the rest stands with each of them."""
    trainers = {run.trainer and run.trainer.name for run in runs}
    prompts = [prompt for run in runs for prompt in run.training.prompts]
    distinct = [prompt for number, prompt in enumerate(prompts) if _said(prompt) not in map(_said, prompts[:number])]
    return {
        "checkpoints": (),
        "history": History(),
        "trainer": runs[0].trainer if len(trainers) == 1 else None,
        "training": Training(_longest(runs), tuple(distinct)),
    }


def _longest(runs: Sequence[Run]) -> tuple[Setting, ...]:
    """The longest length at which a run was cut: one model has to hold what each of them saw."""
    found = [(run, run.training.setting("sequence_length")) for run in runs]
    lengths = [
        (setting.value, replace(setting, source=f"{run.label}: {setting.source}"))
        for run, setting in found
        if setting is not None and type(setting.value) is int
    ]
    return (max(lengths, key=lambda item: item[0])[1],) if lengths else ()


def _said(prompt: RecordedPrompt) -> RecordedPrompt:
    """Without where it was read: two runs lie in two places."""
    return replace(prompt, source="", confidence="high")


def _modules(shares: Sequence[Share]) -> tuple[LoraModule, ...]:
    found: dict[str, list[tuple[LoraModule, float]]] = {}
    for share in shares:
        for module in share.run.modules:
            found.setdefault(module.name, []).append((module, share.weight))
    ranks = {name: sum(module.rank for module, _ in pairs) for name, pairs in found.items()}
    alpha = float(max(ranks.values(), default=1))
    return tuple(_stacked(found[name], ranks[name], alpha) for name in sorted(found, key=natural))


def _stacked(pairs: Sequence[tuple[LoraModule, float]], rank: int, alpha: float) -> LoraModule:
    """The pairs of one module as one, of scale alpha / rank: what llama.cpp makes of one alpha for the whole file."""
    first, scale = pairs[0][0], alpha / rank
    for other, _ in pairs[1:]:
        if (other.base_shape, other.embedding) != (first.base_shape, first.embedding):
            raise BaseMismatch(
                "the runs were trained on different bases",
                where=f"{first.name}: {list(first.base_shape)} and {list(other.base_shape)}",
                hint="only adapters of one base can be added up; `ggship inspect RUN` shows which one that was",
                rule="GS412",
            )
    a = _joined([(module.a, 1.0) for module, _ in pairs], axis=0)
    b = _joined([(module.b, weight * module.scale / scale) for module, weight in pairs], axis=1)
    return LoraModule(first.name, a, b, rank, alpha, scale, rank, first.embedding)


def _joined(pieces: Sequence[tuple[TensorHeader, float]], axis: int) -> TensorHeader:
    first = pieces[0][0]
    length = sum(piece.shape[axis] for piece, _ in pieces)
    shape = (length, first.shape[1]) if axis == 0 else (first.shape[0], length)
    dtypes = {piece.dtype for piece, _ in pieces}
    kept = len(dtypes) == 1 and first.dtype in _KEPT and all(factor == 1.0 for _, factor in pieces)
    dtype = first.dtype if kept else "F32"
    nbytes = shape[0] * shape[1] * (4 if dtype == "F32" else 2)
    return replace(first, dtype=dtype, shape=shape, nbytes=nbytes, transposed=False, pieces=tuple(pieces), axis=axis)


def _config(first: Run, modules: Sequence[LoraModule]) -> dict[str, object]:
    """What PEFT would say of such an adapter: the runs' own settings are in the scales of their pieces."""
    rank = max((module.rank for module in modules), default=1)
    kept = ("task_type", "base_model_name_or_path", "revision")
    return {
        "peft_type": "LORA",
        **{key: first.config[key] for key in kept if key in first.config},
        "r": rank,
        "lora_alpha": float(rank),
        "target_modules": [module.name for module in modules],
    }
