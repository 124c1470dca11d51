"""Runs of trainers that do not run on a CPU here, laid out as their own source code writes them.

Each layout says which source it follows; the numbers in the files are ours. What runs here is in test_real_trainers.py.
"""

from __future__ import annotations

import json

import pytest

from ggship.runs import read_run

# unsloth and unsloth_zoo (2026-08): hf_utils.py, fix_lora_auto_mapping; peft_utils.py, get_peft_regex; PEFT's model
# card with the tags that models/_utils.py and TRL's Trainer add.
UNSLOTH_CARD = """---
base_model: unsloth/Qwen3-4B-unsloth-bnb-4bit
library_name: peft
pipeline_tag: text-generation
tags:
- base_model:adapter:unsloth/Qwen3-4B-unsloth-bnb-4bit
- lora
- sft
- transformers
- trl
- unsloth
---

# Model Card for Model ID

### Framework versions

- PEFT 0.17.1
"""

# mlx-lm: lora.py, train_model saves vars(args) as adapter_config.json; nothing of the loss is written to a file.
MLX_CONFIG = {
    "adapter_path": "/Users/petra/adapters",
    "batch_size": 4,
    "config": "/Users/petra/lora.yaml",
    "data": "/Users/petra/law",
    "fine_tune_type": "lora",
    "grad_checkpoint": False,
    "iters": 600,
    "learning_rate": 1e-05,
    "lora_parameters": {"rank": 8, "dropout": 0.0, "scale": 20.0},
    "lr_schedule": None,
    "mask_prompt": True,
    "max_seq_length": 2048,
    "model": "mlx-community/Qwen3-4B-4bit",
    "num_layers": 16,
    "optimizer": "adamw",
    "seed": 3,
    "wandb": "petras-project",
}
MLX = {
    "model.layers.35.self_attn.q_proj.lora_a": ("F32", (16, 8)),
    "model.layers.35.self_attn.q_proj.lora_b": ("F32", (8, 16)),
}

# torchtune: recipes/configs/llama3_2/1B_lora_single_device.yaml, saved by training/metric_logging.py (save_config); the
# log of its DiskLogger; epoch_N folders of training/checkpointing/_checkpointer.py.
TORCHTUNE_CONFIG = """
output_dir: /home/petra/tune/out
model:
  _component_: torchtune.models.llama3_2.lora_llama3_2_1b
  lora_attn_modules: ['q_proj', 'v_proj', 'output_proj']
  lora_rank: 8
  lora_alpha: 16
tokenizer:
  _component_: torchtune.models.llama3.llama3_tokenizer
  path: /home/petra/tune/Llama-3.2-1B-Instruct/original/tokenizer.model
  max_seq_len: 2048
  prompt_template: null
checkpointer:
  _component_: torchtune.training.FullModelHFCheckpointer
  checkpoint_dir: /home/petra/tune/Llama-3.2-1B-Instruct/
dataset:
  _component_: torchtune.datasets.alpaca_cleaned_dataset
  packed: false
seed: 5
batch_size: 4
optimizer:
  _component_: torch.optim.AdamW
  fused: true
  weight_decay: 0.01
  lr: 3e-4
lr_scheduler:
  _component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup
  num_warmup_steps: 100
epochs: 2
max_steps_per_epoch: null
gradient_accumulation_steps: 8
metric_logger:
  _component_: torchtune.training.metric_logging.DiskLogger
  log_dir: ${output_dir}/logs
dtype: bf16
"""
TORCHTUNE_LOG = """Step 1 | loss:1.75 lr:3e-06 tokens_per_second_per_gpu:401.5 peak_memory_alloc:4.25
Step 2 | loss:1.5 lr:6e-06 tokens_per_second_per_gpu:410.0 peak_memory_alloc:4.25
Step 3 | loss:1.25 lr:"""

# ChatGLM3 (2025-01): finetune_demo/finetune_hf.py and configs/lora.yaml: no final save, no tokenizer, jieba's metrics.
CHATGLM = {
    f"base_model.model.transformer.encoder.layers.{layer}.self_attention.query_key_value.lora_{half}.weight": (
        "F16",
        (8, 16) if half == "A" else (24, 8),
    )
    for layer in range(2)
    for half in "AB"
}


