"""The trainer is recognised by what it leaves, and the evidence is named."""

from __future__ import annotations

import pytest

from ggship.errors import BadFile
from ggship.runs import obstacles, read_run

CHATGLM = {
    f"base_model.model.transformer.encoder.layers.{layer}.self_attention.query_key_value.lora_{half}.weight": (
        "F16",
        (8, 16) if half == "A" else (24, 8),
    )
    for layer in range(2)
    for half in "AB"
}
MLX = {
    "model.layers.0.self_attn.q_proj.lora_a": ("F32", (16, 8)),
    "model.layers.0.self_attn.q_proj.lora_b": ("F32", (8, 16)),
}

CASES = {
    "ms-swift": ({"args.json": {"swift_version": "4.6.0", "template": "qwen3"}}, "args.json has swift_version"),
    "torchtune": ({"torchtune_config.yaml": "model: x\n"}, "torchtune_config.yaml"),
    "Axolotl": (
        {"README.md": "# x\n<details><summary>See axolotl config</summary>\n\naxolotl version: `0.18.0`\n"},
        "README.md holds its configuration",
    ),
    "LLaMA-Factory": ({"trainer_log.jsonl": '{"current_steps": 5, "total_steps": 9}\n'}, "trainer_log.jsonl"),
    "Unsloth": ({"README.md": "---\nbase_model: x\ntags:\n- base_model:adapter:x\n- unsloth\n---\n"}, "tag unsloth"),
    "TRL": (
        {"README.md": "# x\nIt has been trained using [TRL](https://x).\n- TRL: 1.10.0\n- PEFT 0.20.0\n"},
        "README.md",
    ),
    "PEFT": ({"README.md": "### Framework versions\n\n- PEFT 0.20.0\n"}, "no other trainer left a mark"),
}
VERSIONS = {"ms-swift": "4.6.0", "Axolotl": "0.18.0", "TRL": "1.10.0", "PEFT": "0.20.0"}


@pytest.mark.parametrize("name", CASES)
def test_each_trainer(name, run_maker):
    files, evidence = CASES[name]
    path = run_maker.adapter()
    for file, content in files.items():
        run_maker.write(file, content)
    trainer = read_run(path).trainer
    assert trainer is not None
    assert trainer.name == name
    assert evidence in trainer.evidence
    assert trainer.version == VERSIONS.get(name, "")


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("Axolotl", "debug.log", 'config:\n{"axolotl_config_path": "x.yaml"}'),
        ("LLaMA-Factory", "llamaboard_config.yaml", "top.template: qwen\n"),
        ("LLaMA-Factory", "training_args.yaml", "finetuning_type: lora\n"),
        ("LLaMA-Factory", "README.md", "---\ntags: [llama-factory, lora, unsloth]\n---\n"),
        ("ms-swift", "args.json", {"sft_type": "lora"}),
        ("torchtune", "recipe_state/recipe_state.pt", ""),
        ("Unsloth", "config.json", {"unsloth_version": "2026.8.1"}),
        ("TRL", "README.md", "---\ntags:\n  - trl\n  - sft\n---\n"),
    ],
)
def test_other_marks(name, file, content, run_maker):
    path = run_maker.adapter()
    run_maker.write(file, content)
    trainer = read_run(path).trainer
    assert trainer is not None
    assert trainer.name == name


@pytest.mark.parametrize(
    "config",
    [
        {"auto_mapping": {"unsloth_fixed": True}},
        {"base_model_name_or_path": "unsloth/Qwen3-4B-unsloth-bnb-4bit"},
    ],
)
def test_unsloth_by_config(config, run_maker):
    trainer = read_run(run_maker.adapter(**config)).trainer
    assert trainer is not None
    assert trainer.name == "Unsloth"


def test_llama_factory_with_unsloth_inside_is_llama_factory(run_maker):
    path = run_maker.adapter(base_model_name_or_path="unsloth/x-bnb-4bit")
    run_maker.write("README.md", "---\ntags:\n- llama-factory\n- unsloth\n---\n")
    trainer = read_run(path).trainer
    assert trainer is not None
    assert trainer.name == "LLaMA-Factory"


