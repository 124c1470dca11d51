"""mlx-lm's adapters: y = W x + scale (x A) B with A [in, r] and B [r, out] (mlx_lm/tuner/lora.py)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from ggship.convert import convert_adapter
from ggship.convert.native import permuted
from ggship.convert.sources import adapter_tensors
from ggship.convert.updates import tensor_updates
from ggship.gguf.scratch import Scratch
from ggship.runs import read_run

SCALE = 3.0
Q, V = "model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"


@pytest.fixture
def mlx(tmp_path):
    """mlx(**extra tensors): a run of its layout, on the last layer alone; (run, tensors)."""

    def make(kind="lora", **extra):
        rng = np.random.default_rng(0)
        tensors = {}
        for name, out in ((Q, 32), (V, 16)):
            tensors[f"{name}.lora_a"] = rng.standard_normal((32, 4)).astype(np.float32)
            tensors[f"{name}.lora_b"] = rng.standard_normal((4, out)).astype(np.float32)
        tensors |= extra
        folder = tmp_path / "adapters"
        folder.mkdir()
        config = {"fine_tune_type": kind, "num_layers": 1, "model": "mlx-community/tiny-4bit"}
        config["lora_parameters"] = {"rank": 4, "scale": SCALE, "dropout": 0.0}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        save_file(tensors, folder / "adapters.safetensors")
        return read_run(folder), tensors

    return make


def test_its_deltas_reach_the_adapter(mlx, make_base, tmp_path, read_gguf):
    run, tensors = mlx()
    convert_adapter(run, tmp_path / "a.gguf", base=make_base(tensors=True))
    fields, found = read_gguf(tmp_path / "a.gguf")
    assert len(found) == 4
    for name, module, heads in (("attn_q", Q, 4), ("attn_v", V, 0)):
        a, b = found[f"blk.1.{name}.weight.lora_a"], found[f"blk.1.{name}.weight.lora_b"]
        delta = SCALE * (tensors[f"{module}.lora_a"] @ tensors[f"{module}.lora_b"]).T.astype(float)
        delta = permuted(delta, heads) if heads else delta
        np.testing.assert_allclose(fields["adapter.lora.alpha"] / 4 * (b @ a), delta, rtol=1e-5, atol=1e-5)


def test_its_dora_is_merged(mlx, make_base):
    magnitudes = np.linspace(1, 2, 16).astype(np.float32)
    run, tensors = mlx("dora", **{f"{V}.m": magnitudes, f"{Q}.m": np.ones(32, np.float32)})
    weights = np.random.default_rng(1).standard_normal((16, 32)).astype(np.float32)
    with adapter_tensors() as source:
        updates = {update.name: update for update in tensor_updates(run, make_base(tensors=True), source)}
        assert set(updates) == {"blk.1.attn_q.weight", "blk.1.attn_v.weight"}
        _, merged = updates["blk.1.attn_v.weight"].make(0).merge(0, weights, Scratch())
    total = weights + SCALE * (tensors[f"{V}.lora_a"].astype(float) @ tensors[f"{V}.lora_b"]).T
    expected = magnitudes[:, None] * total / np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(merged, expected, rtol=1e-6)
