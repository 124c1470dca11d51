"""Writing GGUF files: the same bytes come back, and a failed write leaves nothing."""

from __future__ import annotations

import errno
import threading

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggship.errors import BadFile, Busy
from ggship.gguf.reader import read_gguf
from ggship.gguf.types import GgmlType
from ggship.gguf.values import encode
from ggship.gguf.writer import GgufWriter, NewTensor, changed_metadata

KINDS = (GgmlType.F32, GgmlType.F16, GgmlType.Q8_0, GgmlType.Q4_0)
tensors = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.sampled_from(KINDS)).map(lambda t: ((t[0], 32 * t[1]), t[2])),
    max_size=5,
)
keys = st.dictionaries(
    st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8),
    st.one_of(st.integers(0, 2**32 - 1), st.text(max_size=9), st.lists(st.text(max_size=4), max_size=3), st.booleans()),
    max_size=5,
)


def write(path, metadata, wanted, alignment=32):
    new = [NewTensor(f"t{number}", shape, kind) for number, (shape, kind) in enumerate(wanted)]
    with GgufWriter(path, metadata, new, alignment=alignment) as writer:
        for number, tensor in reversed(list(enumerate(writer.tensors))):  # the order of writing must not matter
            writer.write_at(tensor.offset, bytes([number + 1]) * tensor.nbytes)
    return path


@given(tensors, keys, st.sampled_from([32, 64, 4096]))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, wanted, metadata, alignment):
    metadata = {"general.alignment": alignment, **metadata}
    path = tmp_path_factory.mktemp("w") / "out.gguf"
    write(path, {key: encode(value) for key, value in metadata.items()}, wanted, alignment)
    file = read_gguf(path)
    assert {key: value.decode() for key, value in file.metadata.items()} == metadata
    assert list(file.metadata) == list(metadata)
    assert [(tensor.shape, tensor.type) for tensor in file.tensors] == wanted
    data = path.read_bytes()
    for number, tensor in enumerate(file.tensors):
        assert set(data[tensor.offset : tensor.offset + tensor.nbytes]) == {number + 1}


def test_a_file_rewritten_is_the_same_bytes(models, tmp_path):
    source = models.Model("llama", 2, width=32, ffn=64).write(tmp_path / "a.gguf", "Q8_0")
    file = read_gguf(source)
    new = [NewTensor(tensor.name, tensor.shape, tensor.type) for tensor in file.tensors]
    with source.open("rb") as data, GgufWriter(tmp_path / "b.gguf", file.metadata, new) as writer:
        for old, tensor in zip(file.tensors, writer.tensors, strict=True):
            writer.copy_from(data.fileno(), old.offset, tensor.offset, old.nbytes)
    assert (tmp_path / "b.gguf").read_bytes() == source.read_bytes()


def test_the_gguf_library_reads_it(tmp_path):
    path = write(tmp_path / "out.gguf", {"general.architecture": encode("llama")}, [((2, 32), GgmlType.F32)])
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.architecture"].contents() == "llama"
    assert np.array_equal(reader.tensors[0].data.view(np.uint8), np.full((2, 128), 1, np.uint8))


def test_metadata_is_changed_added_and_removed():
    base = {"a": encode(1), "b": encode("x"), "c": encode(2**40)}
    changed = changed_metadata(base, {"a": 5, "b": None, "c": 6, "d": "new"})
    assert {key: value.decode() for key, value in changed.items()} == {"a": 5, "c": 6, "d": "new"}
    assert changed["c"].type is base["c"].type


def test_an_error_while_writing_leaves_what_was_there(tmp_path):
    out = tmp_path / "out.gguf"
    out.write_text("the old one")
    with pytest.raises(KeyboardInterrupt), GgufWriter(out, {}, [NewTensor("t", (32,), GgmlType.F32)]):
        raise KeyboardInterrupt
    assert out.read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]


def test_a_full_disk_is_known_before_any_work_and_leaves_nothing(tmp_path):
    # no disk has room for this: the space is taken at the start
    new = [NewTensor("t", (1 << 30, 1 << 20), GgmlType.F32)]
    with pytest.raises(OSError) as caught, GgufWriter(tmp_path / "out.gguf", {}, new):  # noqa: PT011
        pytest.fail("there was room for 4 PiB")
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_ends_too_early_is_an_error(tmp_path):
    short = tmp_path / "short"
    short.write_bytes(bytes(10))
    with (
        short.open("rb") as source,
        pytest.raises(BadFile, match="shorter"),
        GgufWriter(tmp_path / "out.gguf", {}, [NewTensor("t", (32,), GgmlType.F32)]) as writer,
    ):
        writer.copy_from(source.fileno(), 0, writer.tensors[0].offset, 128)
    assert not (tmp_path / "out.gguf").exists()


def test_a_partial_file_of_a_killed_run_is_in_nobodys_way(tmp_path):
    (tmp_path / "out.gguf.partial").write_bytes(b"x" * 100_000)
    path = write(tmp_path / "out.gguf", {}, [((1, 32), GgmlType.F32)])
    assert len(read_gguf(path).tensors) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]


def test_two_at_once_are_one_and_the_other_leaves_nothing(tmp_path):
    new = [NewTensor("t", (1, 32), GgmlType.F32)]
    with GgufWriter(tmp_path / "out.gguf", {}, new):
        with pytest.raises(Busy) as caught, GgufWriter(tmp_path / "out.gguf", {}, new):
            pytest.fail("two at once")
        assert "out.gguf.partial" in caught.value.where
        assert [path.name for path in tmp_path.iterdir()] == ["out.gguf.partial"]
    with GgufWriter(tmp_path / "out.gguf", {}, new):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]


def test_the_lock_of_workers_that_outlive_a_killed_ggship_is_waited_for(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    left = (tmp_path / "out.gguf.partial").open("wb")
    fcntl.flock(left, fcntl.LOCK_EX)
    timer = threading.Timer(0.2, left.close)
    timer.start()
    with GgufWriter(tmp_path / "out.gguf", {}, []):
        assert left.closed
    timer.join()
    assert read_gguf(tmp_path / "out.gguf").tensors == ()
