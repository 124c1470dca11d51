"""Every way to train with PEFT that the matrix knows."""

from __future__ import annotations

from .adapters import RANK, Option, lora_ga
from .methods import METHODS

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
    Option(
        "corda-converted",
        "CorDA, converted",
        fields={"init_lora_weights": "corda"},
        before=("corda",),
        after=("converted",),
    ),
    Option(
        "lora_ga-converted",
        "LoRA-GA, converted",
        fields={"init_lora_weights": "lora_ga", "lora_ga_config": lora_ga},
        before=("lora_ga",),
        after=("converted",),
    ),
    Option("mica", "init mica", fields={"init_lora_weights": "mica"}),
    Option("velora", "VeLoRA", fields={"velora_config": {}}),
    Option("alora", "activated LoRA", fields={"alora_invocation_tokens": [3, 7]}),
    Option("old-experts", "experts by transformers 4's names", targets="old-experts"),
    Option("olora-converted", "OLoRA, converted", fields={"init_lora_weights": "olora"}, after=("converted",)),
)

_BOTH = {"modules_to_save": ["$embedding", "lm_head"]}
_TIED = {"ensure_weight_tying": True}
_TRANSPOSED = {"fan_in_fan_out": True}
MERGED = (
    Option("saved-norms", "modules_to_save: every norm", fields={"modules_to_save": ["$layernorm", "$norm"]}),
    Option(
        "saved-both-rslora", "modules_to_save: both, with rsLoRA", fields={**_BOTH, "use_rslora": True, **_PATTERNED}
    ),
    Option(
        "saved-embedding-tied",
        "modules_to_save: embeddings, ensure_weight_tying",
        fields={"modules_to_save": ["$embedding"], **_TIED},
    ),
    Option("embedding-tied", "lora_embedding_A/B, ensure_weight_tying", targets="embedding", fields=_TIED),
    Option("dora-lm_head", "DoRA of lm_head too", targets="head", fields={"use_dora": True}),
    Option("dora-patterns", "DoRA with patterns", fields={"use_dora": True, **_PATTERNED}),
    Option("dora-saved-norm", "DoRA and modules_to_save", fields={"use_dora": True, "modules_to_save": ["$norm"]}),
    Option("dora-default-keys", "DoRA, keys of a raw state_dict", fields={"use_dora": True}, after=("default_keys",)),
    Option(
        "tokens-by-module",
        "trainable_token_indices by module",
        fields={"trainable_token_indices": {"$embedding": [7, 3, 250]}},
    ),
    Option("lora_bias-linear", "lora_bias on all linear layers", fields={"lora_bias": True}),
    Option("conv1d", "fan_in_fan_out (Conv1D)", fields=_TRANSPOSED),
    Option("conv1d-rslora", "fan_in_fan_out with rsLoRA", fields={**_TRANSPOSED, "use_rslora": True, **_PATTERNED}),
    Option("conv1d-dora", "fan_in_fan_out with DoRA", fields={**_TRANSPOSED, "use_dora": True}),
    Option("vera-square", "VeRA on square layers", kind="VeraConfig", fields={"r": 8}, targets="square", step=1.0),
)
_LINEAR_METHODS = {
    "boft": ("BOFT", "BOFTConfig", {"boft_block_size": 4}, 0.3),
    "hra": ("HRA", "HRAConfig", {"r": RANK}, 0.15),
    "miss": ("MiSS", "MissConfig", {"r": 16}, 0.1),
    "miss-bat": ("MiSS, bat", "MissConfig", {"r": 16, "init_weights": "bat"}, 0.1),
    "fourierft": ("FourierFT", "FourierFTConfig", {"n_frequency": 100, "scaling": 100.0}, 0.1),
    "shira": ("SHiRA", "ShiraConfig", {"r": RANK}, 0.1),
    "c3a": ("C3A", "C3AConfig", {"block_size": 16}, 0.1),
    "road": ("RoAd", "RoadConfig", {"group_size": 16}, 0.1),
    "delora": ("DeLoRA", "DeloraConfig", {"r": RANK}, 0.1),
    "gralora": ("GraLoRA", "GraloraConfig", {"r": RANK, "gralora_k": 2}, 0.1),
    "osf": ("OSF", "OSFConfig", {"effective_rank": 16}, 0.1),
    "waveft": ("WaveFT", "WaveFTConfig", {"n_frequency": 100}, 0.1),
    "tinylora": ("TinyLoRA", "TinyLoraConfig", {"r": 2}, 0.1),
    "psoft": ("PSOFT", "PsoftConfig", {"r": 8}, 0.1),
    "peanut": ("PEANuT", "PeanutConfig", {"r": RANK}, 0.1),
    "deft": ("DEFT", "DeftConfig", {"r": RANK}, 0.1),
    "glora": ("GLoRA", "GloraConfig", {"r": RANK}, 0.1),
    "hira": ("HiRA", "HiraConfig", {"r": RANK}, 0.2),
    "unilora": ("UniLoRA", "UniLoraConfig", {"r": RANK}, 0.2),
    "vblora": ("VB-LoRA", "VBLoRAConfig", {"r": RANK, "num_vectors": 30, "vector_length": 16}, 0.1),
    "lily": ("Lily", "LilyConfig", {"r": RANK}, 0.1),
    "supertuning": ("SuperTuning", "SupertuningConfig", {}, 0.1),
}
_SQUARE_METHODS = {
    "randlora": ("RandLoRA", "RandLoraConfig", {"r": 8}, 0.1),
    "frod": ("FRoD", "FrodConfig", {}, 0.1),
    "pvera": ("PVeRA", "PveraConfig", {"r": 8}, 0.3),
}
PEFT = (
    *(
        Option(name, words, kind=kind, fields=fields, step=step)
        for name, (words, kind, fields, step) in _LINEAR_METHODS.items()
    ),
    *(
        Option(name, words, kind=kind, fields=fields, step=step, targets="square")
        for name, (words, kind, fields, step) in _SQUARE_METHODS.items()
    ),
    Option("beft", "BEFT", kind="BeftConfig", targets="biased", step=0.2),
)
REFUSED = (
    Option("pissa", "PiSSA, not converted", fields={"init_lora_weights": "pissa"}),
    Option("pissa_niter", "PiSSA by fast SVD, not converted", fields={"init_lora_weights": "pissa_niter_4"}),
    Option("olora", "OLoRA, not converted", fields={"init_lora_weights": "olora"}),
    Option("loftq", "LoftQ, not converted", after=("loftq",)),
    Option("corda", "CorDA, not converted", fields={"init_lora_weights": "corda"}, before=("corda",)),
    Option(
        "lora_ga",
        "LoRA-GA, not converted",
        fields={"init_lora_weights": "lora_ga", "lora_ga_config": lora_ga},
        before=("lora_ga",),
    ),
    Option("zero-alpha", "lora_alpha 0", after=("zero_alpha",)),
    Option("layer_replication", "layer_replication", fields={"layer_replication": [[0, 2], [1, 2]]}),
    Option("seq_cls", "sequence classification", fields={"task_type": "SEQ_CLS"}),
    Option("token_cls", "token classification", fields={"task_type": "TOKEN_CLS"}),
    Option("value_head", "a value head (TRL)", after=("value_head",)),
    Option("qalora", "QALoRA", fields={"use_qalora": True, "qalora_group_size": 16}),
    Option("kasa", "KaSA", fields={"kasa_config": {}}),
    Option("monteclora", "MonteCLoRA", fields={"monteclora_config": {}}),
    Option(
        "bdlora",
        "BD-LoRA",
        fields={"use_bdlora": {"nblocks": 2, "target_modules_bd_a": ["q_proj"], "match_strict": False}},
    ),
    Option(
        "cpt",
        "CPT",
        kind="CPTConfig",
        fields={"cpt_token_ids": [1, 2], "cpt_mask": [1, 1], "cpt_tokens_type_mask": [1, 2]},
        targets="",
    ),
    Option("prompt_tuning", "prompt tuning", kind="PromptTuningConfig", fields={"num_virtual_tokens": 4}, targets=""),
    Option("prefix_tuning", "prefix tuning", kind="PrefixTuningConfig", fields={"num_virtual_tokens": 4}, targets=""),
    Option("p_tuning", "P-tuning", kind="PromptEncoderConfig", fields={"num_virtual_tokens": 4}, targets=""),
)
OPTIONS = {option.name: option for option in (*LORA, *METHODS, *MERGED, *PEFT, *REFUSED)}
