"""Ways to train whose update only a merge can carry."""

from __future__ import annotations

from .adapters import Option

_TOKENS = [7, 3, 250]
_LOKR = {"kind": "LoKrConfig"}

METHODS = (
    Option("dora", "DoRA", fields={"use_dora": True}),
    Option("dora-rslora", "DoRA with rsLoRA", fields={"use_dora": True, "use_rslora": True}),
    Option("dora-embedding", "DoRA of embeddings too", targets="embedding", fields={"use_dora": True}),
    Option("saved-norm", "modules_to_save: norms", fields={"modules_to_save": ["$norm"]}),
    Option("saved-head", "modules_to_save: lm_head", fields={"modules_to_save": ["lm_head"]}),
    Option("saved-embedding", "modules_to_save: embeddings", fields={"modules_to_save": ["$embedding"]}),
    Option("saved-both", "modules_to_save: both", fields={"modules_to_save": ["$embedding", "lm_head"]}),
    Option("saved-linear", "modules_to_save: a linear layer", targets="mlp",
           fields={"modules_to_save": ["$attention0"]}),
    Option("tokens", "trainable_token_indices", fields={"trainable_token_indices": _TOKENS}),
    Option("only-tokens", "trainable tokens alone", "TrainableTokensConfig", {"token_indices": _TOKENS}, targets=""),
    Option("bias-all", "bias all", fields={"bias": "all"}),
    Option("bias-lora", "bias lora_only", fields={"bias": "lora_only"}),
    Option("lora_bias", "lora_bias", targets="biased", fields={"lora_bias": True}),
    Option("loha", "LoHa", "LoHaConfig", {"r": 4, "alpha": 6, "init_weights": False}),
    Option("loha-patterns", "LoHa with patterns", "LoHaConfig",
           {"r": 4, "alpha": 6, "init_weights": False,
            "rank_pattern": {"$attention0": 2}, "alpha_pattern": {"$mlp0": 9}}),
    Option("lokr", "LoKr", **_LOKR, fields={"r": 3, "alpha": 5, "init_weights": False}),
    Option("lokr-full", "LoKr, full factors", **_LOKR, fields={"r": 64, "alpha": 40, "init_weights": False}),
    Option("lokr-both", "LoKr, both decomposed", **_LOKR,
           fields={"r": 2, "alpha": 5, "decompose_both": True, "init_weights": False}),
    Option("lokr-factor", "LoKr with a factor", **_LOKR,
           fields={"r": 2, "alpha": 5, "decompose_factor": 4, "init_weights": False}),
    Option("adalora", "AdaLoRA", "AdaLoraConfig", {"init_r": 5, "total_step": 10, "lora_alpha": 6}),
    Option("ia3", "IA3", "IA3Config", targets="ia3"),
    Option("vera", "VeRA", "VeraConfig", {"r": 8, "d_initial": 0.4}, step=1.0),
    Option("vera-drawn", "VeRA, projections not saved", "VeraConfig",
           {"r": 8, "d_initial": 0.4, "save_projection": False, "projection_prng_key": 5}, step=1.0),
    Option("oft", "OFT", "OFTConfig", {"oft_block_size": 8}),
    Option("oft-cayley", "OFT by Cayley's transform", "OFTConfig", {"oft_block_size": 8, "use_cayley_neumann": False}),
    Option("oft-terms", "OFT, three terms", "OFTConfig", {"oft_block_size": 8, "num_cayley_neumann_terms": 3}),
    Option("oft-share", "OFT, one block for all", "OFTConfig", {"oft_block_size": 8, "block_share": True}),
    Option("coft", "constrained OFT", "OFTConfig", {"oft_block_size": 8, "coft": True, "eps": 0.5}),
    Option("ln_tuning", "LN tuning", "LNTuningConfig", targets="norms"),
    Option("experts", "target_parameters: fused experts", targets="experts"),
    Option("experts-rslora", "fused experts with rsLoRA", targets="experts", fields={"use_rslora": True}),
    Option("only-experts", "one of the fused experts", targets="only-experts"),
)  # fmt: skip
