"""On real servers of both eras: the prompt that is rendered is the prompt of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ggship.gguf.reader import read_gguf
from ggship.modelfile import Modelfile, not_carried, parse, to_request
from ggship.prompts import (
    PROBES,
    ChatTemplate,
    GoTemplate,
    families,
    family,
    go_template,
    prove_prompts,
    server_adds_bos,
    template_preference,
)
from ggship.prompts.stops import pieces_stops
from ggship.runtimes.ollama_api import OllamaClient

BASE = "smollm2:135m"


@pytest.fixture(scope="module")
def client(each_ollama: str) -> Iterator[OllamaClient]:
    client = OllamaClient(each_ollama)
    yield client
    client.close()


@pytest.fixture
def created(client: OllamaClient) -> Iterator[Callable[[Modelfile], str]]:
    """Make a model of the base and a Modelfile; it is deleted afterwards."""
    name = "ggship-prompt-test:latest"

    def create(modelfile: Modelfile) -> str:
        client.create({"model": name, "from": modelfile.from_, **to_request(modelfile)})
        return name

    yield create
    client.delete(name)


@pytest.fixture(scope="module")
def smollm2(base_gguf: Path) -> ChatTemplate:
    header = read_gguf(base_gguf)
    tokens = header.get("tokenizer.ggml.tokens")
    bos, eos = (tokens[header.get(f"tokenizer.ggml.{name}_token_id")] for name in ("bos", "eos"))
    return ChatTemplate(header.get("tokenizer.chat_template"), bos, eos, source="the base")


def test_template_of_the_base_is_rendered_as_its_jinja(client, created, smollm2, base_gguf):
    header = read_gguf(base_gguf)
    keys = [f"tokenizer.ggml.{name}" for name in ("model", "pre", "add_bos_token")]
    metadata = {key: header.get(key) for key in keys}
    go = go_template(smollm2, server_adds_bos=server_adds_bos(metadata))
    assert isinstance(go, GoTemplate)
    assert template_preference(go.text, smollm2.text) == "go"
    stops = pieces_stops(go.pieces, smollm2.bos_token)
    name = created(Modelfile(BASE, template=go.text, parameters=tuple(("stop", stop) for stop in stops)))
    proof = prove_prompts(smollm2, lambda messages: client.render(name, messages))
    assert proof.holds, "\n".join(map(str, proof.differences))
    assert proof.probes == len(PROBES)
    assert client.show(name)["template"] == go.text


def test_left_alone_the_server_renders_something_else(client, smollm2):
    proof = prove_prompts(smollm2, lambda messages: client.render(BASE, messages))
    assert 0 < len(proof.differences) < len(PROBES)
    # Its default system text is what is lost.
    assert {found.probe for found in proof.differences} >= {"single turn", "several turns"}


def test_system_of_the_modelfile_stands_where_training_put_it(client, created, smollm2):
    go = go_template(smollm2, server_adds_bos=False)
    assert isinstance(go, GoTemplate)
    system = '你是一名法律顾问。\n\u3000\u3000Say "yes" or "no".'
    name = created(Modelfile(BASE, template=go.text, system=system))
    proof = prove_prompts(smollm2, lambda messages: client.render(name, messages), system=system)
    assert proof.holds, "\n".join(map(str, proof.differences))


@pytest.mark.parametrize("name", families())
def test_every_family_is_rendered_as_its_jinja(client, created, name):
    chat = family(name)
    go = go_template(chat)
    assert isinstance(go, GoTemplate)
    model = created(Modelfile(BASE, template=go.text))
    proof = prove_prompts(chat, lambda messages: client.render(model, messages))
    assert proof.holds, "\n".join(map(str, proof.differences))
    assert bool(proof.skipped) == (name == "gemma2")


def test_an_empty_system_text_that_counts_as_none(client, created):
    """As Phi-3.5, Granite and many others have it."""
    text = (
        "{% for m in messages %}"
        "{% if m.role == 'system' and m.content %}{{ '<|system|>\\n' + m.content + '<|end|>\\n' }}"
        "{% elif m.role != 'system' %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
    )
    chat = ChatTemplate(text)
    go = go_template(chat)
    assert isinstance(go, GoTemplate)
    model = created(Modelfile(BASE, template=go.text))
    proof = prove_prompts(chat, lambda messages: client.render(model, messages))
    assert proof.holds, "\n".join(map(str, proof.differences))


def test_what_the_api_was_sent_is_shown_and_the_servers_own_modelfile_is_read(client, created):
    modelfile = Modelfile(
        BASE,
        template="{{ range .Messages }}{{ .Content }}\n{{ end }}",
        system='　　你是"法律顾问"。\n👩\u200d⚖️ says """yes"""\nand "no"',
        parameters=(("stop", "<|im_end|>"), ("stop", "### Frage:"), ("temperature", 0.25), ("num_ctx", 1024)),
        messages=(("user", "a: b"), ("assistant", "c\nd")),
    )
    assert not_carried(modelfile)  # that is why it is sent through the API
    shown = client.show(created(modelfile))
    assert shown["system"] == modelfile.system
    assert shown["template"] == modelfile.template
    assert shown["messages"] == to_request(modelfile)["messages"]
    plain = created(replace(modelfile, system="Be brief.\n  Always."))
    read = parse(client.show(plain)["modelfile"])
    assert (read.system, read.template) == ("Be brief.\n  Always.", modelfile.template)
    assert set(read.parameters) == set(modelfile.parameters)
    assert read.messages == modelfile.messages
