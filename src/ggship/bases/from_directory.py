"""Read a base from a Hugging Face directory: config.json, and the headers of its weights where they are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ggship.bases.dimensions import metadata_of_config
from ggship.bases.model import Base, BaseTensor
from ggship.errors import BadFile, Refused
from ggship.runs.files import MIB, is_regular, read_object
from ggship.runs.headers import read_headers
from ggship.runs.template import read_chat_template

# transformers' model_type -> GGUF's architecture (vendored converter: conversion/*.py, @ModelBase.register).
_ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
    "chatglm": "chatglm",
    "glm": "chatglm",
    "glm4": "glm4",
    "gpt2": "gpt2",
    "gpt_neox": "gptneox",
    "falcon": "falcon",
    "starcoder2": "starcoder2",
    "stablelm": "stablelm",
    "olmo2": "olmo2",
    "granite": "granite",
    "internlm2": "internlm2",
    "baichuan": "baichuan",
    "minicpm": "minicpm",
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
    "cohere": "command-r",
    "cohere2": "cohere2",
    "smollm3": "smollm3",
    "gpt_oss": "gpt-oss",
    "phi": "phi2",
}
# Class names tell more where the type is a remote one's own, or the same for two.
_CLASSES = {"ChatGLMModel": "chatglm", "ChatGLMForConditionalGeneration": "chatglm", "BaichuanForCausalLM": "baichuan"}
_TYPES = {"F32": "F32", "F16": "F16", "BF16": "BF16", "F64": "F64"}


def is_base_directory(directory: Path) -> bool:
    """Whether a model may lie there: config.json, and no adapter beside it."""
    return is_regular(directory / "config.json") and not is_regular(directory / "adapter_config.json")


def base_from_directory(directory: Path, *, ref: str = "", found: str = "as you named it", revision: str = "") -> Base:
    """The base in that directory; its weights need not be there.

    Raises BadFile where config.json or a header is damaged, Refused where llama.cpp knows no such architecture.
    """
    config = read_object(directory / "config.json", directory.resolve(), 16 * MIB)
    text = config.get("text_config")
    merged: dict[str, Any] = {**config, **text} if isinstance(text, dict) else config
    architecture = architecture_of(config, directory / "config.json")
    template, _ = read_chat_template(directory, directory)
    metadata = metadata_of_config(architecture, merged)
    name = config.get("_name_or_path")
    if isinstance(name, str) and name:
        metadata["general.name"] = name
    return Base(
        ref=ref or str(directory),
        architecture=architecture,
        found=found,
        config_dir=directory,
        tensors=_tensors(directory, architecture, metadata, merged),
        metadata=metadata,
        chat_template=template,
        revision=revision,
    )


def architecture_of(config: Mapping[str, Any], file: Path) -> str:
    """GGUF's name of the architecture. Raises Refused where there is none that we know."""
    classes = config.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else ""
    known = _CLASSES.get(first) if isinstance(first, str) else None
    kinds = [config.get("model_type")]
    if isinstance(config.get("text_config"), dict):
        kinds.insert(0, config["text_config"].get("model_type"))
    known = known or next(
        (_ARCHITECTURES[kind] for kind in kinds if isinstance(kind, str) and kind in _ARCHITECTURES), None
    )
    if known is None:
        raise Refused(
            f"ggship does not know this kind of model: {kinds[-1] or first or 'config.json names none'}",
            where=str(file),
            hint="convert it with llama.cpp's convert_hf_to_gguf.py and pass the GGUF file with --base",
        )
    return known


def weight_files(directory: Path) -> tuple[Path, ...]:
    """The safetensors files of the model, in order; empty where the weights are not there, or not all of them."""
    if is_regular(directory / "model.safetensors"):
        return (directory / "model.safetensors",)
    index = directory / "model.safetensors.index.json"
    if not is_regular(index):
        return ()
    names = read_object(index, directory.resolve(), 64 * MIB).get("weight_map")
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and name == Path(name).name for name in names.values()
    ):
        raise BadFile("the index of the base's weights names no files beside it", where=str(index))
    files = tuple(directory / name for name in sorted(set(names.values())))
    return files if all(is_regular(file) for file in files) else ()


def _tensors(
    directory: Path, architecture: str, metadata: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, BaseTensor]:
    from ggship.convert.names import map_module

    blocks = int(metadata.get(f"{architecture}.block_count", 0))
    tensors: dict[str, BaseTensor] = {}
    for file in weight_files(directory):
        for header in read_headers(file).tensors.values():
            name = map_module(architecture, blocks, header.name.removesuffix(".weight"))
            # What is quantized for PyTorch (bitsandbytes, GPTQ, AWQ) has other shapes: it tells nothing.
            if name is not None and header.name.endswith(".weight") and header.dtype in _TYPES:
                tensors[name] = BaseTensor(name, header.shape, _TYPES[header.dtype])
    if config.get("tie_word_embeddings") is True:
        tensors.pop("output.weight", None)
    return {} if "quantization_config" in config else tensors
