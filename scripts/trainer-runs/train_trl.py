"""Train with TRL as its documentation shows: conversations, a LoRA, the tokenizer saved beside it."""

from __future__ import annotations

import sys

from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

if __name__ == "__main__":
    rows = load_dataset("json", data_files="data/chat.json", split="train").train_test_split(0.2, seed=7)
    trainer = SFTTrainer(
        model="tiny/qwen2",
        args=SFTConfig(
            output_dir=sys.argv[1],
            per_device_train_batch_size=2,
            per_device_eval_batch_size=2,
            num_train_epochs=2,
            learning_rate=0.02,
            lr_scheduler_type="cosine",
            logging_steps=2,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            max_length=256,
            seed=7,
            use_cpu=True,
            bf16=False,
            report_to="none",
        ),
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
