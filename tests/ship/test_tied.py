"""A base whose output head is its embedding: what cannot be served as an adapter is merged."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import load_file, save_file


def test_an_embedding_that_is_the_head_too_is_merged_where_the_server_would_take_an_adapter(
    old_shop, tiny_base, tiny_run
):
    """Trained in both places (ensure_weight_tying); llama.cpp aborts when it is served as an adapter."""
    tiny_base(old_shop.base, tied=True)
    tiny_run(old_shop.run, ensure_weight_tying=True)
    file = old_shop.run / "adapter_model.safetensors"
    rng = np.random.default_rng(3)
    stem = "base_model.model.model.embed_tokens.lora_embedding"
    embedding = {
        f"{stem}_A": rng.standard_normal((4, 96)).astype(np.float32),
        f"{stem}_B": rng.standard_normal((64, 4)).astype(np.float32),
    }
    save_file({**load_file(file), **embedding}, file, metadata={"format": "pt"})
    shipped = old_shop.package(evaluate=False)
    assert shipped.plan.strategy == "merge"
    assert "output head too" in dict(shipped.plan.reasons)["strategy"]
    assert shipped.info.document["merge"]["merged"] == 15
