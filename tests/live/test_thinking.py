"""On real servers: a model that can think is asked with the prompt that was proven, whoever turns its switch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ggship.gguf.reader import read_gguf
from ggship.gguf.writer import GgufWriter, NewTensor, changed_metadata
from ggship.prompts import ChatTemplate, gguf_chat_template, prove_prompts
from ggship.prompts.thinking import match_thinking, thoughts_closed
from ggship.runtimes.model import ModelSpec
from ggship.runtimes.ollama import OllamaRuntime
from ggship.runtimes.ollama_api import OllamaClient

NAME = "ggship-thinking-test:latest"
ASK = [{"role": "user", "content": "Q"}]
CLOSED = "<think>\\n\\n</think>\\n\\n"
OFF = "enable_thinking is defined and not enable_thinking"
TURNS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '" + CLOSED + "' }}{% endif %}{{ m.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
)
QWEN3 = TURNS + "{% if " + OFF + " %}{{ '" + CLOSED + "' }}{% endif %}{% endif %}"
# As DeepSeek-R1: a thought is opened for the model, and its answers have none.
R1 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content.split('</think>')[-1] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}"
)
SMOLLM3 = "{{ '/no_think ' if " + OFF + " else '/think ' }}" + TURNS + "{% endif %}"


@pytest.fixture
def runtime(each_ollama: str) -> Iterator[OllamaRuntime]:
    runtime = OllamaRuntime(OllamaClient(each_ollama))
    yield runtime
    runtime.delete(NAME)
    runtime.close()


@pytest.fixture
def with_template(base_gguf: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The real base with another chat template in it."""

    def make(text: str) -> Path:
        base = read_gguf(base_gguf)
        new = [NewTensor(tensor.name, tensor.shape, tensor.type) for tensor in base.tensors]
        metadata = changed_metadata(base.metadata, {"tokenizer.chat_template": text})
        with base_gguf.open("rb") as source, GgufWriter(tmp_path / "model.gguf", metadata, new) as writer:
            for old, tensor in zip(base.tensors, writer.tensors, strict=True):
                writer.copy_from(source.fileno(), old.offset, tensor.offset, old.nbytes)
        return tmp_path / "model.gguf"

    return make


@pytest.mark.parametrize("text", [QWEN3, SMOLLM3], ids=["as Qwen3", "as SmolLM3"])
def test_a_merged_model_has_the_prompt_of_training_whichever_way_the_switch_is(runtime, with_template, text):
    chat, _ = match_thinking(ChatTemplate(text, "<|im_start|>", "<|im_end|>"))
    runtime.create(NAME, ModelSpec(model=with_template(gguf_chat_template(chat))))
    assert "thinking" in runtime.client.show(NAME)["capabilities"]
    assert prove_prompts(chat, runtime.endpoint(NAME).render, adds_bos=False).holds
    for think in (None, True, False):
        assert runtime.client.render(NAME, ASK, think=think) == chat.render(ASK)


def test_a_thought_that_training_never_saw_is_not_opened(runtime, with_template):
    chat, thinking = match_thinking(ChatTemplate(R1, "<|im_start|>", "<|im_end|>"))
    runtime.create(NAME, ModelSpec(model=with_template(gguf_chat_template(chat))))
    assert prove_prompts(chat, runtime.endpoint(NAME, think=thinking.ask).render, adds_bos=False).holds
    for think in (None, False):
        assert runtime.client.render(NAME, ASK, think=think) == "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"


def test_a_switch_that_reaches_the_template_is_rendered_as_it_is_asked(runtime, with_template):
    runtime.create(NAME, ModelSpec(model=with_template(QWEN3)))
    closed = thoughts_closed(ChatTemplate(QWEN3, "<|im_start|>", "<|im_end|>"))
    assert prove_prompts(closed, runtime.endpoint(NAME).render, adds_bos=False).holds
    assert runtime.client.render(NAME, ASK) != closed.render(ASK)  # what Ollama does where nobody says


def test_a_switch_that_makes_another_prompt_is_found(runtime, with_template):
    runtime.create(NAME, ModelSpec(model=with_template(SMOLLM3)))
    proof = prove_prompts(ChatTemplate(SMOLLM3, "<|im_start|>", "<|im_end|>"), runtime.endpoint(NAME).render)
    assert proof.equal == 0
