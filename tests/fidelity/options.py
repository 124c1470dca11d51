"""Every way to train with PEFT that the matrix knows."""

from __future__ import annotations

from .adapters import Option

_PATTERNED = {
    "rank_pattern": {"$attention0": 2, r"layers\.1\..*$attention1": 8, r"h\.1\..*$attention1": 8},
    "alpha_pattern": {"$mlp0": 12, r"layers\.0\..*$attention0": 3, r"h\.0\..*$attention0": 3},
}
_RANKS = {"rank_pattern": _PATTERNED["rank_pattern"]}
_ALPHAS = {"alpha_pattern": _PATTERNED["alpha_pattern"]}
_EVA = {
    "rank_pattern": {"$attention0": 6, "$attention1": 3},
    "alpha_pattern": {"$attention0": 9.0, "$attention1": 4.5},
}

LORA = (
    Option("lora", "LoRA"),
    Option("rslora", "use_rslora", fields={"use_rslora": True}),
    Option("alpha_pattern", "alpha_pattern", fields=_ALPHAS),
    Option("rank_pattern", "rank_pattern", fields=_RANKS),
    Option("rank_pattern-rslora", "rank_pattern with rsLoRA", fields={**_RANKS, "use_rslora": True}),
    Option("patterns-rslora", "both patterns with rsLoRA", fields={**_PATTERNED, "use_rslora": True}),
    Option("float-alpha", "a float lora_alpha", fields={"lora_alpha": 5.3}),
    Option("negative-alpha", "a negative lora_alpha", fields={"lora_alpha": -6}),
    Option("eva", "EVA (its patterns)", fields=_EVA, after=("eva",)),
    Option("gaussian", "init gaussian", fields={"init_lora_weights": "gaussian"}),
    Option("orthogonal", "init orthogonal", fields={"init_lora_weights": "orthogonal"}),
    Option("dropout", "lora_dropout", fields={"lora_dropout": 0.5}),
    Option("regex", "target_modules as a regular expression", targets="regex"),
    Option("all-linear", "target_modules all-linear", targets="all-linear"),
    Option("one-layer", "layers_to_transform", fields={"layers_to_transform": [1]}),
    Option("attention", "attention alone", targets="attention"),
    Option("default-keys", "keys of a raw state_dict (.default.)", after=("default_keys",)),
    Option(
        "default-keys-rslora",
        "keys of a raw state_dict, with rsLoRA",
        fields={**_RANKS, "use_rslora": True},
        after=("default_keys",),
    ),
    Option("subfolder", "a named adapter's subfolder", after=("subfolder",)),
    Option("sharded", "several files with an index", after=("sharded",)),
    Option("half", "saved as float16", after=("half",)),
    Option("bfloat16", "saved as bfloat16", after=("bfloat",)),
    Option("bfloat16-rslora", "saved as bfloat16, with rsLoRA", fields={"use_rslora": True}, after=("bfloat",)),
    Option("embedding", "lora_embedding_A/B and all linear layers", targets="embedding"),
    Option(
        "embedding-rslora", "lora_embedding_A/B with rsLoRA", targets="embedding", fields={"use_rslora": True, **_RANKS}
    ),
    Option("lm_head", "lm_head and all linear layers", targets="head"),
    Option("embedding-lm_head", "embeddings, lm_head and all linear layers", targets="embedding-and-head"),
    Option("lora-router", "LoRA on attention and router", targets="router"),
    Option("pissa-converted", "PiSSA, converted", fields={"init_lora_weights": "pissa"}, after=("converted",)),
    Option(
        "pissa-converted-rslora",
        "PiSSA with rsLoRA, converted",
        fields={"init_lora_weights": "pissa", "use_rslora": True},
        after=("converted",),
    ),
    Option("olora-converted", "OLoRA, converted", fields={"init_lora_weights": "olora"}, after=("converted",)),
)

REFUSED = (
    Option("pissa", "PiSSA, not converted", fields={"init_lora_weights": "pissa"}),
    Option("pissa_niter", "PiSSA by fast SVD, not converted", fields={"init_lora_weights": "pissa_niter_4"}),
    Option("olora", "OLoRA, not converted", fields={"init_lora_weights": "olora"}),
    Option("loftq", "LoftQ, not converted", after=("loftq",)),
    Option("corda", "CorDA, not converted", after=("corda",)),
    Option("lora_ga", "LoRA-GA, not converted", after=("lora_ga",)),
    Option("zero-alpha", "lora_alpha 0", after=("zero_alpha",)),
    Option("layer_replication", "layer_replication", fields={"layer_replication": [[0, 2], [1, 2]]}),
    Option("seq_cls", "sequence classification", after=("seq_cls",)),
    Option("qalora", "QALoRA", after=("qalora",)),
    Option("prompt_tuning", "prompt tuning", kind="PromptTuningConfig", fields={"num_virtual_tokens": 4}, targets=""),
    Option("prefix_tuning", "prefix tuning", kind="PrefixTuningConfig", fields={"num_virtual_tokens": 4}, targets=""),
    Option("p_tuning", "P-tuning", kind="PromptEncoderConfig", fields={"num_virtual_tokens": 4}, targets=""),
)
OPTIONS = {option.name: option for option in (*LORA, *REFUSED)}
