"""The model card as the Hugging Face hub wants it: the package's own, with the hub's metadata and scores on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ggship.bases.portable import is_repository
from ggship.card import render_card
from ggship.package import PackageInfo
from ggship.publish.target import HubPlace

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from ggship.evals.report import Report

_BEFORE = "## What it was made of"


def hub_card(info: PackageInfo, place: HubPlace, files: Sequence[str]) -> str:
    """README.md: metadata (base_model, its relation, library, tags, model-index), how to run it, then the card."""
    body = render_card(info.document).split("---\n", 2)[2].lstrip("\n")
    before, heading, after = body.partition(_BEFORE)
    return f"---\n{_metadata(info, files)}\n---\n\n{before}{_use(info, place, files)}{heading}{after}"


def _metadata(info: PackageInfo, files: Sequence[str]) -> str:
    from huggingface_hub import ModelCardData

    merged = info.document.get("merge") is not None
    base = str(info.document["base"]["named"])
    results = _results(info)
    data = ModelCardData(
        base_model=base if is_repository(base) else None,  # the hub knows no other names
        # hub docs, "Model Cards": a merge of an adapter into its base is a finetune there; merge is for merged models
        base_model_relation=("finetune" if merged else "adapter") if is_repository(base) else None,
        library_name="gguf" if merged or "adapter_config.json" not in files else "peft",
        pipeline_tag="text-generation",
        tags=["lora", "gguf", "ollama", "llama.cpp", "ggship"],
        model_name=info.name if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _results(info: PackageInfo) -> list[EvalResult]:
    """The scores of the package's report in the hub's words; none where it was never asked."""
    path = info.file("eval/report.json")
    if path is None:
        return []
    from ggship.evals.codec import read_report

    report = read_report(path)
    if report.tuned.pass_rate is None:
        return []
    found = [("pass_rate", _title(report, "pass rate"), report.tuned.pass_rate)]
    if report.base is not None and report.base.pass_rate is not None and report.rival == "base":
        found.append(("base_pass_rate", "pass rate of the base", report.base.pass_rate))
    if report.tuned.score is not None:
        found.append(("mean_score", "mean score", report.tuned.score))
    found += [(name, name, value) for name, value in sorted(report.tuned.metrics.items())]
    return [_result(report, kind, name, value) for kind, name, value in found]


def _title(report: Report, words: str) -> str:
    return f"{words} ({report.tuned.passes} of {report.tuned.passes + report.tuned.fails} cases)"


def _result(report: Report, kind: str, name: str, value: float) -> EvalResult:
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type="text-generation",
        task_name="Text generation",
        dataset_type="custom",
        dataset_name=report.suite,
        dataset_revision=report.suite_digest,
        metric_type=kind,
        metric_name=name,
        metric_value=round(value, 4),
    )


def _use(info: PackageInfo, place: HubPlace, files: Sequence[str]) -> str:
    merged = info.document.get("merge")
    lines = ["## Run it from here", "", "```sh"]
    lines += [f"ollama run hf.co/{place}"] if merged else []
    lines += ["```", ""] if merged else []
    peft = next((path for path in files if path.endswith("adapter_config.json")), None)
    base = str(info.document["base"]["named"])
    if not merged:
        lines = ["## Use it from here", ""]
    if peft and is_repository(base):
        folder = f', subfolder="{peft.rpartition("/")[0]}"' if "/" in peft else ""
        lines += [
            "```python",
            f'model = AutoModelForCausalLM.from_pretrained("{base}")',
            f'model = PeftModel.from_pretrained(model, "{place}"{folder})',
            "```",
            "",
        ]
    gguf = next((path for path in files if path.endswith("adapter.gguf")), None)
    if gguf:
        lines += [f"`{gguf}` is the LoRA for `llama-server --lora`.", ""]
    return "\n".join(lines) + "\n"
