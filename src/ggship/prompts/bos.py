"""Who puts the BOS token in front of a prompt: the server, by the model's metadata, or else the template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ggship.bases.model import Base
from ggship.gguf.reader import read_gguf
from ggship.runs.files import MIB, is_regular, read_object

_LIMIT = 64 * MIB
_BPE_WITH_BOS = (
    *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
    *("jina-v5-nano", "tekken", "chameleon"),
)
# Where the converter takes tokenizer.model before tokenizer.json (conversion/*.py, set_vocab). GLM-4's is another kind.
_SENTENCEPIECE = frozenset(
    ("llama", "qwen2", "gemma", "gemma2", "gemma3", "phi3", "internlm2", "baichuan", "minicpm", "deepseek2")
)
_GRANITE_VOCABULARY = 49152  # conversion/llama.py, set_vocab: "granite small models only", and SmolLM2


def adds_bos(base: Base) -> bool:
    """Whether llama.cpp will put the BOS token in front of every prompt of a model made from this base.

    By the metadata of its GGUF; where the base is still a Hugging Face directory, by what the converter will write
    there. Raises BadFile where a tokenizer file is damaged.
    """
    told = metadata_adds_bos(base.metadata)
    if told is None and base.config_dir is not None:
        return directory_adds_bos(base.config_dir, base.architecture, base.metadata)
    return bool(told)


def metadata_adds_bos(metadata: Mapping[str, Any]) -> bool | None:
    """server_adds_bos, or None where the metadata says nothing of a tokenizer."""
    return server_adds_bos(metadata) if "tokenizer.ggml.model" in metadata else None


def server_adds_bos(metadata: Mapping[str, Any]) -> bool:
    """Whether llama.cpp puts the BOS token in front of every prompt, by the GGUF metadata of the model.

    Source: llama.cpp, src/llama-vocab.cpp (defaults by `tokenizer.ggml.model` and `.pre`, overridden by
    `tokenizer.ggml.add_bos_token`, except for Gemma 4).
    """
    model, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if pre == "gemma4" or model == "gemma4":
        return True
    told = metadata.get("tokenizer.ggml.add_bos_token")
    if told is not None:
        return bool(told)
    return model in ("llama", "bert") or (model == "gpt2" and pre in _BPE_WITH_BOS)


def file_adds_bos(file: Path) -> bool:
    """The same by the header of a GGUF file."""
    header = read_gguf(file)
    keys = ("tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.add_bos_token")
    return server_adds_bos({key: header.get(key) for key in keys})


def directory_adds_bos(folder: Path, architecture: str, metadata: Mapping[str, Any]) -> bool:
    """The same for a Hugging Face directory, once it is converted; metadata: its dimensions under GGUF's keys.

    Law: equal to server_adds_bos of the file that the converter makes of it, for the architectures that ggship knows.
    Source: the vendored converter, gguf/vocab.py (SpecialVocab), conversion/llama.py and phi.py.
    """
    if architecture == "phi2" or (
        architecture == "llama" and metadata.get("llama.vocab_size", 32000) == _GRANITE_VOCABULARY
    ):
        return False
    tokenizer = _object(folder, "tokenizer.json")
    told = _told(tokenizer, folder)
    if told is not None:
        return told
    if is_regular(folder / "tokenizer.model"):
        return architecture in _SENTENCEPIECE or "chatglm3" in str(metadata.get("general.name"))
    if not tokenizer:
        return is_regular(folder / "tekken.json")
    # Without a word on it, what counts is the kind of vocabulary; SentencePiece's is the one that falls back on bytes.
    model = tokenizer.get("model")
    return architecture == "llama" and isinstance(model, dict) and model.get("byte_fallback") is True


def _told(tokenizer: Mapping[str, Any], folder: Path) -> bool | None:
    """What will stand in `tokenizer.ggml.add_bos_token`: the post processor's word, else tokenizer_config.json's."""
    config = _object(folder, "tokenizer_config.json")
    told: bool | None = None
    post = tokenizer.get("post_processor")
    processors = post.get("processors", [post]) if isinstance(post, dict) else []
    for processor in processors if isinstance(processors, list) else []:
        kind = processor.get("type") if isinstance(processor, dict) else None
        if kind == "ByteLevel" and told is None:
            told = False
        elif kind == "RobertaProcessing":
            told = True
        elif kind == "TemplateProcessing" and (first := _first_token(processor.get("single"))):
            named = [config.get("bos_token") or config.get("cls_token"), config.get("cls_token")]
            # The converter gives a name that nobody has to this token, so only two others make it a stranger.
            told = not config or first in named or not all(named)
    if told is None and isinstance(config.get("add_bos_token"), bool):
        told = config["add_bos_token"]
    return told


def _first_token(single: Any) -> str | None:
    """The special token that a template of the post processor begins with."""
    if not isinstance(single, list) or len(single) < 2 or not isinstance(single[0], dict):
        return None
    token = single[0].get("SpecialToken")
    name = token.get("id") if isinstance(token, dict) else None
    return name if isinstance(name, str) else None


def _object(folder: Path, name: str) -> dict[str, Any]:
    file = folder / name
    return read_object(file, folder.resolve(), _LIMIT) if is_regular(file) else {}
