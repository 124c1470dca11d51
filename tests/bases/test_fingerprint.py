"""Is it the base that the adapter was trained on? Verdicts by names, tokens, templates and numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

from ggship.bases import find_base
from ggship.bases.evidence_names import traits_of
from ggship.bases.fingerprint import fingerprint, require_possible
from ggship.errors import BaseMismatch
from ggship.runs import read_run


def verdict(run, base):
    found = fingerprint(run, base)
    return found.verdict, found.why


def named(workshop, name, **config):
    return workshop.run(base_model_name_or_path=name, **config)


def gguf_base(workshop, **keys):
    return find_base(None, str(workshop.gguf(**keys)))


@pytest.mark.parametrize(
    ("trained_on", "keys", "expected"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", {"name": "Qwen2.5 7B Instruct"}, "same"),
        ("Qwen/Qwen2.5-7B-Instruct", {"basename": "Qwen2.5", "size_label": "7B", "finetune": "Instruct"}, "same"),
        ("unsloth/Qwen2.5-7B-Instruct-bnb-4bit", {"name": "Qwen2.5 7B Instruct"}, "same"),
        ("Qwen/Qwen2.5-7B-Instruct", {"name": "Qwen2.5 7B"}, "unlikely"),
        ("Qwen/Qwen2.5-7B", {"name": "Qwen2.5 7B Instruct"}, "unlikely"),
        ("Qwen/Qwen2.5-7B", {"basename": "Qwen2.5", "size_label": "7B", "finetune": "Instruct"}, "unlikely"),
        ("Qwen/Qwen2.5-7B-Instruct", {"name": "Qwen2.5 Coder 7B Instruct"}, "unlikely"),
        ("Qwen/Qwen2.5-7B-Instruct", {"name": "Qwen2 7B Instruct"}, "unlikely"),
        ("mistralai/Mistral-7B-Instruct-v0.2", {"name": "Mistral 7B Instruct v0.2"}, "same"),
        ("mistralai/Mistral-7B-Instruct-v0.2", {"name": "Mistral 7B Instruct v0.1"}, "unlikely"),
        ("mistralai/Mistral-7B-Instruct-v0.2", {"basename": "Mistral", "version": "v0.3", "finetune": "Instruct"},
         "unlikely"),
        ("meta-llama/Llama-3.1-8B-Instruct", {"name": "Meta Llama 3.1 8B Instruct"}, "same"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", {"name": "Meta Llama 3.1 8B Instruct"}, "unlikely"),
        ("microsoft/Phi-3-mini-4k-instruct", {"name": "Phi 3 Mini 128k Instruct"}, "unlikely"),
        ("NousResearch/Hermes-3-Llama-3.1-8B", {"name": "Zephyr 7B beta 2"}, "unlikely"),
        ("Qwen/Qwen2.5-7B-Instruct", {"name": "model"}, "compatible"),
        ("Qwen/Qwen2.5-7B-Instruct", {}, "compatible"),
        ("/data/my-model", {"name": "Qwen2.5 7B"}, "compatible"),
        ("/data/finetunes/company7b", {"name": "Qwen2.5 7B"}, "compatible"),
        ("", {"name": "Qwen2.5 7B"}, "compatible"),
    ],
)  # fmt: skip
def test_by_the_names_in_the_file(trained_on, keys, expected, workshop):
    keys = {f"general__{key}": value for key, value in keys.items()}
    assert verdict(named(workshop, trained_on), gguf_base(workshop, **keys))[0] == expected


@pytest.mark.parametrize(
    ("trained_on", "served", "expected"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5:7b", "compatible"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5:7b-instruct-q4_K_M", "same"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-coder:7b", "unlikely"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2:7b", "unlikely"),
        ("mistralai/Mistral-7B-Instruct-v0.2", "mistral:7b-instruct-v0.1-q4_0", "unlikely"),
    ],
)
def test_by_the_name_that_ollama_has_for_it(trained_on, served, expected, workshop, shelf):
    shelf.add(served, workshop.gguf(), workshop.root / "blobs")
    base = find_base(None, f"ollama:{served}", ollama=shelf)
    assert verdict(named(workshop, trained_on), base)[0] == expected


def test_the_file_that_training_named(workshop):
    place = workshop.directory("models/base")
    found = verdict(named(workshop, str(place)), find_base(None, str(place)))
    assert found == ("same", "training named this very folder")


def test_the_repository_and_the_commit_that_training_named(workshop, revision):
    workshop.cache("org/Tiny-1B-Instruct")
    base = find_base(None, "hf:org/Tiny-1B-Instruct")
    run = workshop.run(revision=revision)
    kind, why = verdict(run, base)
    assert kind == "same"
    assert "at the very commit" in why
    other = fingerprint(workshop.run("b/lora-out", revision="f" * 40), base)
    assert other.verdict == "same"
    assert [item.says for item in other.evidence if item.about == "revision"] == ["doubt"]


def test_the_hint_says_what_to_pass(workshop):
    run = named(workshop, "unsloth/Qwen2.5-7B-Instruct-bnb-4bit")
    found = fingerprint(run, gguf_base(workshop, general__name="Qwen2.5 7B"))
    assert "--base hf:unsloth/Qwen2.5-7B-Instruct --pull" in found.hint


def test_another_shape_is_impossible(workshop, tiny):
    run, base = workshop.run(), find_base(None, str(workshop.gguf(tiny=tiny(inner=32), general__name="Tiny 1B")))
    found = fingerprint(run, base)
    assert found.verdict == "impossible"
    with pytest.raises(BaseMismatch, match="another base") as caught:
        require_possible(found, base)
    assert "32 x 16" in caught.value.where
    assert caught.value.exit_code == 4


def tokenizer(directory, tokens, end="</s>", template=None):
    directory.mkdir(parents=True, exist_ok=True)
    vocab = {token: number for number, token in enumerate(tokens)}
    (directory / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": vocab}}))
    fields = {"eos_token": end, **({"chat_template": template} if template else {})}
    (directory / "tokenizer_config.json").write_text(json.dumps(fields))


TOKENS = [f"t{number}" for number in range(200)]  # as workshop.gguf has them


class TestTokens:
    def test_the_same_tokens_fit(self, workshop):
        run = named(workshop, "")
        tokenizer(run.path, TOKENS)
        found = fingerprint(read_run(run.path), gguf_base(workshop))
        assert found.verdict == "compatible"
        assert "100.0% of 200 tokens are the base's" in found.why

    def test_other_tokens_are_unlikely(self, workshop):
        run = named(workshop, "")
        tokenizer(run.path, TOKENS[::-1])
        kind, why = verdict(read_run(run.path), gguf_base(workshop))
        assert kind == "unlikely"
        assert "0.0% of 200 tokens" in why

    def test_what_was_counted_is_kept_until_a_file_changes(self, workshop):
        run, base = named(workshop, ""), gguf_base(workshop)
        tokenizer(run.path, TOKENS)
        run = read_run(run.path)
        assert fingerprint(run, base) == fingerprint(run, base)
        (kept,) = json.loads((workshop.root / "cache" / "vocabularies.json").read_text()).values()
        assert kept == [200, 200]
        tokenizer(run.path, [*TOKENS[::-1], "one more"])
        assert fingerprint(run, base).verdict == "unlikely"
        (workshop.root / "cache" / "vocabularies.json").write_text("damaged")
        assert fingerprint(run, base).verdict == "unlikely"

    def test_a_grown_vocabulary_fits(self, workshop):
        run = named(workshop, "")
        tokenizer(run.path, [*TOKENS, "<new>"])
        assert verdict(read_run(run.path), gguf_base(workshop))[0] == "compatible"

    def test_two_doubts_are_unlikely_where_no_name_tells(self, workshop):
        base = workshop.directory("models/base")
        tokenizer(base, TOKENS, end="<|endoftext|>")
        run = named(workshop, "")
        tokenizer(run.path, TOKENS, end="<|im_end|>", template="{% of training %}")
        kind, why = verdict(read_run(run.path), find_base(None, str(base)))
        assert kind == "unlikely"
        assert "<|im_end|>" in why
        assert "another chat template" in why

    def test_equal_templates_fit(self, workshop):
        base = workshop.directory("models/base")
        run = named(workshop, "")
        tokenizer(run.path, TOKENS, template="{% of the directory %}\r\n")
        found = fingerprint(read_run(run.path), find_base(None, str(base)))
        assert [item.says for item in found.evidence if item.about == "template"] == ["fits"]

    def test_damaged_files_tell_nothing(self, workshop):
        run = named(workshop, "")
        (run.path / "tokenizer.json").write_text('{"model": {"vocab": [1, {}, null]}, "added_tokens": [3, {"id": 1}]}')
        assert verdict(read_run(run.path), gguf_base(workshop))[0] == "compatible"


class TestNumbers:
    """DoRA's magnitudes and saved modules, made of the base's own weights, as PEFT begins with them."""

    @pytest.fixture
    def base(self, workshop, tiny):
        return self.write(workshop, tiny(), "base.gguf", seed=1)

    def write(self, workshop, sizes, name, seed):
        rng = np.random.default_rng(seed)
        writer = gguf.GGUFWriter(workshop.root / name, "llama")
        writer.add_block_count(sizes.layers)
        self.values = {}
        for module, (target, shape) in sizes.weights().items():
            self.values[module] = (rng.standard_normal(shape) * rng.uniform(0.5, 3, (shape[0], 1))).astype(np.float32)
            writer.add_tensor(target, self.values[module])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return find_base(None, str(workshop.root / name))

    def run(self, workshop, moved=0.0, saved=None, frozen=False):
        path = workshop.run(use_dora=True, modules_to_save=["lm_head"]).path
        tensors, rng = {}, np.random.default_rng(9)
        for module, weight in self.values.items():
            stem = f"base_model.model.{module}"
            if "layers" not in module:
                if saved is not None:
                    name = f"{stem}.base_layer.weight" if frozen else f"{stem}.weight"
                    tensors[name] = weight + saved * rng.standard_normal(weight.shape).astype(np.float32)
                continue
            tensors[f"{stem}.lora_A.weight"] = np.ones((4, weight.shape[1]), np.float32)
            tensors[f"{stem}.lora_B.weight"] = np.zeros((weight.shape[0], 4), np.float32)
            norms = np.linalg.norm(weight, axis=1)
            tensors[f"{stem}.lora_magnitude_vector"] = (norms * (1 + moved)).astype(np.float32)
        save_file(tensors, path / "adapter_model.safetensors")
        config = json.loads((path / "adapter_config.json").read_text())
        config["modules_to_save"] = ["embed_tokens"] if saved is not None and not frozen else None
        (path / "adapter_config.json").write_text(json.dumps(config))
        return read_run(path)

    def test_magnitudes_of_this_base_fit(self, workshop, base):
        found = fingerprint(self.run(workshop, moved=0.02), base)
        (item,) = [item for item in found.evidence if item.about == "weights"]
        assert (item.says, found.verdict) == ("fits", "compatible")
        assert "2.0% from the base's" in item.text

    def test_magnitudes_of_another_base_are_unlikely(self, workshop, base):
        for module, weight in self.values.items():
            self.values[module] = weight * 4
        assert fingerprint(self.run(workshop), base).verdict == "unlikely"

    def test_a_saved_module_that_began_as_the_base_s_fits(self, workshop, base):
        found = fingerprint(self.run(workshop, saved=0.01), base)
        assert "fits" in [item.says for item in found.evidence if "saved whole" in item.text]

    def test_a_saved_module_of_another_base_is_unlikely(self, workshop, base, tiny):
        self.write(workshop, tiny(), "other.gguf", seed=2)
        found = fingerprint(self.run(workshop, saved=0.01), base)
        assert found.verdict == "unlikely"
        assert "modules that training saved whole are" in found.why

    @pytest.mark.parametrize(("moved", "verdict"), [(0.0, "same"), (0.1, "unlikely"), (2.0, "impossible")])
    def test_a_copy_that_training_did_not_touch_decides(self, moved, verdict, workshop, base):
        found = fingerprint(self.run(workshop, saved=moved, frozen=True), base)
        assert found.verdict == verdict
        if verdict == "impossible":
            with pytest.raises(BaseMismatch) as caught:
                require_possible(found, base)
            assert "copies of the base's weights are" in caught.value.where


def test_the_evidence_holds_no_folder_of_this_machine(workshop):
    place = workshop.directory("models/base")
    tokenizer(place, TOKENS, end="<a>")
    run = named(workshop, str(workshop.root / "elsewhere" / "Qwen2.5-7B"))
    tokenizer(run.path, TOKENS, end="<b>", template="{% x %}")
    for base in (find_base(None, str(place)), replace(gguf_base(workshop), metadata={"general.name": "Qwen2 7B"})):
        assert str(workshop.root) not in json.dumps(fingerprint(read_run(run.path), base).document())


def test_names_are_taken_apart():
    assert traits_of("Qwen2.5-7B-Instruct") == traits_of("qwen2.5-7b-instruct-q4_k_m.gguf")
    assert traits_of("Meta-Llama-3.1-8B-Instruct") == traits_of("llama3.1:8b-instruct-fp16")
    assert traits_of("Qwen2___5-7B") == traits_of("Qwen2.5-7B-00001-of-00003.gguf")
    assert traits_of("Mistral-7B-v0.1").numbers == {"0.1"}
