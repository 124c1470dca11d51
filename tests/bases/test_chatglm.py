"""ChatGLM3 directories become GGUF whatever they are called, without running their code, and know where a turn ends."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ggship.bases import hf_to_gguf
from ggship.bases.chatglm import is_chatglm3
from ggship.bases.to_gguf import content_key
from ggship.gguf.reader import read_gguf

PADDED = 320
ROLES = ["<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]


def pieces(directory: Path) -> int:
    """How many there are: sentencepiece finds fewer in so few words."""
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model")).vocab_size()


def sentencepiece_model(directory: Path) -> None:
    import sentencepiece

    text = directory / "text"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(directory / "tokenizer"), vocab_size=300, byte_fallback=True,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    text.unlink()
    (directory / "tokenizer.vocab").unlink()


@pytest.fixture
def chatglm(tmp_path, monkeypatch):
    """A ChatGLM3 of two small layers, saved again by someone: no THUDM in its name, its own code beside it."""
    monkeypatch.setenv("GGSHIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("GGSHIP_STATE_DIR", str(tmp_path / "state"))
    directory = tmp_path / "my-chatglm"
    directory.mkdir()
    config = {
        "_name_or_path": "/home/me/my-chatglm", "architectures": ["ChatGLMModel"], "model_type": "chatglm",
        "auto_map": {"AutoConfig": "configuration_chatglm.ChatGLMConfig"}, "hidden_size": 32, "num_layers": 2,
        "num_attention_heads": 4, "multi_query_attention": True, "multi_query_group_num": 2, "kv_channels": 8,
        "ffn_hidden_size": 48, "padded_vocab_size": PADDED, "seq_length": 128, "layernorm_epsilon": 1e-5,
        "eos_token_id": 2, "pad_token_id": 0, "torch_dtype": "float16",
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]}})
    )
    (directory / "tokenization_chatglm.py").write_text("raise SystemExit('the code of a stranger ran')\n")
    (directory / "configuration_chatglm.py").write_text("raise SystemExit('the code of a stranger ran')\n")
    sentencepiece_model(directory)
    tensors = {
        "transformer.embedding.word_embeddings.weight": (PADDED, 32),
        "transformer.output_layer.weight": (PADDED, 32),
    }
    for block in range(2):
        stem = f"transformer.encoder.layers.{block}"
        tensors |= {
            f"{stem}.input_layernorm.weight": (32,), f"{stem}.post_attention_layernorm.weight": (32,),
            f"{stem}.self_attention.query_key_value.weight": (64, 32),
            f"{stem}.self_attention.query_key_value.bias": (64,), f"{stem}.self_attention.dense.weight": (32, 32),
            f"{stem}.mlp.dense_h_to_4h.weight": (96, 32), f"{stem}.mlp.dense_4h_to_h.weight": (32, 48),
        }  # fmt: skip
    tensors["transformer.encoder.final_layernorm.weight"] = (32,)
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal(shape).astype(np.float16) for name, shape in tensors.items()}
    save_file(values, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


@pytest.mark.hf
def test_a_saved_again_chatglm3_is_converted_by_its_own_vocabulary(chatglm):
    file = read_gguf(hf_to_gguf(chatglm))
    tokens = file.get("tokenizer.ggml.tokens")
    assert (file.architecture, file.get("tokenizer.ggml.model")) == ("chatglm", "llama")
    assert file.get("tokenizer.ggml.pre") == "chatglm-spm"
    assert len(tokens) == PADDED
    assert tokens[:3] == ["<unk>", "<bos>", "<eos>"]
    first = pieces(chatglm)
    assert tokens[first : first + 9] == ["[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", *ROLES]
    assert tokens[first + 9] == f"[PAD{first + 9}]"
    assert tokens[file.get("tokenizer.ggml.eot_token_id")] == "<|user|>"
    assert tokens[file.get("tokenizer.ggml.eos_token_id")] == "<eos>"
    assert file.tensor("blk.1.attn_qkv.weight").shape == (64, 32)
    assert not list(file.path.parent.glob(".*"))


@pytest.mark.hf
def test_it_loads_and_answers_in_llama_cpp(chatglm):
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(hf_to_gguf(chatglm))
    params.n_ctx, params.n_parallel, params.warmup = 64, 1, False
    server = xllamacpp.Server(params)
    answer = server.handle_completions({"prompt": "the quick", "n_predict": 3, "temperature": 0.0})
    assert answer


def test_which_folders_are_meant(tmp_path):
    config = {"architectures": ["ChatGLMModel"]}
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>")
    assert is_chatglm3(tmp_path, config)
    assert not is_chatglm3(tmp_path, {"architectures": ["LlamaForCausalLM"]})
    assert not is_chatglm3(tmp_path, {})
    (tmp_path / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")  # glm-4-9b: tiktoken's ranks
    assert not is_chatglm3(tmp_path, config)
    (tmp_path / "tokenizer.model").unlink()
    assert not is_chatglm3(tmp_path, config)


@pytest.mark.hf
def test_what_is_changed_is_in_the_key(chatglm):
    before = content_key(chatglm)
    (chatglm / "tokenizer.model").write_bytes(b"IQ== 0\n")
    other = content_key(chatglm)
    assert before != other


@pytest.mark.hf
def test_the_tokenizer_is_that_of_chatglm3(chatglm, tmp_path):
    """The rules of tokenization_chatglm.py: special tokens follow the pieces, what lies beyond is nothing."""
    from ggship.bases.chatglm import patched_copy

    folder = patched_copy(chatglm, tmp_path / "patched")
    assert not (folder / "tokenization_chatglm.py").exists()
    spec = importlib.util.spec_from_file_location("tokenization_ggship", folder / "tokenization_ggship.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tokenization_ggship"] = module
    spec.loader.exec_module(module)
    tokenizer, first = module.ChatGLM3.from_pretrained(folder), pieces(chatglm)
    assert tokenizer._convert_id_to_token(first + 6) == "<|user|>"
    assert [tokenizer._convert_id_to_token(index) for index in (1, 2, first + 9, -1)] == ["", "", "", ""]
    assert tokenizer.get_vocab()["sop"] == first + 3
