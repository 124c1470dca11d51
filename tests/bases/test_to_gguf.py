"""A Hugging Face directory is converted once, by content; what cannot be converted is refused with a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggship.bases import find_base, hf_to_gguf, with_weights
from ggship.errors import BaseNotFound, GgshipError, Refused, ToolFailed
from ggship.runner import Completed


class Converter:
    """Stands in for the vendored script: writes what it is told to, and counts."""

    def __init__(self, file: Path | None, status: int = 0) -> None:
        self.file, self.status, self.calls = file, status, []

    def __call__(self, argv, *, cwd=None, env=None, timeout=None):
        self.calls.append((list(argv), env))
        if self.file:
            Path(argv[argv.index("--outfile") + 1]).write_bytes(self.file.read_bytes())
        return Completed(tuple(argv), self.status, "line one\nValueError: what went wrong")


def test_weights_that_are_not_there(workshop):
    with pytest.raises(BaseNotFound) as caught:
        hf_to_gguf(workshop.directory("Tiny", weights=False))
    assert "--pull" in caught.value.hint


def test_weights_quantized_for_pytorch(workshop):
    directory = workshop.directory("Tiny", quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(Refused, match="quantized for PyTorch") as caught:
        hf_to_gguf(directory)
    assert "bitsandbytes" in caught.value.where


@pytest.mark.hf
class TestOnce:
    def test_converted_once_and_again_when_the_content_changes(self, workshop):
        directory = workshop.directory("Tiny")
        converter = Converter(workshop.gguf())
        first = hf_to_gguf(directory, runner=converter)
        assert hf_to_gguf(directory, runner=converter) == first
        assert len(converter.calls) == 1
        argv, env = converter.calls[0]
        assert argv[1].endswith("convert_hf_to_gguf.py")
        assert env["HF_HUB_OFFLINE"] == "1"
        assert first.is_relative_to(workshop.root / "cache")
        weights = bytearray((directory / "model.safetensors").read_bytes())
        weights[-1] ^= 1
        (directory / "model.safetensors").write_bytes(weights)
        assert hf_to_gguf(directory, runner=converter) != first
        assert len(converter.calls) == 2

    def test_the_same_content_elsewhere_is_the_same_file(self, workshop):
        converter = Converter(workshop.gguf())
        first = hf_to_gguf(workshop.directory("a/Tiny"), runner=converter)
        assert hf_to_gguf(workshop.directory("b/Tiny"), runner=converter) == first

    @pytest.mark.parametrize(("status", "writes"), [(1, True), (1, False), (0, False), (-9, True)])
    def test_a_failure_leaves_nothing_behind(self, status, writes, workshop):
        converter = Converter(workshop.gguf() if writes else None, status)
        with pytest.raises(ToolFailed) as caught:
            hf_to_gguf(workshop.directory("Tiny"), runner=converter)
        assert "what went wrong" in caught.value.where
        assert not list((workshop.root / "cache").rglob("*.gguf*partial"))
        assert not list((workshop.root / "cache").rglob("*.gguf"))

    def test_what_is_no_gguf_file_is_not_kept(self, workshop):
        bad = workshop.root / "bad"
        bad.write_bytes(b"nonsense" * 10)
        with pytest.raises(GgshipError):
            hf_to_gguf(workshop.directory("Tiny"), runner=Converter(bad))
        assert not list((workshop.root / "cache").rglob("*.gguf"))

    def test_a_base_gets_its_weights_and_keeps_its_name(self, workshop):
        base = find_base(None, str(workshop.directory("Tiny")))
        full = with_weights(base, runner=Converter(workshop.gguf()))
        assert full.gguf is not None
        assert (full.ref, full.config_dir) == (base.ref, base.config_dir)
        assert full.chat_template == "{% of the directory %}"
        assert with_weights(full) is full


@pytest.mark.hf
def test_a_real_model_through_the_vendored_converter(workshop):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ggship.gguf.reader import read_gguf

    torch.manual_seed(0)
    directory = workshop.root / "Real-Tiny"
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 300}
    LlamaForCausalLM(LlamaConfig(num_attention_heads=4, **size)).to(torch.bfloat16).save_pretrained(directory)
    _sentencepiece(directory)
    header = read_gguf(hf_to_gguf(directory))
    assert header.architecture == "llama"
    assert header.tensor("blk.1.ffn_up.weight").type_name == "BF16"
    assert header.tensor("blk.1.ffn_up.weight").shape == (48, 32)


def _sentencepiece(directory: Path) -> None:
    """A tokenizer of 300 pieces, trained on a few words."""
    import sentencepiece

    text = directory / "text"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(directory / "tokenizer"),
        vocab_size=300,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    text.unlink()
