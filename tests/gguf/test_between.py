"""What another program merged, taken up as updates of the base."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ggship.errors import NotExpressible
from ggship.gguf.merge import merge_updates
from ggship.gguf.quantize import best_kernels
from ggship.gguf.reader import read_gguf
from ggship.gguf.updates.between import updates_between

Q, EMBEDDING = "blk.0.attn_q.weight", "token_embd.weight"


@pytest.fixture
def model(models):
    return models.Model("llama", 2, width=64, ffn=96, vocab=80)


def raw(path, name):
    tensor = read_gguf(path).tensor(name)
    return path.read_bytes()[tensor.offset : tensor.offset + tensor.nbytes]


def weights(path, name):
    tensor = read_gguf(path).tensor(name)
    out = np.empty((tensor.rows, tensor.columns), np.float32)
    best_kernels().dequantize(tensor.type, np.frombuffer(raw(path, name), np.uint8).reshape(tensor.rows, -1), out)
    return out.reshape(tensor.shape)


def changed(base, path, changes):
    """The base dequantized to F32, with the changes of some tensors; as PEFT and the converter would leave it."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    for tensor in read_gguf(base).tensors:
        values = weights(base, tensor.name)
        change = changes.get(tensor.name)
        writer.add_tensor(tensor.name, np.asarray(change(values) if change else values, np.float32))
    for name, values in changes.items():
        if not callable(values):
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def merge(base, merged, out, **options):
    with updates_between(read_gguf(base), read_gguf(merged), best_kernels()) as updates:
        return merge_updates(base, updates, out, **options)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_only_what_differs_is_touched(model, tmp_path, kind):
    base = model.write(tmp_path / "base.gguf", kind)
    merged = changed(base, tmp_path / "merged.gguf", {Q: lambda weights: weights * 1.5})
    report = merge(base, merged, tmp_path / "out.gguf")
    assert [tensor.name for tensor in report.tensors] == [Q]
    assert report.survival > 0.99
    for tensor in read_gguf(base).tensors:
        if tensor.name != Q:
            assert raw(tmp_path / "out.gguf", tensor.name) == raw(base, tensor.name)
    np.testing.assert_allclose(
        weights(tmp_path / "out.gguf", Q), 1.5 * weights(base, Q), rtol=0.02, atol=0.02 * np.abs(weights(base, Q)).max()
    )


def test_what_rounding_to_16_bits_changed_is_no_change(model, tmp_path):
    """PEFT merges into 32-bit weights; the base's GGUF may have been made with 16."""
    base = model.write(tmp_path / "base.gguf", "F16")
    merged = changed(base, tmp_path / "merged.gguf", {
        Q: lambda weights: weights + 1, "blk.1.ffn_up.weight": lambda weights: weights * np.float32(1 + 2**-14),
    })  # fmt: skip
    assert [tensor.name for tensor in merge(base, merged, tmp_path / "out.gguf").tensors] == [Q]


def test_a_parted_head_is_a_new_tensor(model, tmp_path):
    base = model.write(tmp_path / "base.gguf", "F16")
    merged = changed(base, tmp_path / "merged.gguf", {"output.weight": 2 * weights(base, EMBEDDING)})
    report = merge(base, merged, tmp_path / "out.gguf")
    assert [tensor.name for tensor in report.tensors] == ["output.weight"]
    np.testing.assert_array_equal(weights(tmp_path / "out.gguf", "output.weight"), 2 * weights(base, EMBEDDING))


def test_another_vocabulary_is_refused(model, models, tmp_path):
    base = model.write(tmp_path / "base.gguf", "F16")
    other = dataclasses.replace(model, vocab=88).write(tmp_path / "other.gguf", "F16")
    with pytest.raises(NotExpressible) as refused:
        merge(base, other, tmp_path / "out.gguf")
    assert "vocabulary" in refused.value.hint


def test_missing_tensors_are_refused(model, models, tmp_path):
    base = model.write(tmp_path / "base.gguf", "F16")
    shallow = dataclasses.replace(model, layers=1).write(tmp_path / "shallow.gguf", "F16")
    with pytest.raises(NotExpressible, match="lacks"):
        merge(base, shallow, tmp_path / "out.gguf")
