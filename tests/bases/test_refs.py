"""Every form of --base is understood, and what is none says what to type instead."""

from __future__ import annotations

import pytest

from ggship.bases import find_base
from ggship.bases.served import base_from_ollama
from ggship.errors import BadFile, BaseNotFound, Refused, UsageError


def test_a_gguf_file(workshop):
    file = workshop.gguf()
    base = find_base(None, str(file))
    assert (base.ref, base.gguf, base.architecture, base.file_type) == (str(file), file, "llama", "F16")
    assert not base.quantized
    assert base.chat_template == "{% of the base %}"
    assert base.tensors["blk.1.ffn_up.weight"].shape == (24, 16)
    assert base.metadata["llama.block_count"] == 2
    assert "tokenizer.ggml.tokens" not in base.metadata
    assert base.found == "as you named it"


def test_a_file_relative_to_the_working_directory(workshop):
    workshop.gguf()
    assert find_base(None, "tiny.gguf", cwd=workshop.root).ref == "tiny.gguf"


def test_a_hugging_face_directory(workshop):
    directory = workshop.directory("Tiny-1B")
    base = find_base(None, str(directory))
    assert (base.config_dir, base.gguf, base.architecture, base.file_type) == (directory, None, "llama", "BF16")
    assert base.tensors["blk.1.attn_k.weight"].shape == (8, 16)
    assert base.chat_template == "{% of the directory %}"


def test_a_directory_without_weights_tells_its_dimensions(workshop):
    base = find_base(None, str(workshop.directory("Tiny-1B", weights=False)))
    assert base.tensors == {}
    assert base.metadata["llama.attention.head_count_kv"] == 2


def test_weights_in_parts_and_parts_that_are_missing(workshop, tiny):
    import json

    directory = workshop.directory("Tiny-1B")
    (directory / "model.safetensors").rename(directory / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(("a", "b"), "model-00001-of-00001.safetensors")}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    assert len(find_base(None, str(directory)).tensors) == len(tiny().weights())
    index["weight_map"]["c"] = "model-00002-of-00002.safetensors"
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    assert find_base(None, str(directory)).tensors == {}
    index["weight_map"]["c"] = "../../etc/passwd"
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadFile, match="index"):
        find_base(None, str(directory))


@pytest.mark.parametrize(
    ("config", "architecture"),
    [
        ({"model_type": "mistral", "architectures": ["MistralForCausalLM"]}, "llama"),
        ({"model_type": "qwen2"}, "qwen2"),
        ({"model_type": "qwen3"}, "qwen3"),
        ({"model_type": "gemma2"}, "gemma2"),
        ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 16}}, "gemma3"),
        ({"model_type": "phi3"}, "phi3"),
        ({"model_type": "chatglm", "architectures": ["ChatGLMModel"]}, "chatglm"),
        ({"model_type": "glm4"}, "glm4"),
    ],
)
def test_architectures(config, architecture, workshop):
    assert find_base(None, str(workshop.directory("x", weights=False, **config))).architecture == architecture


def test_an_unknown_architecture_is_refused_with_a_way_out(workshop):
    directory = workshop.directory("x", weights=False, model_type="t5", architectures=["T5"])
    with pytest.raises(Refused, match="t5") as caught:
        find_base(None, str(directory))
    assert "convert_hf_to_gguf.py" in caught.value.hint


def test_a_directory_with_one_gguf_file(workshop):
    file = workshop.gguf("models/tiny.gguf")
    assert find_base(None, str(file.parent)).gguf == file
    workshop.gguf("models/other.gguf")
    with pytest.raises(UsageError) as caught:
        find_base(None, str(file.parent))
    assert "other.gguf, tiny.gguf" in caught.value.where


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"general__type": "adapter"}, "adapter"),
        ({"general__type": "mmproj"}, "mmproj"),
    ],
)
def test_a_gguf_file_that_is_no_whole_model(keys, says, workshop):
    with pytest.raises(Refused, match=says):
        find_base(None, str(workshop.gguf(**keys)))


def test_a_part_of_a_split_model_alone(workshop):
    with pytest.raises(BadFile, match="one of 3 parts"):
        find_base(None, str(workshop.gguf(split__count=3)))


def test_an_adapter_instead_of_a_base(workshop):
    with pytest.raises(UsageError, match="an adapter, not a base"):
        find_base(None, str(workshop.run().path))


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("Qwen/Qwen2.5-7B", "--base hf:Qwen/Qwen2.5-7B"),
        ("qwen2.5:7b", "--base ollama:qwen2.5:7b"),
        ("models/none.gguf", "hf:REPO[@REV][:FILE]"),
        ("./a/b/c", "hf:REPO[@REV][:FILE]"),
    ],
)
def test_what_is_not_there(ref, hint, workshop):
    with pytest.raises(BaseNotFound) as caught:
        find_base(None, ref, cwd=workshop.root)
    assert hint in caught.value.hint
    assert str(workshop.root) in caught.value.where


def test_no_ref_and_no_run():
    with pytest.raises(UsageError, match="no run"):
        find_base(None, None)


