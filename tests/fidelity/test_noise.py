"""What the matrix can see: the noise of two programs on a bare model, and adapters that are wrong by more than that."""

from __future__ import annotations

import json
import sys

import pytest

from ggship.convert.vendored import vendored_llama_cpp

from .adapters import train
from .models import ARCHITECTURES
from .options import OPTIONS
from .prompts import compare, reference
from .routes import ship

pytestmark = pytest.mark.hf


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_bare_model_is_the_same_in_both_worlds(name, tiny_base, distribution, record_property):
    base = tiny_base(name)
    difference = compare(base.expected, distribution(base.gguf))
    record_property("noise", {"architecture": name, "largest": difference.largest, "kl": difference.kl})
    assert difference.largest <= base.architecture.noise


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_adapter_that_is_one_percent_off_is_seen(name, tiny_base, warm_runner, distribution, tmp_path):
    base = tiny_base(name)
    run, tuned = train(OPTIONS["lora"], base.architecture, base.model(), tmp_path, base.folder)
    config = json.loads((run / "adapter_config.json").read_text())
    (run / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": config["lora_alpha"] * 1.01}))

    _, shipped = ship(run, base.folder, base.gguf, tmp_path, warm_runner)

    difference = compare(reference(tuned), distribution(shipped[-1].model, shipped[-1].adapter))
    assert difference.largest > base.architecture.tolerance
    assert difference.kl > base.architecture.kl_tolerance


@pytest.mark.parametrize("option", ["rslora", "alpha_pattern", "pissa"])
def test_what_llama_cpps_own_converter_gets_wrong_is_seen(
    option, tiny_base, warm_runner, distribution, record_property, tmp_path
):
    base = tiny_base("llama")
    run, tuned = train(OPTIONS[option], base.architecture, base.model(), tmp_path, base.folder)
    script = vendored_llama_cpp() / "convert_lora_to_gguf.py"
    argv = [sys.executable, str(script), "--base", str(base.folder), "--outfile", str(tmp_path / "a.gguf"), str(run)]

    done = warm_runner(argv, timeout=120)

    assert done.returncode == 0, done.tail()
    difference = compare(reference(tuned), distribution(base.gguf, tmp_path / "a.gguf"))
    record_property("upstream", {"option": option, "largest": difference.largest, "kl": difference.kl})
    assert difference.largest > 100 * base.architecture.tolerance
