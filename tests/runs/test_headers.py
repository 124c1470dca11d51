"""The header parser accepts whole files and names what is wrong with all others."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggship.errors import BadFile
from ggship.runs.headers import read_headers

GOOD = {"a": ("F32", (2, 3)), "b": ("BF16", (4,)), "c": ("I8", (1, 1, 1))}


def file_of(header: object, data: int, tmp_path: Path) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))
    return path


def entry(dtype: object = "F32", shape: object = (1,), begin: object = 0, end: object = 4) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_whole_file_is_read_with_absolute_offsets(make_safetensors, tmp_path):
    data = make_safetensors(GOOD, {"format": "pt"})
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    found = read_headers(path)
    assert found.metadata == {"format": "pt"}
    assert [(t.name, t.dtype, t.shape, t.nbytes) for t in found.tensors.values()] == [
        ("a", "F32", (2, 3), 24),
        ("b", "BF16", (4,), 8),
        ("c", "I8", (1, 1, 1), 1),
    ]
    assert found.tensors["c"].offset + 1 == len(data)
    assert all(tensor.file == path for tensor in found.tensors.values())


def test_padding_after_the_header_and_empty_tensors_are_allowed(tmp_path):
    text = json.dumps({"z": entry(shape=[0], end=0), "a": entry()}).encode() + b"   "
    assert read_headers(file_of(text, 4, tmp_path)).tensors["z"].shape == (0,)


def test_agrees_with_the_reference_implementation(tmp_path):
    numpy = pytest.importorskip("numpy")
    from safetensors.numpy import save_file

    path = tmp_path / "x.safetensors"
    arrays = {"w": numpy.arange(6, dtype="float32").reshape(2, 3), "v": numpy.ones(5, dtype="float16")}
    save_file(arrays, path)
    for name, tensor in read_headers(path).tensors.items():
        assert path.read_bytes()[tensor.offset : tensor.offset + tensor.nbytes] == arrays[name].tobytes()


def test_truncated_at_every_boundary_says_so_and_how_to_mend_it(make_safetensors, tmp_path):
    data = make_safetensors(GOOD)
    path = tmp_path / "adapter_model.safetensors"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(BadFile) as caught:
            read_headers(path)
        error = caught.value
        assert error.message == "adapter_model.safetensors is cut short"
        assert f"{size:,} there" in error.where
        assert str(path) in error.where
        assert "copy it again" in error.hint
    assert f"{len(data):,} bytes expected" in error.where


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        ([], 0, "no JSON object"),
        (b"{'a'}", 0, "no valid JSON"),
        (b"[" * 100_000, 0, "no valid JSON"),
        (b'{"a": ' * 100_000, 0, "no valid JSON"),
        (b"\xff\xfe{}", 0, "no valid JSON"),
        (b'{"a": NaN}', 0, "NaN"),
        (b'{"a": {}, "a": {}}', 0, "there twice"),
        ({"__metadata__": {"format": 1}}, 0, "__metadata__"),
        ({"a": 1}, 0, "other fields"),
        ({"a": {"dtype": "F32", "shape": [1]}}, 0, "other fields"),
        ({"a": entry("F33")}, 4, "unknown dtype"),
        ({"a": entry(["F32"])}, 4, "unknown dtype"),
        ({"a": entry(shape=[True])}, 4, "shape of a"),
        ({"a": entry(shape=[-1])}, 4, "shape of a"),
        ({"a": entry(shape=[1.0])}, 4, "shape of a"),
        ({"a": entry(shape="1")}, 4, "shape of a"),
        ({"a": entry(shape=[1] * 100_000)}, 4, "shape of a"),
        ({"a": entry(begin=4, end=0)}, 4, "data_offsets of a"),
        ({"a": entry(end=None)}, 4, "data_offsets of a"),
        ({"a": entry(shape=[2])}, 4, "takes 8 bytes, not 4"),
        ({"a": entry(shape=[1 << 62, 1 << 62])}, 4, "takes"),
        ({"a": entry(), "b": entry()}, 4, "overlaps"),
        ({"a": entry(), "b": entry(begin=8, end=12)}, 12, "gap"),
        ({"a": entry(begin=4, end=8)}, 8, "gap"),
        ({"a": entry()}, 5, "1 bytes follow the last tensor"),
        ({"a\x1b[31m": entry()}, 4, "not printable"),
        (b'{"a\\ud800": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', 4, "not printable"),
    ],
)
def test_a_damaged_header_is_named(header, data, says, tmp_path):
    path = file_of(header, data, tmp_path)
    with pytest.raises(BadFile) as caught:
        read_headers(path)
    assert says in caught.value.message
    str(caught.value).encode()  # printable anywhere
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("content", "says", "hint"),
    [
        (b"PK\x03\x04 rest of a zip", "zip archive", "safe_serialization"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer", "git lfs pull"),
        (b"GGUF\x03\x00\x00\x00", "GGUF", "--base"),
        (b"<!DOCTYPE html>", "web page", "download the file itself"),
        (b"\xff" * 64, "does not begin like", "copy it again"),
    ],
)
def test_other_kinds_of_files_are_recognised(content, says, hint, tmp_path):
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadFile) as caught:
        read_headers(path)
    assert says in caught.value.message
    assert hint in caught.value.hint


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_bytes_raise_nothing_but_bad_file(data, make_safetensors, tmp_path):
    content = bytearray(make_safetensors(GOOD, {"format": "pt"}))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(("set", "delete", "insert")))
        byte = data.draw(st.integers(0, 255))
        if kind == "set":
            content[at] = byte
        elif kind == "insert":
            content.insert(at, byte)
        elif len(content) > 1:
            del content[at]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    try:
        tensors = read_headers(path).tensors
    except BadFile:
        return
    spans = sorted((tensor.offset, tensor.offset + tensor.nbytes) for tensor in tensors.values())
    assert all(one[1] == two[0] for one, two in pairwise(spans))
    assert not spans or spans[-1][1] == len(content)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("F32"),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(("a", "dtype", "shape", "data_offsets", "__metadata__")), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_raises_nothing_but_bad_file(header, tmp_path):
    path = file_of(header, 4, tmp_path)
    with suppress(BadFile):
        read_headers(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BadFile, match="cannot be read"):
        read_headers(tmp_path / "missing.safetensors")