class TestHub:
    def test_from_the_cache_with_its_revision(self, workshop, revision):
        snapshot = workshop.cache("org/Tiny-1B")
        base = find_base(None, "hf:org/Tiny-1B")
        assert (base.config_dir, base.revision, base.ref) == (snapshot, revision, "hf:org/Tiny-1B")
        assert base.tensors
        assert base.chat_template == "{% of the directory %}"

    def test_a_revision_and_a_file(self, workshop):
        workshop.cache("org/Tiny-1B", revision="a" * 40)
        file = workshop.root / "hub/models--org--Tiny-1B/snapshots" / ("a" * 40) / "tiny.Q8_0.gguf"
        workshop.gguf().rename(file)
        base = find_base(None, f"hf:org/Tiny-1B@{'a' * 40}:tiny.Q8_0.gguf")
        assert (base.gguf, base.revision) == (file, "a" * 40)

    @pytest.mark.parametrize("ref", ["hf:org/Other", "hf:org/Tiny-1B@v2", "hf:org/Tiny-1B:none.gguf"])
    def test_nothing_is_downloaded_unless_asked(self, ref, workshop):
        workshop.cache("org/Tiny-1B")
        with pytest.raises(BaseNotFound) as caught:
            find_base(None, ref)
        assert "--pull" in caught.value.hint
        assert ref in caught.value.message

    @pytest.mark.parametrize("ref", ["hf:", "hf:name", "hf:a/b/c", "hf:a/b:../x", "hf:../b", "hf:a/b@"])
    def test_what_is_no_repository(self, ref, workshop):
        with pytest.raises((UsageError, BaseNotFound)):
            find_base(None, ref)


class TestOllama:
    def test_its_blob_where_the_server_is_here(self, workshop, shelf):
        shelf.add("tiny:1b", workshop.gguf(), workshop.root / "blobs")
        base = find_base(None, "ollama:tiny:1b", ollama=shelf)
        assert base.ollama_name == "tiny:1b"
        assert base.gguf is not None
        assert base.gguf.parent == workshop.root / "blobs"
        assert base.ref == "ollama:tiny:1b"
        assert base.chat_template == "{% of the base %}"

    @pytest.mark.parametrize("modern", [False, True])
    def test_what_it_tells_where_it_is_elsewhere(self, modern, workshop, shelf, tiny):
        """Since 0.34 the tensors are told only verbosely."""
        shelf.add("tiny:1b", workshop.gguf(), workshop.root / "blobs")
        shelf.local, shelf.modern = False, modern
        base = find_base(None, "ollama:tiny:1b", ollama=shelf)
        assert base.gguf is None
        assert base.tensors["blk.0.ffn_down.weight"].shape == (16, 24)
        assert len(base.tensors) == len(tiny().weights())
        assert base.file_type == "F16"
        assert base.metadata["llama.embedding_length"] == 16
        assert base.chat_template is None  # a Go template is no chat template of the model

    def test_a_blob_that_may_not_be_read_is_as_good_as_far_away(self, workshop, shelf):
        shelf.add("tiny:1b", workshop.gguf(), workshop.root / "blobs")
        for blob in (workshop.root / "blobs").iterdir():
            blob.unlink()
        base = find_base(None, "ollama:tiny:1b", ollama=shelf)
        assert base.gguf is None
        assert base.tensors

    def test_the_models_own_template_where_the_server_shows_it(self, workshop, shelf):
        shelf.add("tiny:1b", workshop.gguf(), workshop.root / "blobs", template="{% for m in messages %}{% endfor %}")
        shelf.local = False
        assert find_base(None, "ollama:tiny:1b", ollama=shelf).chat_template == "{% for m in messages %}{% endfor %}"

    def test_one_with_an_adapter_is_no_base(self, workshop, shelf):
        shelf.add("law", workshop.gguf(), workshop.root / "blobs", adapter=True)
        with pytest.raises(Refused, match="carries an adapter"):
            find_base(None, "ollama:law", ollama=shelf)

    def test_one_that_runs_elsewhere_is_no_base(self, workshop, shelf):
        shelf.add("big:cloud", workshop.gguf(), workshop.root / "blobs", remote_model="big", remote_host="https://x")
        with pytest.raises(Refused, match="another machine"):
            find_base(None, "ollama:big:cloud", ollama=shelf)

    def test_one_that_is_not_there(self, shelf):
        with pytest.raises(BaseNotFound) as caught:
            find_base(None, "ollama:none", ollama=shelf)
        assert caught.value.hint == "ollama pull none"

    def test_no_server_at_hand(self):
        with pytest.raises(BaseNotFound, match="no Ollama server"):
            find_base(None, "ollama:tiny")


def test_a_model_with_a_renderer_of_its_own_lends_its_weights_alone(workshop, shelf):
    file = workshop.gguf("tiny.gguf")
    shelf.add("plain", file, workshop.root / "blobs")
    shelf.add("coder", file, workshop.root / "blobs")
    shelf.models["coder"]["modelfile"] += "RENDERER qwen3-coder\nPARSER qwen3-coder\n"
    plain, coder = (base_from_ollama(shelf, name) for name in ("plain", "coder"))
    assert (plain.from_name, plain.own_prompt) == ("plain", "")
    assert (coder.from_name, coder.own_prompt) == (None, "RENDERER qwen3-coder, PARSER qwen3-coder")
    assert coder.gguf is not None
    shelf.local = False
    assert base_from_ollama(shelf, "coder").from_name == "coder"  # there is nothing else to build it from
