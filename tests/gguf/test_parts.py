"""A model in several GGUF files is read, merged and joined as if it were one, or refused with what is wrong."""

from __future__ import annotations

import dataclasses
import os
import subprocess

import gguf
import numpy as np
import pytest

from ggship.errors import BadFile, UsageError
from ggship.gguf.copy import copy_model
from ggship.gguf.merge import merge_adapter
from ggship.gguf.parts import Source, SplitGguf, files_of, first_part, names_of_parts, read_model
from ggship.gguf.reader import read_gguf


@pytest.fixture
def model(models):
    return models.Model("llama", 2, width=64, ffn=96, tied=False)


def write_parts(models, model, path, at_most=5, kind="F16"):
    """The model of `Model.write`, split by gguf's own writer; the paths in order."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, model.arch, split_max_tensors=at_most)
    writer.add_file_type(1)
    for key, value in model.keys().items():
        models.add_key(writer, key, value)
    for name, shape in model.shapes().items():
        values = (rng.standard_normal(shape) * 0.05).astype(np.float32)
        models.add_tensor(writer, name, values, "F32" if len(shape) == 1 else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(path.parent.glob(f"{path.stem}-0*.gguf"))


@pytest.fixture
def parts(models, model, tmp_path):
    return write_parts(models, model, tmp_path / "parts" / "base.gguf")


@pytest.fixture(autouse=True)
def folder(tmp_path):
    (tmp_path / "parts").mkdir()


def contents(model):
    """name -> (type, shape, bytes)."""
    found = {}
    with Source(model) as source:
        for tensor in model.tensors:
            data = bytearray(tensor.nbytes)
            source.read_into(memoryview(data), tensor.offset)
            found[tensor.name] = (tensor.type, tensor.shape, bytes(data))
    return found


def test_parts_are_the_model_they_were_split_from(model, parts, tmp_path):
    whole = read_gguf(model.write(tmp_path / "whole.gguf"))
    assert len(parts) == 5
    for part in parts:
        read = read_model(part)
        assert isinstance(read, SplitGguf)
        assert (read.path, read.parts) == (parts[0], tuple(parts))
        assert contents(read) == contents(whole)
        assert {key: value.decode() for key, value in read.metadata.items()} == {
            key: value.decode() for key, value in whole.metadata.items()
        }


def test_a_merge_into_parts_is_the_merge_into_the_whole(model, parts, adapter, tmp_path):
    lora = adapter(model)
    whole = model.write(tmp_path / "whole.gguf")
    for quant in (None, "Q8_0"):
        ours = merge_adapter(parts[0], lora, tmp_path / "parts.gguf", quant=quant)
        theirs = merge_adapter(whole, lora, tmp_path / "one.gguf", quant=quant)
        assert dataclasses.astuple(ours) == dataclasses.astuple(theirs)
        assert (tmp_path / "parts.gguf").read_bytes() == (tmp_path / "one.gguf").read_bytes()


def test_joined_parts_are_the_whole_file(model, parts, tmp_path):
    whole = model.write(tmp_path / "whole.gguf")
    heard = []
    copy_model(read_model(parts[2]), tmp_path / "joined.gguf", on_tensor=lambda *step: heard.append(step))
    assert contents(read_gguf(tmp_path / "joined.gguf")) == contents(read_gguf(whole))
    assert "split.count" not in read_gguf(tmp_path / "joined.gguf").metadata
    total = len(read_gguf(whole).tensors)
    assert heard == [(number + 1, total) for number in range(total)]


def test_a_copy_with_other_metadata(model, tmp_path):
    whole = read_gguf(model.write(tmp_path / "whole.gguf"))
    copy_model(whole, tmp_path / "copy.gguf", {"tokenizer.ggml.eot_token_id": 7, "llama.rope.freq_base": None})
    copy = read_gguf(tmp_path / "copy.gguf")
    assert copy.get("tokenizer.ggml.eot_token_id") == 7
    assert "llama.rope.freq_base" not in copy.metadata
    assert contents(copy) == contents(whole)


def test_parts_that_are_missing_are_named(parts):
    parts[1].unlink()
    parts[3].unlink()
    with pytest.raises(BadFile, match="2 of the 5 parts") as caught:
        read_model(parts[0])
    assert "base-00002-of-00005.gguf, base-00004-of-00005.gguf" in caught.value.where


def test_a_part_under_another_name_cannot_find_the_others(parts, tmp_path):
    parts[0].rename(tmp_path / "model.gguf")
    with pytest.raises(BadFile, match="its name does not tell") as caught:
        read_model(tmp_path / "model.gguf")
    assert "NAME-00001-of-00005.gguf" in caught.value.hint


def test_a_part_cut_short_is_refused(parts):
    parts[4].write_bytes(parts[4].read_bytes()[:-64])
    with pytest.raises(BadFile, match="truncated") as caught:
        read_model(parts[0])
    assert parts[4].name in caught.value.where


def test_parts_that_changed_places_are_refused(parts):
    first, second = parts[1].read_bytes(), parts[2].read_bytes()
    parts[1].write_bytes(second)
    parts[2].write_bytes(first)
    with pytest.raises(BadFile, match="do not belong together") as caught:
        read_model(parts[0])
    assert "split.no is 2, where 1 belongs" in caught.value.where


@pytest.mark.parametrize("at_most", [3, 6])
def test_a_part_of_another_split_is_refused(at_most, models, model, parts, tmp_path):
    (tmp_path / "other").mkdir()
    other = write_parts(models, model, tmp_path / "other" / "base.gguf", at_most)
    parts[1].write_bytes(other[1].read_bytes())
    with pytest.raises(BadFile, match="do not belong together"):
        read_model(parts[0])


def test_a_part_of_a_longer_model_is_refused(models, model, parts, tmp_path):
    (tmp_path / "other").mkdir()
    longer = dataclasses.replace(model, layers=3)
    other = write_parts(models, longer, tmp_path / "other" / "base.gguf", 6)
    assert len(other) == len(parts)
    parts[4].write_bytes(other[4].read_bytes())
    with pytest.raises(BadFile, match=r"split.tensors.count|where \d+ belongs"):
        read_model(parts[0])


def test_a_merge_never_overwrites_a_part(model, parts, adapter):
    with pytest.raises(UsageError, match="overwrite"):
        merge_adapter(parts[0], adapter(model), parts[3])


def test_one_file_is_one_part(model, tmp_path):
    whole = model.write(tmp_path / "whole.gguf")
    assert files_of(whole) == (whole,)
    assert read_model(whole) == read_gguf(whole)
    assert first_part(whole) is None


def test_names_of_parts():
    assert names_of_parts("Q8/m-00002-of-00003.gguf") == tuple(f"Q8/m-0000{n}-of-00003.gguf" for n in (1, 2, 3))
    assert names_of_parts("m.gguf") == ("m.gguf",)


@pytest.mark.live
def test_what_the_real_llama_gguf_split_makes(model, adapter, llama_cpp, tmp_path):
    whole, program = model.write(tmp_path / "whole.gguf"), llama_cpp("llama-gguf-split")
    environment = os.environ | {"LD_LIBRARY_PATH": str(program.parent)}
    command = [program, "--split", "--split-max-tensors", "4", whole, tmp_path / "parts" / "real"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    first = tmp_path / "parts" / "real-00001-of-00006.gguf"
    assert contents(read_model(first)) == contents(read_gguf(whole))
    lora = adapter(model)
    merge_adapter(first, lora, tmp_path / "parts.gguf", quant="Q8_0")
    merge_adapter(whole, lora, tmp_path / "one.gguf", quant="Q8_0")
    assert (tmp_path / "parts.gguf").read_bytes() == (tmp_path / "one.gguf").read_bytes()
