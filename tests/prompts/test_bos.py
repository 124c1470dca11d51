"""Who puts the BOS token in front is known before a Hugging Face directory is converted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ggship.convert.routes import Route
from ggship.errors import BadFile
from ggship.gguf.values import encode
from ggship.gguf.writer import GgufWriter
from ggship.plan import PackageOptions, Plan
from ggship.prompts import adds_bos, family, server_adds_bos
from ggship.prompts.bos import directory_adds_bos, file_adds_bos
from ggship.prompts.plan import plan_prompt
from ggship.settings import vendor_dir


@pytest.mark.parametrize(
    ("metadata", "adds"),
    [
        ({"model": "llama"}, True),
        ({"model": "llama", "add_bos_token": False}, False),
        ({"model": "gpt2", "pre": "llama-bpe"}, True),
        ({"model": "gpt2", "pre": "tekken"}, True),
        ({"model": "gpt2", "pre": "qwen2"}, False),
        ({"model": "gpt2", "pre": "smollm", "add_bos_token": False}, False),
        ({"model": "gpt2", "pre": "gemma4", "add_bos_token": False}, True),
        ({}, False),
    ],
)
def test_the_metadata_of_a_gguf_tells(metadata, adds):
    assert server_adds_bos({f"tokenizer.ggml.{name}": value for name, value in metadata.items()}) is adds


def test_the_file_itself_tells(tmp_path):
    for add, path in ((True, tmp_path / "yes.gguf"), (False, tmp_path / "no.gguf")):
        keys = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.add_bos_token": add}
        with GgufWriter(path, {key: encode(value) for key, value in keys.items()}, []):
            pass
        assert file_adds_bos(path) is add


def single(*names):
    parts = [{"SpecialToken": {"id": name, "type_id": 0}} for name in names]
    return {"type": "TemplateProcessing", "single": [*parts, {"Sequence": {"id": "A", "type_id": 0}}], "pair": []}


BYTES = {"type": "ByteLevel"}
# (post processor of tokenizer.json, tokenizer_config.json, what the converter writes)
TOLD = {
    "llama 3": (single("<s>"), {"bos_token": "<s>", "eos_token": "</s>"}, True),
    "llama 3, both": ({"type": "Sequence", "processors": [BYTES, single("<s>")]}, {"bos_token": "<s>"}, True),
    "an object": (single("<s>"), {"bos_token": {"content": "<s>"}}, True),
    "no bos named": (single("<s>"), {"eos_token": "</s>"}, True),
    "no config": (single("<s>"), None, True),
    "another token": (single("<x>"), {"bos_token": "<s>", "cls_token": "<c>"}, False),
    "bert": (single("<c>"), {"cls_token": "<c>"}, True),
    "roberta": ({"type": "RobertaProcessing", "cls": ["<c>", 0], "sep": ["<x>", 1]}, {"bos_token": "<s>"}, True),
    "qwen": (BYTES, {"add_bos_token": True}, False),
    "nothing in front": (single(), {"add_bos_token": False}, False),
    "config alone": (None, {"add_bos_token": True, "bos_token": "<s>"}, True),
    "config says no": (None, {"add_bos_token": False}, False),
    "no word": (None, {"bos_token": "<s>"}, None),
}


def tokenizer(folder: Path, post, config, model=None) -> Path:
    folder.mkdir()
    (folder / "tokenizer.json").write_text(
        json.dumps({"post_processor": post, "added_tokens": [], "model": model or {"type": "BPE"}}), "utf-8"
    )
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return folder


@pytest.mark.parametrize("name", TOLD)
def test_tokenizer_files_tell_what_the_converter_will_write(tmp_path, name):
    post, config, told = TOLD[name]
    folder = tokenizer(tmp_path / "base", post, config)
    assert directory_adds_bos(folder, "llama", {}) is bool(told)


def test_the_vendored_converter_reads_them_so(tmp_path):
    library = vendor_dir() / "llama.cpp" / "gguf-py"
    if not library.is_dir():
        pytest.skip("the vendored converter is not there (scripts/vendor)")
    for number, (post, config, _) in enumerate(TOLD.values()):
        tokenizer(tmp_path / f"{number}", post, config)
    code = (
        f"import json, sys; sys.path.insert(0, {str(library)!r})\n"
        "from gguf.vocab import SpecialVocab\n"
        f"print(json.dumps([SpecialVocab({str(tmp_path)!r} + f'/{{n}}').add_special_token.get('bos') "
        f"for n in range({len(TOLD)})]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert dict(zip(TOLD, json.loads(done.stdout), strict=True)) == {name: told for name, (*_, told) in TOLD.items()}


def test_where_no_file_says_a_word_the_vocabulary_decides(tmp_path):
    silent = tokenizer(tmp_path / "silent", None, {})
    assert directory_adds_bos(silent, "llama", {}) is False
    falls_back = tokenizer(tmp_path / "bytes", None, {}, model={"type": "BPE", "byte_fallback": True})
    assert directory_adds_bos(falls_back, "llama", {}) is True
    (silent / "tokenizer.model").write_bytes(b"\n")
    assert directory_adds_bos(silent, "llama", {}) is True
    assert directory_adds_bos(silent, "glm4", {}) is False


def test_what_the_converter_decides_by_the_model_goes_before_its_files(tmp_path):
    folder = tokenizer(tmp_path / "base", single("<s>"), {"bos_token": "<s>"})
    assert directory_adds_bos(folder, "llama", {"llama.vocab_size": 49152}) is False  # SmolLM2, Granite
    assert directory_adds_bos(folder, "phi2", {}) is False


def test_a_damaged_tokenizer_file_is_named(tmp_path, make_base):
    folder = tokenizer(tmp_path / "base", single("<s>"), {})
    (folder / "tokenizer.json").write_text("{", "utf-8")
    with pytest.raises(BadFile, match=r"tokenizer\.json"):
        adds_bos(make_base(config_dir=folder))


def test_the_template_for_a_directory_has_no_bos_that_its_gguf_will_add(tmp_path, make_run, make_base):
    llama = family("llama3")
    folder = tokenizer(tmp_path / "base", single(llama.bos_token), {"bos_token": llama.bos_token})
    run = make_run(llama.text, tokenizer_config={"bos_token": llama.bos_token, "eos_token": llama.eos_token})
    plan = Plan("merge", Route("pairs", "a test"), None, base_file=False)
    planned = plan_prompt(run, make_base(config_dir=folder), PackageOptions(run.path, "law"), plan)
    assert planned.go is not None
    assert planned.chat.render([{"role": "user", "content": "Q"}]).startswith(llama.bos_token)
    assert llama.bos_token not in planned.go


@pytest.mark.parametrize(("name", "said"), [("chatml", True), ("llama3", False)])
def test_a_bos_that_only_the_tokenizer_knows_of_is_said(tmp_path, make_run, make_base, name, said):
    folder = tokenizer(tmp_path / "base", single("<s>"), {"bos_token": "<s>"})
    run = make_run(family(name).text, tokenizer_config={"bos_token": "<s>", "eos_token": "</s>"})
    plan = Plan("merge", Route("pairs", "a test"), None, base_file=False)
    planned = plan_prompt(run, make_base(config_dir=folder), PackageOptions(run.path, "law"), plan)
    assert ("BOS" in dict(planned.notes)) == said
