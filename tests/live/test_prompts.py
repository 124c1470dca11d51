"""On real servers of both eras: the prompt that is rendered is the prompt of training."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter

from ggship.gguf.reader import read_gguf
from ggship.modelfile import Modelfile, not_carried, parse, to_request
from ggship.prompts import (
    PROBES,
    ChatTemplate,
    GoTemplate,
    PromptProof,
    families,
    family,
    gguf_chat_template,
    go_template,
    prove_prompts,
    server_adds_bos,
    template_preference,
)
from ggship.prompts.formats import trainer_format
from ggship.prompts.stops import pieces_stops
from ggship.prompts.thinking import thoughts_closed
from ggship.prompts.tokenparity import TOKEN_PROBES, TrainingTokens, prove_tokens
from ggship.runtimes.embedded import EmbeddedRuntime
from ggship.runtimes.endpoints import OllamaEndpoint
from ggship.runtimes.model import ModelSpec
from ggship.runtimes.ollama import OllamaRuntime
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


def record(server: str, name: str, chat: ChatTemplate, proof: PromptProof) -> None:
    """For scripts/prompts-table: what each conversation came to."""
    if file := os.environ.get("GGSHIP_LIVE_PROMPT_RESULTS"):
        differ = {found.probe for found in proof.differences}
        cells = {
            probe.name: "differs" if probe.name in differ else "refused" if probe.name in proof.skipped else "equal"
            for probe in PROBES
        }
        line = json.dumps({"server": server, "family": name, "cells": cells})
        with Path(file).open("a", encoding="utf-8") as out:
            out.write(line + "\n")


REFUSE_SYSTEM = ("gemma", "gemma2")


@pytest.mark.parametrize("name", families())
def test_every_family_is_rendered_as_its_jinja(client, created, name):
    """As it is packaged: with thoughts closed where training closed them, and the BOS where this base adds none."""
    chat = thoughts_closed(family(name))
    go = go_template(chat, server_adds_bos=False)
    assert isinstance(go, GoTemplate)
    model = created(Modelfile(BASE, template=go.text))
    endpoint = OllamaEndpoint(client, model)
    proof = prove_prompts(chat, endpoint.render, adds_bos=False)
    record(f"Ollama {client.version()}", name, chat, proof)
    assert proof.holds, "\n".join(map(str, proof.differences))
    assert bool(proof.skipped) == (name in REFUSE_SYSTEM)


@pytest.mark.parametrize("name", ["llama3_tokenizer+alpaca", "gemma_tokenizer+ChatMLTemplate", "mistral_tokenizer"])
def test_torchtunes_prompts_are_rendered_as_their_jinja(client, created, smollm2, name):
    chat = replace(trainer_format("torchtune", name), bos_token=smollm2.bos_token, eos_token=smollm2.eos_token)
    go = go_template(chat, server_adds_bos=False)
    assert isinstance(go, GoTemplate)
    endpoint = OllamaEndpoint(client, created(Modelfile(BASE, template=go.text)))
    proof = prove_prompts(chat, endpoint.render, adds_bos=False)
    assert proof.holds, "\n".join(map(str, proof.differences))


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedRuntime]:
    runtime = EmbeddedRuntime()
    yield runtime
    runtime.close()


@pytest.mark.parametrize("name", families())
def test_every_family_is_rendered_by_llama_cpp_itself(embedded, base_gguf, smollm2, name):
    """With the tokens of the base: to llama.cpp a template's bos_token and eos_token are those of the GGUF."""
    own = replace(family(name), bos_token=smollm2.bos_token, eos_token=smollm2.eos_token)
    chat = thoughts_closed(own)
    spec = ModelSpec(model=base_gguf, jinja=gguf_chat_template(chat))
    model = embedded.create(f"prompts-{name.replace('.', '-')}", spec).name
    proof = prove_prompts(chat, embedded.endpoint(model).render, adds_bos=False)
    record(embedded.describe(), name, chat, proof)
    assert proof.holds, "\n".join(map(str, proof.differences))
    assert bool(proof.skipped) == (name in REFUSE_SYSTEM)


def test_a_system_text_that_torchtune_repeats_needs_the_jinja_of_the_model(embedded, base_gguf, smollm2):
    own = replace(
        trainer_format("torchtune", "llama2_tokenizer"), bos_token=smollm2.bos_token, eos_token=smollm2.eos_token
    )
    spec = ModelSpec(model=base_gguf, jinja=gguf_chat_template(own))
    model = embedded.create("prompts-torchtune-llama2", spec).name
    proof = prove_prompts(own, embedded.endpoint(model).render, adds_bos=False)
    assert proof.holds, "\n".join(map(str, proof.differences))


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


