"""The type mix is llama.cpp's own, tensor by tensor. data/mixes.json is what the real llama-quantize made."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ggship.errors import UsageError
from ggship.gguf.mix import FILE_TYPES, choose_types, fitting, may_quantize, parse_quant
from ggship.gguf.quantize import best_kernels
from ggship.gguf.reader import TensorInfo, read_gguf
from ggship.gguf.types import GgmlType

RECORDED = json.loads((Path(__file__).parent / "data" / "mixes.json").read_text("utf-8"))


def table(types: dict[str, str]) -> dict[str, str]:
    rows: dict[str, list[str]] = {}
    for name, kind in types.items():
        rows.setdefault(re.sub(r"blk\.\d+\.", "blk.*.", name), []).append(kind)
    return {
        name: " ".join(kind if (n := len(list(run))) == 1 else f"{kind}*{n}" for kind, run in itertools.groupby(kinds))
        for name, kinds in rows.items()
    }


@pytest.mark.parametrize("name", RECORDED)
def test_types_are_those_of_llama_quantize(models, name):
    file = models.MODELS[name].header()
    for quant, recorded in RECORDED[name].items():
        chosen = choose_types(file, quant)
        ours = {tensor.name: chosen[tensor.name].name for tensor in file.tensors if len(tensor.shape) > 1}
        assert table(ours) == recorded, quant


def test_every_offered_quantization_was_recorded(models):
    assert set(RECORDED) == set(models.MODELS)
    assert all(set(recorded) == set(FILE_TYPES) for recorded in RECORDED.values())


def test_norms_and_vectors_keep_their_type(models):
    file = models.MODELS["qwen2"].header()
    chosen = choose_types(file, "Q4_K_M")
    for tensor in file.tensors:
        if len(tensor.shape) == 1:
            assert chosen[tensor.name] is GgmlType.F32


@pytest.mark.parametrize(
    ("name", "shape", "quantized"),
    [
        ("blk.0.attn_q.weight", (8, 32), True),
        ("blk.0.attn_q.weight", (1, 32), False),  # one row: ggml counts one dimension
        ("blk.0.ffn_gate_inp.weight", (8, 32), False),
        ("blk.0.ssm_conv1d.weight", (8, 32), False),
        ("blk.0.time_mix_w1.weight", (8, 32), False),
        ("v.blk.patch_embd.weight", (8, 32), False),
        ("position_embd.weight", (8, 32), False),
        ("blk.0.attn_q.bias", (8, 32), False),
    ],
)
def test_which_tensors_are_quantized_at_all(name, shape, quantized):
    assert may_quantize(TensorInfo(name, shape, GgmlType.F16, 0, 0), "llama") is quantized


@pytest.mark.parametrize(
    ("kind", "columns", "expected"),
    [("Q4_K", 256, "Q4_K"), ("Q4_K", 288, "Q5_0"), ("Q5_K", 96, "Q5_1"), ("Q6_K", 32, "Q8_0"), ("Q6_K", 40, "F16")],
)
def test_rows_that_a_type_does_not_divide_get_the_type_that_llama_cpp_takes(kind, columns, expected):
    assert fitting(GgmlType[kind], columns).name == expected


def test_quantizations_are_named_as_users_write_them():
    assert parse_quant("q4_k_m") == "Q4_K_M"
    assert parse_quant("Q4_K") == "Q4_K_M"
    with pytest.raises(UsageError, match="Q3_K_M") as caught:
        parse_quant("Q3_K_M")
    assert "Q4_K_M" in caught.value.hint


@pytest.mark.live
@pytest.mark.parametrize("name", ["llama-tied", "llama-odd", "mixtral"])
def test_types_and_bytes_are_those_of_the_real_llama_quantize(models, llama_cpp, tmp_path, name):
    model = models.MODELS[name]
    source = model.write(tmp_path / "in.gguf")
    file = read_gguf(source)
    program = llama_cpp("llama-quantize")
    kernels = best_kernels()
    data = np.memmap(source, np.uint8, "r")
    for quant in FILE_TYPES:
        out = tmp_path / f"{quant}.gguf"
        environment = os.environ | {"LD_LIBRARY_PATH": str(program.parent)}
        subprocess.run([program, source, out, quant, "2"], env=environment, check=True, capture_output=True)
        theirs = {tensor.name: tensor for tensor in read_gguf(out).tensors}
        written = np.memmap(out, np.uint8, "r")
        chosen = choose_types(file, quant)
        for tensor in file.tensors:
            other = theirs[tensor.name]
            assert chosen[tensor.name] is other.type, (quant, tensor.name)
            weights = np.empty((tensor.rows, tensor.columns), np.float32)
            raw = np.array(data[tensor.offset : tensor.offset + tensor.nbytes]).reshape(tensor.rows, -1)
            kernels.dequantize(tensor.type, raw, weights)
            ours = np.empty((tensor.rows, other.nbytes // tensor.rows), np.uint8)
            kernels.quantize(other.type, weights, ours)
            assert bytes(written[other.offset : other.offset + other.nbytes]) == ours.tobytes(), (quant, tensor.name)
