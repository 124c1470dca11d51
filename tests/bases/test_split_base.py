"""A base in parts is a base: found once, read where it lies, joined only where one file is needed."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from ggship.bases import find_base
from ggship.digests import DigestCache
from ggship.errors import BadFile
from ggship.gguf.reader import read_gguf
from ggship.progress import Silent
from ggship.runner import run_subprocess
from ggship.stages.base_file import BaseFile


@pytest.fixture
def parts(workshop, tiny):
    """A tiny llama beside the run, in parts of four tensors."""
    sizes, folder = tiny(), workshop.root / "work"
    folder.mkdir(parents=True)
    writer = gguf.GGUFWriter(folder / "tiny-1b-instruct.gguf", "llama", split_max_tensors=4)
    writer.add_block_count(sizes.layers)
    writer.add_head_count(sizes.heads)
    for target, shape in sizes.weights().values():
        writer.add_tensor(target, np.ones(shape, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob("*.gguf"))


def weights(base):
    return BaseFile(base, DigestCache(), run_subprocess)


def test_it_is_found_once_whichever_part_is_named(workshop, parts):
    run = workshop.run()
    base = find_base(run, None)
    assert (base.gguf, base.alternatives) == (parts[0], ())
    assert find_base(None, str(parts[2])).gguf == parts[0]
    assert find_base(None, str(parts[0].parent)).gguf == parts[0]
    assert len(base.tensors) == 15


def test_a_merge_reads_the_parts_and_nothing_is_joined_for_it(workshop, parts):
    base = find_base(None, str(parts[0]))
    assert weights(base).source(Silent()) == parts[0]
    assert weights(base).known() is None
    assert not (workshop.root / "cache").exists()


def test_one_file_is_made_once_where_it_is_needed(workshop, parts):
    base = find_base(None, str(parts[0]))
    file = weights(base).file(Silent())
    assert file.is_relative_to(workshop.root / "cache")
    assert {tensor.name for tensor in read_gguf(file).tensors} == set(base.tensors)
    before = file.stat().st_mtime_ns
    assert weights(base).file(Silent()) == file
    assert file.stat().st_mtime_ns == before
    assert weights(base).known() == file


def test_its_key_is_that_of_all_parts(workshop, parts):
    base = find_base(None, str(parts[0]))
    key = weights(base).key()
    data = bytearray(parts[3].read_bytes())
    data[-1] ^= 1
    parts[3].write_bytes(data)
    assert weights(base).key() != key


def test_a_part_that_is_missing_is_said(workshop, parts):
    parts[2].unlink()
    with pytest.raises(BadFile, match="1 of the 4 parts"):
        find_base(None, str(parts[0]))
