"""PEFT's own merge, by the real child: it is exact where PEFT alone is not, and what would be wrong is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ggship.bases.from_gguf import base_from_gguf
from ggship.convert.merging import merge_run
from ggship.convert.peft import merge_with_peft, merged_to_gguf
from ggship.convert.routes import route_of
from ggship.errors import NotExpressible
from ggship.runner import run_subprocess
from ggship.runs import read_run

from .adapters import RANK, Option, train
from .models import VOCABULARY
from .options import OPTIONS
from .prompts import compare, reference
from .routes import base_of

pytestmark = pytest.mark.hf


def test_it_runs_as_a_program_of_its_own(tiny_base, distribution, tmp_path):
    base = tiny_base("llama")
    run_dir, tuned = train(OPTIONS["hra"], base.architecture, base.model(), tmp_path, base.folder)
    run, given = read_run(run_dir), base_of(base.folder, base.gguf)

    made = merge_run(run, given, tmp_path / "merged.gguf", route=route_of(run, given), runner=run_subprocess)

    difference = compare(reference(tuned), distribution(tmp_path / "merged.gguf"))
    assert difference.largest <= base.architecture.tolerance
    assert made.by.startswith("peft ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged.gguf", "run"]


@pytest.mark.parametrize("option", ["embedding", "lm_head", "dora-embedding", "saved-embedding"])
@pytest.mark.parametrize("arch", ["llama-tied", "gemma3"])
def test_where_one_weight_is_embedding_and_head_the_merge_is_what_was_trained(
    arch, option, tiny_base, warm_runner, tmp_path
):
    base = tiny_base(arch)
    run_dir, tuned = train(OPTIONS[option], base.architecture, base.model(), tmp_path, base.folder)
    expected = reference(tuned)

    made = merge_with_peft(read_run(run_dir), base.folder, tmp_path / "merged", runner=warm_runner)

    assert made.untied
    assert compare(expected, reference(_load(made.folder))).largest <= 1e-4
    if option == "embedding":  # PEFT's own merge_and_unload changes the head too
        assert compare(expected, reference(tuned.merge_and_unload())).largest > 1


def test_a_head_that_gguf_has_no_place_for_is_refused(tiny_base, warm_runner, tmp_path):
    base = tiny_base("gemma2")
    run_dir, _ = train(OPTIONS["embedding"], base.architecture, base.model(), tmp_path, base.folder)
    made = merge_with_peft(read_run(run_dir), base.folder, tmp_path / "merged", runner=warm_runner)
    with pytest.raises(NotExpressible, match="gemma2") as error:
        merged_to_gguf(made, tmp_path / "merged.gguf", runner=warm_runner)
    assert error.value.code == "untied-head"
    assert not list(tmp_path.glob("*.gguf*"))


def test_a_tensor_that_peft_would_drop_is_refused(tiny_base, warm_runner, tmp_path):
    from safetensors.torch import load_file, save_file

    base = tiny_base("llama")
    run_dir, _ = train(OPTIONS["hra"], base.architecture, base.model(), tmp_path, base.folder)
    file = run_dir / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if ".layers.1." in name)
    save_file({**tensors, name.replace(".layers.1.", ".layers.9."): tensors[name].clone()}, file, {"format": "pt"})
    assert _refusal(run_dir, base.folder, warm_runner) == "keys-left-over"


def test_an_adapter_that_changes_nothing_is_refused(tiny_base, warm_runner, tmp_path):
    base = tiny_base("llama")
    option = Option("untrained", "", kind="LoHaConfig", fields={"r": RANK, "alpha": 6}, step=0.0)
    run_dir, _ = train(option, base.architecture, base.model(), tmp_path, base.folder)
    assert _refusal(run_dir, base.folder, warm_runner) == "unchanged"


def test_another_base_is_refused(tiny_base, warm_runner, tmp_path):
    run_dir, _ = train(
        OPTIONS["hra"], tiny_base("glm4").architecture, tiny_base("glm4").model(), tmp_path, tiny_base("glm4").folder
    )
    assert _refusal(run_dir, tiny_base("llama").folder, warm_runner) in ("peft-refuses", "keys-left-over")


@pytest.mark.parametrize("option", ["psoft", "frod"])
def test_what_peft_would_compute_anew_is_refused_by_what_its_layers_hold(
    option, tiny_base, warm_runner, monkeypatch, tmp_path
):
    monkeypatch.setattr("ggship.convert.peft._REFUSED_METHODS", {})
    monkeypatch.setattr("ggship.convert.peft.READ_METHODS", {"PSOFT", "FROD"})
    base = tiny_base("llama")
    run_dir, _ = train(OPTIONS[option], base.architecture, base.model(), tmp_path, base.folder)
    assert _refusal(run_dir, base.folder, warm_runner) == "recomputed"


def test_code_that_a_base_brings_is_not_run(tiny_base, warm_runner, tmp_path):
    base = tiny_base("llama")
    run_dir, _ = train(OPTIONS["hra"], base.architecture, base.model(), tmp_path, base.folder)
    odd, witness = tmp_path / "odd", tmp_path / "witness"
    shutil.copytree(base.folder, odd)
    config = json.loads((odd / "config.json").read_text())
    names = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (odd / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": names}))
    (odd / "own.py").write_text(f"open({str(witness)!r}, 'w')")
    assert _refusal(run_dir, odd, warm_runner) == "base-unreadable"
    assert not witness.exists()


def test_rows_of_added_tokens_come_with_the_adapter(tiny_base, warm_runner, tmp_path):
    base = tiny_base("llama")
    model = base.model()
    model.resize_token_embeddings(VOCABULARY + 8, mean_resizing=False)
    run_dir, tuned = train(OPTIONS["lora"], base.architecture, model, tmp_path, base.folder)

    made = merge_with_peft(read_run(run_dir), base.folder, tmp_path / "merged", runner=warm_runner)

    assert made.vocabulary == VOCABULARY + 8
    assert compare(reference(tuned), reference(_load(made.folder))).largest <= 1e-4


def test_in_16_bits_the_merge_is_held_to_what_rounding_may_do(tiny_base, warm_runner, tmp_path):
    base = tiny_base("llama")
    run_dir, _ = train(OPTIONS["hra"], base.architecture, base.model(), tmp_path, base.folder)
    made = merge_with_peft(read_run(run_dir), base.folder, tmp_path / "merged", dtype="bfloat16", runner=warm_runner)
    assert 0 < made.difference < 0.1 * made.effect


@pytest.mark.parametrize("arch", ["llama", "qwen2", "gemma2"])
def test_a_gguf_file_will_do_as_base_where_transformers_reads_it(arch, tiny_base, warm_runner, distribution, tmp_path):
    base = tiny_base(arch)
    run_dir, tuned = train(OPTIONS["hra"], base.architecture, base.model(), tmp_path, base.folder)
    run, alone = read_run(run_dir), base_from_gguf(base.gguf)

    merge_run(run, alone, tmp_path / "merged.gguf", route=route_of(run, alone), runner=warm_runner)

    difference = compare(reference(tuned), distribution(tmp_path / "merged.gguf"))
    assert difference.largest <= base.architecture.tolerance


def _refusal(run_dir: Path, folder: Path, runner) -> str:
    out = run_dir.parent / "merged"
    with pytest.raises(NotExpressible) as error:
        merge_with_peft(read_run(run_dir), folder, out, runner=runner)
    assert error.value.exit_code == 4
    assert error.value.hint
    assert not out.exists()
    return error.value.code


def _load(folder: Path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
