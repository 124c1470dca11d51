"""Reading GGUF headers: what is in them, and every way in which a file can be broken."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggship.errors import BadFile
from ggship.gguf.reader import read_gguf
from ggship.gguf.types import GgmlType
from ggship.gguf.values import ValueType, encode


@pytest.fixture
def small(models, tmp_path):
    """A whole model file of a few kilobytes, with a vocabulary."""
    model = models.Model("llama", 1, width=32, ffn=32, vocab=8, metadata={"tokenizer.ggml.tokens": list("abcdefgh")})
    return model.write(tmp_path / "small.gguf")


def test_the_types_are_those_of_the_gguf_library():
    for kind in gguf.GGMLQuantizationType:
        if kind.name in ("Q8_1", "Q8_K"):  # used only inside ggml's matrix products; the library counts Q8_1 larger
            continue
        ours = GgmlType(int(kind))
        assert ours.name == kind.name
        assert (ours.block, ours.block_bytes) == gguf.GGML_QUANT_SIZES[kind]


def test_a_header_says_what_the_gguf_library_says(small):
    ours, theirs = read_gguf(small), gguf.GGUFReader(small)
    assert ours.architecture == "llama"
    assert ours.version == 3
    for field in theirs.fields.values():
        if not field.name.startswith("GGUF."):
            assert ours.get(field.name) == field.contents(), field.name
    assert [tensor.name for tensor in ours.tensors] == [tensor.name for tensor in theirs.tensors]
    for tensor, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert tensor.shape == tuple(int(size) for size in other.shape)[::-1]
        assert (int(tensor.type), tensor.offset, tensor.nbytes) == (
            int(other.tensor_type),
            other.data_offset,
            other.n_bytes,
        )


def test_a_missing_key_gives_the_default(small):
    assert read_gguf(small).get("no.such.key", "default") == "default"


def test_reading_a_header_imports_no_numpy(small):
    code = (
        "import sys; from pathlib import Path; import ggship.gguf; from ggship.gguf.reader import read_gguf;"
        f"read_gguf(Path({str(small)!r})).get('tokenizer.ggml.tokens');"
        "sys.exit(' '.join({'numpy', 'gguf', 'libgguf'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_cut_anywhere_is_refused(small, tmp_path):
    whole = small.read_bytes()
    last = read_gguf(small).tensors[-1]
    cut = tmp_path / "cut.gguf"
    for length in [*range(0, 2200, 7), *range(2200, last.offset + last.nbytes, 997), last.offset + last.nbytes - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(BadFile) as caught:
            read_gguf(cut)
        assert str(cut) in caught.value.where
        assert caught.value.hint


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_header_is_refused_or_read_but_never_worse(tmp_path_factory, models, data):
    folder = tmp_path_factory.mktemp("damaged")
    model = models.Model("llama", 1, width=32, ffn=32, vocab=8, metadata={"tokenizer.ggml.tokens": ["a", "b"]})
    whole = bytearray(model.write(folder / "whole.gguf").read_bytes())
    at = data.draw(st.integers(0, 1500))
    whole[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    path = folder / "damaged.gguf"
    path.write_bytes(whole)
    try:
        file = read_gguf(path)
        for value in file.metadata.values():
            value.decode()
    except BadFile:
        return
    assert all(tensor.offset + tensor.nbytes <= len(whole) for tensor in file.tensors)


def header(version=3, tensors=0, keys=0, rest=b""):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def text(value):
    return struct.pack("<Q", len(value)) + value


def pair(key, kind, raw):
    return text(key) + struct.pack("<I", kind) + raw


def info(name=b"t", dims=(32,), kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a GGUF file"),
        (b"PK\x03\x04" + bytes(100), "not a GGUF file"),
        (header(version=1), "version 1"),
        (header(version=4), "version 4"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big endian"),
        (header(tensors=2**60), "cannot fit"),
        (header(keys=2**63), "cannot fit"),
        (header(keys=1, rest=pair(b"k", 99, bytes(8))), "value type 99"),
        (header(keys=1, rest=pair(b"k", 8, struct.pack("<Q", 2**62))), "truncated"),
        (header(keys=1, rest=pair(b"k", 9, struct.pack("<IQ", 8, 2**61))), "strings cannot fit"),
        (header(keys=1, rest=pair(b"k", 9, struct.pack("<IQ", 9, 1)) + bytes(64)), "array of arrays"),
        (header(keys=1, rest=pair(b"k", 9, struct.pack("<IQ", 4, 2**62))), "truncated"),
        (header(keys=2, rest=pair(b"k", 4, bytes(4)) * 2), "twice"),
        (header(keys=1, rest=pair(b"general.alignment", 4, struct.pack("<I", 24))), "power of two"),
        (header(keys=1, rest=pair(b"general.alignment", 4, bytes(4))), "power of two"),
        (header(tensors=1, rest=info(kind=5) + bytes(256)), "tensor type 5"),
        (header(tensors=1, rest=info(dims=(1,) * 5) + bytes(256)), "dimensions"),
        (header(tensors=1, rest=info(dims=(33,), kind=8) + bytes(256)), "blocks of 32"),
        (header(tensors=1, rest=info(offset=8) + bytes(256)), "alignment"),
        (header(tensors=1, rest=info(offset=2**63 - 32) + bytes(256)), "truncated"),
        (header(tensors=1, rest=info(dims=(2**63, 2**63)) + bytes(256)), "truncated"),
        (header(tensors=2, rest=info() + info(offset=128) + bytes(512)), "twice"),
        (header(tensors=2, rest=info() + info(b"u", offset=32) + bytes(512)), "another tensor"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, content, says):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(BadFile) as caught:
        read_gguf(path)
    assert says in f"{caught.value.message} {caught.value.where}"


def test_version_2_is_read(tmp_path):
    path = tmp_path / "two.gguf"
    path.write_bytes(header(version=2, keys=1, rest=pair(b"general.architecture", 8, text(b"llama"))))
    assert read_gguf(path).architecture == "llama"


numbers = st.integers(-(2**63), 2**64 - 1)
values = st.one_of(
    numbers,
    st.booleans(),
    st.text(max_size=20),
    st.floats(width=32, allow_nan=False),
    st.lists(st.integers(0, 2**64 - 1), max_size=5),
    st.lists(st.text(max_size=5), max_size=5),
    st.lists(st.booleans(), max_size=5),
)


@given(values)
@settings(deadline=None)
def test_a_value_survives_encoding(value):
    encoded = encode(value)
    assert encoded.decode() == value
    assert encode(encoded.decode(), like=encoded).raw() == encoded.raw()


@given(values, st.integers(-1, 6))
@settings(deadline=None)
def test_one_item_is_the_one_of_the_whole_array(value, index):
    item = encode(value).item_at(index)
    if isinstance(value, list) and 0 <= index < len(value):
        assert item == value[index]
    else:
        assert item is None


def test_a_changed_number_keeps_its_type():
    assert encode(7, like=encode(2**40)).type is ValueType.UINT64
    assert encode(1.5, like=encode(2)).type is ValueType.FLOAT32
    with pytest.raises(TypeError):
        encode(object())


def test_a_long_array_is_read_from_the_file_when_asked(models, tmp_path):
    tokens = [f"token-{number}" for number in range(5000)]
    model = models.Model("llama", 1, width=32, ffn=32, metadata={"tokenizer.ggml.tokens": tokens})
    file = read_gguf(model.write(tmp_path / "vocabulary.gguf"))
    assert file.metadata["tokenizer.ggml.tokens"].data is None
    assert file.get("tokenizer.ggml.tokens") == tokens
    assert np.all(file.metadata["tokenizer.ggml.tokens"].count == 5000)


def test_a_header_is_walked_again_only_where_the_file_changed(small, tmp_path):
    before = read_gguf(small)
    assert read_gguf(small) is not before  # so young that a change could share its time
    os.utime(small, ns=(0, 10**9))
    settled = read_gguf(small)
    assert read_gguf(small) is settled
    assert settled.item("tokenizer.ggml.tokens", 2) == "c"
    changed = small.read_bytes().replace(b"general.architecture", b"general.architectura")
    small.write_bytes(changed)
    assert read_gguf(small).architecture == ""
    os.utime(small, ns=(0, 2 * 10**9))
    assert read_gguf(small).architecture == ""
    (tmp_path / "other.gguf").write_bytes(changed)
    (tmp_path / "other.gguf").replace(small)
    os.utime(small, ns=(0, 2 * 10**9))
    assert read_gguf(small).path == small


def test_a_file_that_went_away_is_no_remembered_one(small):
    os.utime(small, ns=(0, 10**9))
    read_gguf(small)
    small.unlink()
    with pytest.raises(FileNotFoundError):
        read_gguf(small)
