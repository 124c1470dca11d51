"""Turn a run into plain values: the document of `ggship inspect --json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ggship.runs.curve import finite, trainer_document, training_document
from ggship.runs.findings import Finding
from ggship.runs.model import LoraModule, Run
from ggship.runs.obstacles import obstacles

SCHEMA = "ggship.inspect/1"


@dataclass(frozen=True, slots=True)
class Group:
    """Modules of the same kind: one suffix (q_proj), rank, alpha, scale and shape [out, in] of the base's weight."""

    suffix: str
    count: int
    rank: int
    alpha: float
    scale: float
    shape: tuple[int, int]


def group_modules(modules: Sequence[LoraModule]) -> tuple[Group, ...]:
    """The modules counted by kind, in the order they first come."""
    counts: dict[tuple[str, int, float, float, tuple[int, int]], int] = {}
    for module in modules:
        key = (module.name.rpartition(".")[2], module.rank, module.alpha, module.scale, module.base_shape)
        counts[key] = counts.get(key, 0) + 1
    return tuple(Group(key[0], count, *key[1:]) for key, count in counts.items())


def describe(run: Run, found: Sequence[Finding] = ()) -> dict[str, Any]:
    """The run, and what was found on it, as one JSON document. Keys are only ever added under the same `schema`:

    schema; root, path, chosen: where, and why that directory;
    trainer: {name, version, evidence, confidence, marks, against} or null;
    training: {settings: [{name, value, source}], prompts: [{kind, name, text, parts, system, thinking, source,
    confidence}], doubts: [texts], curve: {source, logged, points: [{step, loss, eval_loss, ...}]}};
    base: {named, revision}; adapter: {type, dtypes, parameters, bytes, rslora, dora};
    modules: [{name, rank, rank_named, alpha, scale, shape: [out, in], parameters}];
    checkpoints: [{path, step, loss, eval_loss, best}], a loss that is not known or not finite is null;
    tokenizer: {directory, files}; chat_template: {source, text} or null;
    obstacles: [{code, what, remedy, way}]: what no GGUF adapter can carry, and which way it is shipped all the same;
    trained: [{name, method, parts, parameters}]: what other methods than plain LoRA gave; unexpressed: [tensor names];
    findings: [{code, level, title, evidence, consequence, fix}] (docs/rules.md); notes: [what was seen of each].
    """
    return {
        "schema": SCHEMA,
        "root": str(run.root),
        "path": str(run.path),
        "chosen": run.chosen,
        "trainer": trainer_document(run.trainer),
        "base": {"named": run.base_named, "revision": run.base_revision},
        "adapter": {
            "type": adapter_type(run),
            "dtypes": sorted({tensor.dtype for tensor in run.tensors.values()}),
            "parameters": run.parameters,
            "bytes": sum(tensor.nbytes for tensor in run.tensors.values()),
            "rslora": bool(run.config.get("use_rslora")),
            "dora": bool(run.config.get("use_dora")),
        },
        "modules": [
            {
                "name": module.name,
                "rank": module.rank,
                "rank_named": module.rank_named,
                "alpha": module.alpha,
                "scale": module.scale,
                "shape": list(module.base_shape),
                "parameters": module.parameters,
            }
            for module in run.modules
        ],
        "checkpoints": [
            {
                "path": str(checkpoint.path),
                "step": checkpoint.step,
                "loss": finite(checkpoint.loss),
                "eval_loss": finite(checkpoint.eval_loss),
                "best": checkpoint.best,
            }
            for checkpoint in run.checkpoints
        ],
        "tokenizer": {
            "directory": str(run.tokenizer_dir) if run.tokenizer_dir else None,
            "files": list(run.tokenizer_files),
        },
        "chat_template": None
        if run.chat_template is None
        else {"source": run.chat_template_source, "text": run.chat_template},
        "training": training_document(run, whole=True),
        "obstacles": [
            {"code": item.code, "what": item.what, "remedy": item.remedy, "way": item.way} for item in obstacles(run)
        ],
        "trained": [
            {"name": item.name, "method": item.method, "parts": list(item.parts), "parameters": item.parameters}
            for item in run.trained
        ],
        "unexpressed": list(run.unexpressed),
        "findings": [finding.document() for finding in found],
        "notes": [finding.evidence for finding in found],
    }


def adapter_type(run: Run) -> str:
    """In words: LoRA, rsLoRA, DoRA, or PEFT's name of another method."""
    kind = str(run.config.get("peft_type") or "LORA")
    if kind != "LORA":
        return kind
    if run.config.get("use_dora"):
        return "DoRA"
    return "rsLoRA" if run.config.get("use_rslora") else "LoRA"