def settings(run):
    return {setting.name: setting.value for setting in run.training.settings}


@pytest.fixture
def unsloth(run_maker):
    base = "unsloth/Qwen3-4B-unsloth-bnb-4bit"
    run_maker.adapter(base_model_name_or_path=base, auto_mapping={"unsloth_fixed": True}, peft_version="0.17.1")
    run_maker.write("README.md", UNSLOTH_CARD)
    state = {"num_train_epochs": 1, "max_steps": 60, "train_batch_size": 2, "global_step": 60}
    run_maker.write("checkpoint-60/trainer_state.json", {**state, "log_history": [{"step": 1, "loss": 1.5}]})
    run_maker.adapter("checkpoint-60", base_model_name_or_path=base)
    return run_maker


def test_unsloth_on_trl_is_unsloth(unsloth):
    run = read_run(unsloth.root)
    assert (run.trainer.name, run.trainer.confidence, run.trainer.against) == ("Unsloth", "high", ())
    assert {
        "adapter_config.json has unsloth_fixed",
        "README.md has the tag unsloth",
        "the base is unsloth/Qwen3-4B-unsloth-bnb-4bit",
    } == set(run.trainer.marks)
    assert settings(run) == {"epochs": 1, "max_steps": 60, "batch_size": 2, "frameworks": ("PEFT 0.17.1",)}
    assert run.training.prompts == ()
    assert [point.step for point in run.history.curve] == [1]


def test_mlx_tells_its_arguments_and_no_path(run_maker):
    run_maker.config = MLX_CONFIG
    run_maker.adapter(tensors=MLX, file="adapters.safetensors")
    run_maker.write("0000100_adapters.safetensors", b"")
    run = read_run(run_maker.root)
    assert (run.trainer.name, run.trainer.confidence) == ("mlx-lm", "high")
    assert settings(run) == {
        "learning_rate": 1e-05,
        "max_steps": 600,
        "batch_size": 4,
        "sequence_length": 2048,
        "seed": 3,
        "optimizer": "adamw",
        "layers": 16,
        "prompt_masked": True,
        "method": "lora",
        "datasets": ("law",),
    }
    assert run.history.curve == ()


def test_mlx_with_a_schedule_did_not_use_its_learning_rate(run_maker):
    run_maker.config = {**MLX_CONFIG, "lr_schedule": {"name": "cosine_decay", "arguments": [1e-4, 600]}}
    found = settings(read_run(run_maker.adapter(tensors=MLX, file="adapters.safetensors")))
    assert found["scheduler"] == "cosine_decay"
    assert "learning_rate" not in found


@pytest.fixture
def torchtune(run_maker):
    for epoch in (0, 1):
        run_maker.adapter(f"epoch_{epoch}")
    run_maker.write("recipe_state/recipe_state.pt", b"pickled")
    run_maker.write("torchtune_config.yaml", TORCHTUNE_CONFIG)
    run_maker.write("logs/log_1700000000.txt", "Step 9 | loss:9.0 \n")
    run_maker.write("logs/log_1760000000.txt", TORCHTUNE_LOG)
    return run_maker


def test_of_many_logs_the_newest_are_looked_at(torchtune):
    for number in range(30):
        torchtune.write(f"logs/log_{1770000000 + number}.txt", "nothing of a step\n")
    assert read_run(torchtune.root).history.source == ""
    for number in range(15):
        (torchtune.root / f"logs/log_{1770000000 + number}.txt").unlink()
    assert read_run(torchtune.root).history.source == "logs/log_1760000000.txt"


def test_torchtune_tells_its_recipe_and_its_log(torchtune):
    run = read_run(torchtune.root)
    assert run.path.name == "epoch_1"
    assert (run.trainer.name, run.trainer.confidence) == ("torchtune", "high")
    assert settings(run) == {
        "batch_size": 4,
        "datasets": ("alpaca_cleaned_dataset",),
        "epochs": 2,
        "gradient_accumulation": 8,
        "learning_rate": 3e-4,  # YAML 1.1 reads 3e-4 as a text
        "optimizer": "adamw",
        "packing": False,
        "precision": "bf16",
        "scheduler": "cosine_schedule_with_warmup",
        "seed": 5,
        "sequence_length": 2048,
        "warmup_steps": 100,
        "weight_decay": 0.01,
    }
    assert run.history.source == "logs/log_1760000000.txt"
    assert run.history.points == ((1, 1.75, None), (2, 1.5, None), (3, 1.25, None))
    assert dict(run.history.curve[0].values) == {"loss": 1.75, "learning_rate": 3e-06}