TOOLS_TEMPLATE = (
    "{%- if tools %}{{ '<|im_start|>system\\nYou may call:' }}"
    "{% for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}{{ '<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% if message['tool_calls'] %}{{ message['tool_calls'] | tojson }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def remade(base_gguf: Path, path: Path, template: str) -> Path:
    """The base, with a BOS that its tokenizer adds, and that chat template."""
    source = GGUFReader(base_gguf)
    writer = GGUFWriter(path, "llama")
    changed = {"tokenizer.ggml.add_bos_token", "tokenizer.chat_template", "general.architecture"}
    for key, field in source.fields.items():
        if key not in changed and not key.startswith("GGUF."):
            inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=inner)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_chat_template(template)
    for tensor in source.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def with_bos(base_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return remade(base_gguf, tmp_path_factory.mktemp("bos") / "model.gguf", family("chatml").text)


@pytest.fixture(scope="module")
def with_tools(base_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return remade(base_gguf, tmp_path_factory.mktemp("tools") / "model.gguf", TOOLS_TEMPLATE)


@pytest.fixture
def served(client: OllamaClient) -> Iterator[Callable[[Path, str | None], OllamaEndpoint]]:
    """An endpoint of that GGUF, with a TEMPLATE or its own chat template."""
    runtime = OllamaRuntime(client)
    name = "ggship-prompt-other:latest"

    def serve(gguf: Path, template: str | None = None) -> OllamaEndpoint:
        runtime.create(name, ModelSpec(model=gguf, template=template))
        return OllamaEndpoint(client, name)

    yield serve
    client.delete(name)


def known(gguf: Path) -> TrainingTokens:
    names, kinds = (
        GGUFReader(gguf).get_field(f"tokenizer.ggml.{name}").contents() for name in ("tokens", "token_type")
    )
    return TrainingTokens({name: at for at, (name, kind) in enumerate(zip(names, kinds, strict=True)) if kind == 3})


def test_bos_stands_once_where_the_tokenizer_adds_it(served, smollm2, with_bos):
    """Text alone does not show a second one: only the tokens that the server counts do."""
    chat = replace(family("llama3"), bos_token=smollm2.bos_token, eos_token=smollm2.eos_token)
    once, twice = (go_template(chat, server_adds_bos=adds) for adds in (True, False))
    assert isinstance(once, GoTemplate)
    assert isinstance(twice, GoTemplate)
    endpoint = served(with_bos, once.text)
    assert prove_prompts(chat, endpoint.render, adds_bos=True).holds
    good = prove_tokens(chat, endpoint.prompt_tokens, known(with_bos), adds_bos=True)
    assert (good.differences, good.by, good.probes) == ((), "special tokens", len(TOKEN_PROBES))
    doubled = prove_tokens(chat, served(with_bos, twice.text).prompt_tokens, known(with_bos), adds_bos=True)
    assert "a BOS that is there twice" in doubled.differences[0]


def test_tools_are_rendered_as_training_rendered_them(served, smollm2, with_tools):
    chat = ChatTemplate(TOOLS_TEMPLATE, smollm2.bos_token, smollm2.eos_token)
    endpoint = served(with_tools)
    assert endpoint.takes_tools()
    proof = prove_prompts(chat, endpoint.render, adds_bos=True, render_tools=endpoint.render)
    assert proof.holds, "\n".join(map(str, proof.differences))
    assert proof.probes == len(PROBES) + 1


def test_a_template_that_the_server_overrides_is_found(served, smollm2, with_tools):
    """The GGUF's own Jinja can do more, so that Ollama takes it in place of the TEMPLATE, without a word."""
    chat = replace(family("zephyr"), bos_token=smollm2.bos_token)
    go = go_template(chat)
    assert isinstance(go, GoTemplate)
    proof = prove_prompts(chat, served(with_tools, go.text).render, adds_bos=True)
    assert proof.equal == 0
    assert template_preference(go.text, TOOLS_TEMPLATE) == "jinja"


def test_llama_cpp_itself_counts_the_same_tokens(embedded, smollm2, base_gguf):
    spec = ModelSpec(model=base_gguf, jinja=gguf_chat_template(smollm2))
    endpoint = embedded.endpoint(embedded.create("prompts-tokens", spec).name)
    proof = prove_tokens(smollm2, endpoint.prompt_tokens, known(base_gguf), adds_bos=False)
    assert (proof.differences, proof.by, proof.probes) == ((), "special tokens", len(TOKEN_PROBES))
    tools = replace(smollm2, text=TOOLS_TEMPLATE)
    endpoint = embedded.endpoint(embedded.create("prompts-tools", ModelSpec(model=base_gguf, jinja=tools.text)).name)
    proof = prove_prompts(tools, endpoint.render, adds_bos=False, render_tools=endpoint.render)
    assert proof.holds, "\n".join(map(str, proof.differences))
