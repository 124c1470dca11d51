"""Pickled weights: refused; where they are allowed nothing but tensors is read, in another process."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from pathlib import Path

import pytest

from ggship.errors import BadFile, Refused
from ggship.runs import read_run
from ggship.runs.findings import findings

pytestmark = pytest.mark.hf
torch = pytest.importorskip("torch")

Q = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture
def pickled(run_maker):
    """A run whose weights torch.save wrote."""
    path = run_maker.adapter()
    (path / "adapter_model.safetensors").unlink()
    shared = torch.arange(128, dtype=torch.float32).reshape(8, 16)
    torch.save({f"{Q}.lora_A.weight": shared, f"{Q}.lora_B.weight": shared.T}, path / "adapter_model.bin")
    return path


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_refused_by_default_and_says_how_to_go_on(pickled):
    with pytest.raises(Refused) as caught:
        read_run(pickled)
    assert caught.value.rule == "GS001"
    assert "--allow-pickle" in caught.value.hint
    assert "weights_only=True" in caught.value.hint


def test_allowed_the_numbers_are_those_of_the_file(pickled):
    from safetensors.numpy import load_file

    run = read_run(pickled, allow_pickle=True)
    (file,) = run.tensor_files
    assert pickled not in file.parents
    assert load_file(file)[f"{Q}.lora_B.weight"].tolist() == torch.arange(128.0).reshape(8, 16).T.tolist()
    assert [(finding.code, finding.level) for finding in findings(run)] == [("GS001", "note")]
    stamp = file.stat().st_mtime_ns
    assert read_run(pickled, allow_pickle=True).tensor_files[0].stat().st_mtime_ns == stamp
    assert "torch" not in sys.modules or torch is sys.modules["torch"]


@pytest.mark.parametrize("protocol", ["zip", "plain"])
def test_code_in_a_pickle_is_never_run(protocol, pickled, tmp_path):
    mark = tmp_path / "it-ran"
    file = pickled / "adapter_model.bin"
    if protocol == "plain":
        file.write_bytes(pickle.dumps(Hostile(mark)))
    else:
        torch.save({"x": Hostile(mark)}, file)
    with pytest.raises(BadFile) as caught:
        read_run(pickled, allow_pickle=True)
    assert caught.value.rule == "GS001"
    assert not mark.exists()


def test_what_is_no_tensor_is_named(pickled):
    torch.save({f"{Q}.lora_A.weight": torch.ones(2, 2), "epoch": 3}, pickled / "adapter_model.bin")
    with pytest.raises(BadFile, match="more than tensors") as caught:
        read_run(pickled, allow_pickle=True)
    assert "epoch" in caught.value.where


def test_an_archive_that_would_grow_is_not_opened(pickled):
    with zipfile.ZipFile(pickled / "adapter_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(64 << 20))
    with pytest.raises(BadFile, match="compressed"):
        read_run(pickled, allow_pickle=True)