@pytest.mark.parametrize(
    ("changes", "prompt"),
    [
        ({}, "llama3_tokenizer+alpaca"),
        ({"template: null": "template: torchtune.data.ChatMLTemplate"}, "llama3_tokenizer+ChatMLTemplate+alpaca"),
        ({"alpaca_cleaned_dataset": "chat_dataset"}, "llama3_tokenizer"),
        ({"alpaca_cleaned_dataset": "chat_dataset", "llama3.llama3_": "mistral.mistral_"}, "mistral_tokenizer+null"),
        (
            {"alpaca_cleaned_dataset": "chat_dataset", "3.llama3_": "2.llama2_", "  prompt_template: null\n": ""},
            "llama2_tokenizer",
        ),
        ({"torchtune.datasets.alpaca_cleaned_dataset": "mine.chat_dataset"}, "llama3_tokenizer+mine.chat_dataset"),
        ({"template: null": "template: {user: ['Q: ', '']}"}, "llama3_tokenizer+strings of its own+alpaca"),
        ({"  packed: false": "  template: torchtune.data.StackExchangeTemplate"},
         "llama3_tokenizer+StackExchangeTemplate"),
    ],
)  # fmt: skip
def test_torchtunes_prompt_is_made_by_tokenizer_template_and_dataset(changes, prompt, torchtune):
    text = TORCHTUNE_CONFIG
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    torchtune.write("torchtune_config.yaml", text)
    template = read_run(torchtune.root).training.template
    assert (template.kind, template.name, template.confidence) == ("template", prompt, "high")


TORCHTUNE_DATASET = """dataset:
  _component_: torchtune.datasets.alpaca_cleaned_dataset
  packed: false
"""
CHAT_DATASET = "{_component_: torchtune.datasets.chat_dataset}"


@pytest.mark.parametrize(
    ("datasets", "prompts"),
    [
        ("dataset: {_component_: torchtune.datasets.text_completion_dataset, source: wiki}\n", [("plain", "", None)]),
        ("dataset: {_component_: torchtune.datasets.chat_dataset, new_system_prompt: Be brief.}\n",
         [("template", "llama3_tokenizer", "Be brief.")]),
        (f"dataset: [{CHAT_DATASET}, {{_component_: torchtune.datasets.samsum_dataset}}]\n",
         [("template", "llama3_tokenizer", None)]),
        (f"dataset: [{CHAT_DATASET}, {{_component_: torchtune.datasets.alpaca_dataset}}]\n",
         [("template", "llama3_tokenizer", None), ("template", "llama3_tokenizer+alpaca", None)]),
    ],
)  # fmt: skip
def test_each_way_in_which_torchtunes_data_were_made_into_prompts(datasets, prompts, torchtune):
    torchtune.write("torchtune_config.yaml", TORCHTUNE_CONFIG.replace(TORCHTUNE_DATASET, datasets))
    found = read_run(torchtune.root).training.prompts
    assert [(prompt.kind, prompt.name, prompt.system) for prompt in found] == prompts


def test_the_demo_of_chatglm3_is_known_by_what_it_leaves_out(run_maker):
    for step in (500, 1000):
        run_maker.adapter(f"checkpoint-{step}", tensors=CHATGLM, lora_alpha=32, lora_dropout=0.1)
    log = [{"step": 10, "loss": 4.8, "learning_rate": 4.9e-05, "epoch": 0.01}]
    log += [{"step": 500, "eval_rouge-l": 30.5, "eval_bleu-4": 0.12, "eval_runtime": 90.0, "epoch": 0.7}]
    state = {"max_steps": 3000, "num_train_epochs": 1, "train_batch_size": 1, "log_history": log}
    run_maker.write("checkpoint-1000/trainer_state.json", state)
    run = read_run(run_maker.root)
    assert (run.trainer.name, run.trainer.confidence) == ("ChatGLM3 finetune_demo", "medium")
    assert len(run.trainer.marks) == 3
    assert settings(run) == {"max_steps": 3000, "epochs": 1, "batch_size": 1}
    template = run.training.template
    assert (template.kind, template.name, template.confidence) == ("template", "chatglm3", "medium")
    assert dict(run.history.curve[1].values) == {"eval_rouge-l": 30.5, "eval_bleu-4": 0.12, "epoch": 0.7}