def test_chatglm3_finetune_demo(run_maker):
    for step in (500, 1000):
        run_maker.adapter(f"checkpoint-{step}", tensors=CHATGLM, lora_alpha=32, lora_dropout=0.1)
    run_maker.trained("checkpoint-1000", [500, 1000], **{"eval_rouge-l": 30.0})
    run = read_run(run_maker.root)
    assert run.path.name == "checkpoint-1000"
    assert run.trainer is not None
    assert run.trainer.name == "ChatGLM3 finetune_demo"
    assert "eval_rouge-l" in run.trainer.evidence
    assert run.modules[0].name == "transformer.encoder.layers.0.self_attention.query_key_value"
    assert run.modules[0].base_shape == (24, 16)
    assert run.modules[0].scale == 4.0


def test_chatglm_trained_otherwise_is_not_taken_for_the_demo(run_maker):
    trainer = read_run(run_maker.adapter(tensors=CHATGLM)).trainer
    assert trainer is not None
    assert trainer.name == "PEFT"


def test_chatglm_with_a_tokenizer_saved_was_not_the_demo(run_maker):
    path = run_maker.adapter(tensors=CHATGLM, lora_alpha=32, lora_dropout=0.1)
    trainer = read_run(path).trainer
    assert trainer is not None
    assert trainer.name == "ChatGLM3 finetune_demo"
    run_maker.write("tokenizer_config.json", {})
    trainer = read_run(path).trainer
    assert trainer is not None
    assert trainer.name == "PEFT"


def test_mlx_is_recognised_and_read_as_peft_would_have_saved_it(run_maker):
    config = {"fine_tune_type": "lora", "lora_parameters": {"rank": 8, "scale": 20.0}, "model": "mlx-community/x-4bit"}
    run_maker.config = config
    run = read_run(run_maker.adapter(tensors=MLX, file="adapters.safetensors"))
    assert run.trainer is not None
    assert run.trainer.name == "mlx-lm"
    assert run.base_named == "mlx-community/x-4bit"
    (module,) = run.modules
    assert (module.rank, module.alpha, module.scale) == (8, 160.0, 20.0)
    assert (module.a.shape[0], module.b.shape[1]) == (8, 8)
    assert module.a.transposed
    assert module.b.transposed
    assert run.unexpressed == ()
    assert obstacles(run) == ()


@pytest.mark.parametrize("parameters", [{}, {"rank": 8}, {"rank": 0, "scale": 1.0}, {"rank": 8, "scale": "20"}])
def test_mlx_without_rank_or_scale_is_damaged(parameters, run_maker):
    run_maker.config = {"lora_parameters": parameters, "model": "x"}
    with pytest.raises(BadFile, match="rank and a scale"):
        read_run(run_maker.adapter(tensors=MLX, file="adapters.safetensors"))


def test_mlx_experts_are_refused(run_maker):
    run_maker.config = {"lora_parameters": {"rank": 8, "scale": 20.0}, "model": "x"}
    experts = {
        "model.layers.0.mlp.switch_mlp.up_proj.lora_a": ("F32", (4, 8, 16)),
        "model.layers.0.mlp.switch_mlp.up_proj.lora_b": ("F32", (4, 24, 8)),
    }
    run = read_run(run_maker.adapter(tensors={**MLX, **experts}, file="adapters.safetensors"))
    assert len(run.unexpressed) == 2
    assert [(item.code, item.way) for item in obstacles(run)] == [("unknown-tensors", "")]


def test_axolotl_leaves_a_config_json_and_is_still_no_full_model(run_maker):
    path = run_maker.adapter()
    run_maker.write("config.json", {"model_type": "llama"})
    assert read_run(path).modules


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("args.json", "{"),
        ("args.json", "[1]"),
        ("trainer_log.jsonl", "\x00"),
        ("README.md", b"\xff" * 99),
        ("config.json", "[" * 99999),
    ],
)
def test_odd_files_prove_nothing_and_stop_nothing(file, content, run_maker):
    path = run_maker.adapter()
    run_maker.write(file, content)
    trainer = read_run(path).trainer
    assert trainer is not None
    assert trainer.name == "PEFT"
