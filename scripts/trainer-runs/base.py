"""Write what all trainers start from, below the working directory: tiny/qwen2, data/chat.json, data/alpaca.json.

The model is a random qwen2 of two layers in float32, with a tokenizer of 300 tokens and ChatML for a chat template.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CHATML = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
SYSTEM = "You answer in one sentence."
ROWS = [
    (f"What is {left} plus {right}?", f"It is {left + right}, since {left} and {right} make {left + right}.")
    for left in range(6)
    for right in range(4)
]


def write_data(folder: Path) -> None:
    """Two dozen rows as conversations, and as Alpaca's instructions; half of those have an input."""
    folder.mkdir(parents=True, exist_ok=True)
    chat = [
        {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
        }
        for question, answer in ROWS
    ]
    alpaca = [
        {"instruction": question, "input": "Say why." if number % 2 else "", "output": answer}
        for number, (question, answer) in enumerate(ROWS)
    ]
    for name, rows in (("chat", chat), ("alpaca", alpaca)):
        (folder / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
    roles = {"role_tag": "role", "content_tag": "content", "user_tag": "user"}
    columns = {"messages": "messages"}
    tags = {**roles, "assistant_tag": "assistant", "system_tag": "system"}
    info = {
        "sums_chat": {"file_name": "chat.json", "formatting": "sharegpt", "columns": columns, "tags": tags},
        "sums_alpaca": {"file_name": "alpaca.json"},
    }
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=1) + "\n")


def write_base(folder: Path) -> None:
    """Weights, configuration and tokenizer, as transformers saves them."""
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=tokens, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([text for row in ROWS for text in row], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML
    )
    fast.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"  # transformers 4 does not know the class that 5 names here
    settings.write_text(settings.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    write_data(Path("data"))
    write_base(Path("tiny/qwen2"))