CHAT = {"type": "chat_template"}


@pytest.mark.parametrize(
    ("dataset", "general", "prompt"),
    [
        (CHAT, {"chat_template": "llama3"}, ("template", "llama3", "high")),
        ({**CHAT, "chat_template": "qwen3"}, {"chat_template": "llama3"}, ("template", "qwen3", "high")),
        ({**CHAT, "chat_template": "tokenizer_default"}, {"chat_template": "chatml"}, ("template", "chatml", "high")),
        (CHAT, {}, ("tokenizer", "", "high")),
        (CHAT, {"chat_template": "tokenizer_default_fallback_chatml"}, ("tokenizer", "chatml", "medium")),
        (CHAT, {"chat_template": "jinja", "chat_template_jinja": "{{ x }}"}, ("jinja", "", "high")),
        ({"type": "alpaca"}, {"chat_template": "chatml"}, ("dataset", "alpaca", "high")),
        ({"type": "alpaca:phi"}, {}, ("dataset", "alpaca:phi", "high")),
        ({"type": "completion"}, {}, ("plain", "completion", "high")),
        ({"type": {"system_prompt": "Be brief.", "format": "Q: {instruction}\n"}}, {}, ("format", "", "high")),
    ],
)
def test_axolotls_kinds_of_data_bring_their_own_prompts(dataset, general, prompt, run_maker):
    """Axolotl 0.19: utils/schemas/datasets.py, prompt_strategies/; JSON is YAML."""
    run_maker.adapter()
    config = json.dumps({"datasets": [{"path": "law.jsonl", **dataset}], **general})
    run_maker.write("README.md", f"<summary>See axolotl config</summary>\n```yaml\n{config}\n```\n")
    template = read_run(run_maker.root).training.template
    assert (template.kind, template.name, template.confidence) == prompt


def test_two_datasets_of_axolotl_with_two_prompts_are_two_answers(run_maker):
    run_maker.adapter()
    datasets = [{"path": "a.jsonl", "type": "alpaca"}, {"path": "b.jsonl", "type": "chat_template"}]
    config = json.dumps({"datasets": [*datasets, datasets[0]]})
    run_maker.write("README.md", f"<summary>See axolotl config</summary>\n```yaml\n{config}\n```\n")
    training = read_run(run_maker.root).training
    assert training.template is None
    assert [prompt.kind for prompt in training.prompts] == ["dataset", "tokenizer"]


def test_a_custom_format_of_axolotl_is_kept_whole(run_maker):
    run_maker.adapter()
    kind = {
        "system_prompt": "Be brief.",
        "format": "Q: {instruction} {input}\nA:",
        "no_input_format": "Q: {instruction}\nA:",
    }
    config = json.dumps({"datasets": [{"path": "a.jsonl", "type": kind}]})
    run_maker.write("README.md", f"<summary>See axolotl config</summary>\n```yaml\n{config}\n```\n")
    template = read_run(run_maker.root).training.template
    assert (template.text, template.system) == (kind["format"], "Be brief.")
    assert dict(template.parts) == kind


def test_without_a_model_card_axolotls_log_tells_the_same(run_maker):
    """It prints its configuration, checked and with all defaults, before training (utils/tee.py, cli/config.py)."""
    run_maker.adapter()
    config = {
        "axolotl_config_path": "/home/petra/a.yaml",
        "learning_rate": 2e-4,
        "datasets": [{"path": "a.jsonl", "type": "alpaca"}],
    }
    text = json.dumps(config, indent=2, sort_keys=True)
    run_maker.write(
        "debug.log", f"[INFO] [axolotl.cli.config.load_cfg:345] [PID:1] config:\n{text}\n[INFO] next\n{{}}\n"
    )
    run = read_run(run_maker.root)
    assert (run.trainer.name, run.trainer.confidence) == ("Axolotl", "high")
    assert settings(run) == {"learning_rate": 2e-4, "datasets": ("a.jsonl",)}
    assert run.training.template.source == "debug.log"
