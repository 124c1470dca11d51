"""Every tensor of a merged model is the one that PEFT's own merge_and_unload makes, up to the last bits of float32."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from ggship.bases.from_gguf import base_from_gguf
from ggship.convert.merging import merge_run
from ggship.convert.routes import route_of
from ggship.convert.vendored import vendored_llama_cpp
from ggship.runs import read_run

from .adapters import train
from .models import ARCHITECTURES
from .options import OPTIONS

pytestmark = pytest.mark.hf

# PEFT merges in float32: the largest difference of a weight, in units of the last place of its tensor's largest one.
LAST_PLACES = 8

LINEAR = (
    *("dora", "dora-rslora", "dora-embedding", "saved-norm", "saved-head", "saved-embedding", "saved-both"),
    *("saved-linear", "tokens", "only-tokens", "loha", "loha-patterns", "lokr", "lokr-full", "lokr-both"),
    *("lokr-factor", "adalora", "ia3", "vera", "vera-drawn", "oft", "oft-cayley", "oft-terms", "oft-share", "coft"),
    "ln_tuning",
)
CELLS = [
    *(("llama", name) for name in LINEAR),
    *(("qwen2", name) for name in ("bias-all", "bias-lora", "lora_bias", "ia3", "saved-norm", "dora")),
    *(("gemma3", name) for name in ("dora", "saved-norm", "ln_tuning", "loha")),
    *(("phi3", name) for name in ("dora", "oft")),
    *(("glm4", name) for name in ("dora", "ln_tuning")),
    *((arch, name) for arch in ("qwen3_moe", "mixtral") for name in ("experts", "experts-rslora", "dora")),
    *(("gpt2", name) for name in ("conv1d", "conv1d-dora", "ia3", "bias-all", "saved-norm", "vera")),
]


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    from gguf import GGUFReader

    return {tensor.name: np.array(tensor.data) for tensor in GGUFReader(path).tensors}


@pytest.mark.parametrize(("arch", "name"), CELLS, ids=lambda value: value)
def test_the_merge_is_pefts_own(arch, name, tiny_base, warm_runner, tmp_path):
    base, out, folder = tiny_base(arch), tmp_path / "ours.gguf", tmp_path / "merged"
    run_dir, tuned = train(OPTIONS[name], ARCHITECTURES[arch], base.model(), tmp_path, base.folder)
    tuned.merge_and_unload().save_pretrained(folder)
    for file in base.folder.glob("tokenizer*"):
        shutil.copyfile(file, folder / file.name)
    script = vendored_llama_cpp() / "convert_hf_to_gguf.py"
    argv = [sys.executable, str(script), "--outtype", "f32", "--outfile", str(tmp_path / "peft.gguf"), str(folder)]
    done = warm_runner(argv, timeout=120)
    assert done.returncode == 0, done.tail(40)

    run, found = read_run(run_dir), base_from_gguf(base.gguf)
    route = route_of(run, found)
    report = merge_run(run, found, out, route=route, threads=1).report

    assert route.kind == "updates"
    ours, theirs, before = tensors_of(out), tensors_of(tmp_path / "peft.gguf"), tensors_of(base.gguf)
    assert ours.keys() == theirs.keys()
    changed = {tensor.name for tensor in report.tensors}
    worst = 0.0
    for tensor, expected in theirs.items():
        if tensor not in changed:
            np.testing.assert_array_equal(ours[tensor], before[tensor])
        difference = float(np.abs(ours[tensor].astype(np.float64) - expected).max())
        worst = max(worst, difference / float(np.spacing(np.abs(expected).max())))
    print(f"{arch} {name}: {worst:.2f} last places, {len(changed)} tensors, survival {report.survival}")
    assert worst <= LAST_PLACES
    assert report.survival == pytest.approx(1, abs=1e-5)
