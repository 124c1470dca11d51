"""finetune_demo of ChatGLM3: checkpoints alone, no tokenizer; nothing is written down but the state of the Trainer."""

from __future__ import annotations

from collections.abc import Iterator

from ggship.runs.trainers.evidence import Evidence
from ggship.runs.trainers.hugging_face import card_settings, state_settings
from ggship.runs.trainers.reader import Mark, Reader
from ggship.runs.training import RecordedPrompt, Setting


def _marks(evidence: Evidence) -> Iterator[Mark]:
    # finetune_demo saves no tokenizer, and its evaluation logs word-level ROUGE and BLEU; the names alone would be
    # true of any LoRA on a ChatGLM.
    names = [name for name in evidence.modules if "transformer.encoder.layers." in name]
    if not any(name.endswith("query_key_value") for name in names) or evidence.tokenizer_saved:
        return
    metrics = evidence.history.keys & {"eval_rouge-l", "eval_bleu-4"}
    recipe = [evidence.config.get(field) for field in ("r", "lora_alpha", "lora_dropout")] == [8, 32, 0.1]
    if metrics or recipe:
        yield Mark("query_key_value of ChatGLM layers, and no tokenizer", sure=False)
    if metrics:
        yield Mark(f"the log has {min(metrics)}", sure=False)
    if recipe:
        yield Mark("r 8, alpha 32 and dropout 0.1 are those of its lora.yaml", sure=False)


def _settings(evidence: Evidence) -> Iterator[Iterator[Setting]]:
    yield state_settings(evidence)
    yield card_settings(evidence)


def _prompts(evidence: Evidence) -> Iterator[RecordedPrompt]:
    """It knows one prompt alone, that of build_single_message (finetune_hf.py, process_batch)."""
    yield RecordedPrompt("template", "chatglm3", source=evidence.source("adapter_config.json"), confidence="medium")


CHATGLM = Reader("ChatGLM3 finetune_demo", _marks, settings=_settings, prompts=_prompts)
