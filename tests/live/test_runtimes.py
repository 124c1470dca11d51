"""The runtimes on real servers of both eras, and on real llama.cpp."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ggship.errors import AdaptersRefused, ServerError
from ggship.evals.instruments import Instruments
from ggship.runtimes.embedded import EmbeddedRuntime
from ggship.runtimes.endpoints import OllamaEndpoint, OpenAIEndpoint, parse_endpoint
from ggship.runtimes.model import ChatOptions, Message, ModelSpec
from ggship.runtimes.ollama import OllamaRuntime
from ggship.runtimes.ollama_api import OllamaClient

BASE = "smollm2:135m"
ASK = [{"role": "user", "content": "What is the capital of France?"}]
SHORT = ChatOptions(num_predict=24, num_ctx=1024)
TALK = [*ASK, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": '法律 und "Recht"?'}]
TEMPLATE = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
STOPS = {"stop": ["<|im_start|>", "<|im_end|>"]}


def make_adapter(path: Path, *, width: int = 576, seed: int = 0) -> Path:
    """A random LoRA of rank 4 on every attn_q of SmolLM2-135M; strong enough to change what it says."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    random = np.random.default_rng(seed)
    for block in range(30):
        name = f"blk.{block}.attn_q.weight"
        writer.add_tensor(f"{name}.lora_a", (random.standard_normal((4, width)) * 0.3).astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", (random.standard_normal((576, 4)) * 0.3).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapter") / "adapter.gguf")


@pytest.fixture(scope="module")
def misfit(tmp_path_factory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("misfit") / "adapter.gguf", width=640)


@pytest.fixture
def name(request) -> str:
    """A model name of this test and process alone: others may use the same servers."""
    return f"ggship-test-{os.getpid()}-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"


@pytest.fixture
def runtime(each_ollama, name) -> Iterator[OllamaRuntime]:
    runtime = OllamaRuntime(OllamaClient(each_ollama))
    yield runtime
    for tag in ("latest", "other"):
        runtime.delete(f"{name}:{tag}")
    runtime.close()


@pytest.fixture
def old(old_ollama, name) -> Iterator[OllamaRuntime]:
    runtime = OllamaRuntime(OllamaClient(old_ollama))
    yield runtime
    runtime.delete(name)
    runtime.close()


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def held(client: OllamaClient) -> dict[str, str]:
    """Every model of the server by its digest."""
    return {str(model["name"]): str(model["digest"]) for model in client.tags()}


def test_what_is_known_of_the_base(runtime):
    assert runtime.is_local()
    path = runtime.blob_path(BASE)
    assert path is not None
    assert path.read_bytes()[:4] == b"GGUF"
    shapes = {tensor["name"]: tensor["shape"] for tensor in runtime.client.show(BASE, verbose=True)["tensors"]}
    assert len(shapes) == 272
    assert shapes["blk.0.attn_k.weight"] == [576, 192]
    assert runtime.digest("ggship-nobody") is None


def test_whether_adapters_are_taken_is_the_servers_own_answer(old_ollama, new_ollama):
    old, new = OllamaClient(old_ollama), OllamaClient(new_ollama)
    before = [held(old), held(new)]
    assert old.takes_adapters() is True
    assert new.takes_adapters() is False
    assert [held(old), held(new)] == before, "asking changes nothing"


def test_an_adapter_works_on_the_old_server_and_changes_the_words(old, name, adapter):
    spec = ModelSpec(from_name=BASE, adapter=adapter, template=TEMPLATE, parameters={**STOPS, "num_ctx": 1024})
    created = old.create(name, spec)
    assert created.layers[1] == sha(adapter)
    tuned = old.endpoint(name).chat(ASK, SHORT)
    base = old.endpoint(BASE).chat(ASK, SHORT)
    assert tuned.text
    assert tuned.text != base.text
    assert old.create(name, spec).digest == created.digest  # the same again is the same model


def test_an_adapter_that_does_not_fit_is_explained_when_it_is_first_used(old, name, misfit):
    old.create(name, ModelSpec(from_name=BASE, adapter=misfit))
    with pytest.raises(ServerError) as caught:
        old.client.render(name, ASK)
    assert caught.value.status == 500
    assert "another base" in caught.value.hint


def test_the_new_server_refuses_an_adapter_with_our_error(new_ollama, name, adapter):
    runtime = OllamaRuntime(OllamaClient(new_ollama))
    assert not runtime.accepts_adapters()
    with pytest.raises(AdaptersRefused) as caught:
        runtime.create(name, ModelSpec(from_name=BASE, adapter=adapter))
    assert "--strategy merge" in caught.value.hint
    digest = runtime.client.upload(adapter)
    for request in ({"from": BASE, "adapters": {"a.gguf": digest}}, {"files": {"a.gguf": digest}}):
        with pytest.raises(AdaptersRefused):
            runtime.client.create({"model": name, **request})
    assert runtime.digest(name) is None


def test_a_missing_base_is_refused_without_any_network(runtime, name):
    with pytest.raises(ServerError) as caught:
        runtime.create(name, ModelSpec(from_name="ggship-nobody:7b"))
    assert caught.value.hint == "ollama pull ggship-nobody:7b"


def test_a_model_from_a_file_with_everything_said(runtime, name, base_gguf):
    parameters = {
        "stop": ["<|im_end|>", 'a"b\n\\', "法\u3000\u200d😀"],
        "temperature": 0.1,
        "num_ctx": 1000000,
        "min_p": 1e-7,
        "use_mmap": True,
        "seed": 12345678901,
    }
    seen = []
    system = "  Du bist 法律\u3000助手.\nFROM x"
    spec = ModelSpec(model=base_gguf, template=TEMPLATE, system=system, parameters=parameters, license="Apache-2.0")
    created = runtime.create(name, spec, lambda *event: seen.append(event))
    if runtime.version == "0.34.4":
        assert created.layers == (sha(base_gguf),)
    assert ("uploading", base_gguf.stat().st_size, base_gguf.stat().st_size) in seen
    assert seen[-1][0] == "success"
    assert runtime.digest(name) == created.digest
    expected = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{ASK[0]['content']}<|im_end|>\n"
    assert runtime.endpoint(name).render(ASK) == f"{expected}<|im_start|>assistant\n"


def test_the_rendered_prompt_is_exactly_the_template(runtime, name):
    runtime.create(name, ModelSpec(from_name=BASE, template=TEMPLATE, parameters=STOPS))
    expected = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in TALK) + "<|im_start|>assistant\n"
    assert runtime.endpoint(name).render(TALK) == expected


def test_an_answer_says_why_it_ended_and_comes_again(runtime):
    endpoint = runtime.endpoint(BASE)
    cut = endpoint.chat(ASK, ChatOptions(num_predict=2, num_ctx=1024))
    assert cut.finish == "length"
    assert cut.tokens == 2
    assert cut.prompt_tokens
    stopped = endpoint.chat(ASK, ChatOptions(num_predict=200, num_ctx=1024, stop=(".", ",", "\n")))
    assert stopped.finish == "stop"
    assert stopped.first_token_seconds is not None
    assert stopped.first_token_seconds <= stopped.seconds
    assert endpoint.chat(ASK, SHORT).text == endpoint.chat(ASK, SHORT).text


def test_the_same_model_through_the_openai_dialect(runtime, each_ollama):
    answer = parse_endpoint(f"{each_ollama}/v1#{BASE}", env={}).chat(ASK, ChatOptions(num_predict=3))
    assert answer.text
    assert answer.finish == "length"
    assert answer.tokens == 3
    with pytest.raises(ServerError) as caught:
        parse_endpoint(f"{each_ollama}/v1#ggship-nobody", env={}).chat(ASK, SHORT)
    assert caught.value.status == 404


def test_copy_replaces_a_name_and_delete_takes_it_away(runtime, name):
    first = runtime.create(name, ModelSpec(from_name=BASE, system="one"))
    second = runtime.create(f"{name}:other", ModelSpec(from_name=BASE, system="two"))
    assert first.digest != second.digest
    runtime.copy(f"{name}:other", name)
    assert runtime.digest(name) == second.digest
    runtime.delete(f"{name}:other")
    runtime.delete(f"{name}:other")
    assert runtime.digest(f"{name}:other") is None
    assert runtime.digest(name) == second.digest


def test_a_request_for_another_host_is_explained(runtime):
    from ggship.transport import Transport

    client = OllamaClient(
        runtime.client.url, transport=Transport(runtime.client.url, headers={"Host": "ollama.example"})
    )
    with pytest.raises(ServerError) as caught:
        client.version()
    assert caught.value.status == 403
    assert "127.0.0.1" in caught.value.hint


def test_a_push_reaches_a_real_registry(old, name, registry):
    target = f"{registry}/ggship/{name}:v1"
    old.create(name, ModelSpec(from_name=BASE))
    old.copy(name, target)
    try:
        seen = []
        old.client.push(target, insecure=True, on_progress=lambda *event: seen.append(event))
        assert seen[-1][0] == "success"
        assert any(total for _, _, total in seen)
        with pytest.raises(ServerError):
            old.client.push(f"127.0.0.1:9/ggship/{name}:v1", insecure=True)
    finally:
        old.delete(target)


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedRuntime]:
    runtime = EmbeddedRuntime()
    yield runtime
    runtime.close()


def test_embedded_base_and_tuned_model(embedded, base_gguf, adapter):
    embedded.create("base", ModelSpec(model=base_gguf, parameters={"num_ctx": 1024}))
    created = embedded.create("law:staging", ModelSpec(from_name="base", adapter=adapter))
    assert created.layers == (sha(base_gguf), sha(adapter))
    base, tuned = embedded.endpoint("base"), embedded.endpoint("law:staging")
    first = base.chat(ASK, SHORT)
    assert first.text
    assert first.tokens == 24 or first.finish == "stop"
    assert tuned.chat(ASK, SHORT).text != first.text
    assert base.chat(ASK, SHORT).text == first.text
    assert base.render(ASK) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        f"<|im_start|>user\n{ASK[0]['content']}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_embedded_says_the_same_as_ollama_with_the_same_prompt(embedded, base_gguf, new_ollama):
    """Two builds of llama.cpp round differently, so only the beginning is held to be equal."""
    ollama = OllamaRuntime(OllamaClient(new_ollama)).endpoint(BASE)
    jinja = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    # Jinja drops one newline at the very end of a template.
    jinja += "{{ '<|im_start|>assistant\n' }}"
    embedded.create("plain", ModelSpec(model=base_gguf, jinja=jinja, parameters={"num_ctx": 1024, **STOPS}))
    ours = embedded.endpoint("plain")
    assert ours.render(TALK) == ollama.render(TALK)
    few = ChatOptions(num_predict=4, num_ctx=1024)
    assert ours.chat(ASK, few).text == ollama.chat(ASK, few).text


def test_embedded_says_why_an_adapter_does_not_load(embedded, base_gguf, misfit):
    embedded.create("misfit", ModelSpec(model=base_gguf, adapter=misfit))
    with pytest.raises(ServerError, match="does not load") as caught:
        embedded.endpoint("misfit").chat(ASK, SHORT)
    assert "incorrect shape" in caught.value.where
    assert "--base" in caught.value.hint


def test_embedded_says_that_a_conversation_is_too_long(embedded, base_gguf):
    embedded.create("base", ModelSpec(model=base_gguf, parameters={"num_ctx": 1024}))
    with pytest.raises(ServerError) as caught:
        embedded.endpoint("base").chat([{"role": "user", "content": "law " * 3000}], ChatOptions())
    assert "context size" in caught.value.where
    assert "num_ctx" in caught.value.hint


def test_a_model_that_repeats_one_token_for_ever_is_an_answer_and_no_lost_connection(each_ollama: str) -> None:
    """Both eras drop such a stream without a word, the new one later; what the model did is known all the same."""
    from ggship.runtimes.endpoints import OllamaEndpoint

    client, name = OllamaClient(each_ollama), f"law-loop-{os.getpid()}"
    # Without a template this base goes on with ones after a row of zeros.
    template = "{{ range .Messages }}{{ .Content }}{{ end }}"
    client.create({"model": name, "from": BASE, "template": template})
    try:
        asked = [Message(role="user", content="0" * 100)]
        answer = OllamaEndpoint(client, name).chat(asked, ChatOptions(num_predict=200))
        assert answer.finish == "repeating"
        assert answer.text.endswith("1" * 30)
        cut = OllamaEndpoint(client, name).chat(asked, ChatOptions(num_predict=20))
        assert cut.finish == "length", "the limit came first"
    finally:
        client.delete(name)


def test_embedded_refuses_tools_that_the_template_would_drop(embedded, base_gguf):
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    embedded.create("toolless", ModelSpec(model=base_gguf, parameters={"num_ctx": 1024}))
    with pytest.raises(ServerError, match="has no place for tools"):
        embedded.endpoint("toolless").chat(ASK, ChatOptions(num_predict=8, tools=(tool,)))
    lists = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}"
    embedded.create("tooled", ModelSpec(model=base_gguf, jinja=lists, parameters={"num_ctx": 1024}))
    assert embedded.endpoint("tooled").chat(ASK, ChatOptions(num_predict=8, tools=(tool,))).finish


def test_the_openai_dialects_embeddings_are_those_of_a_real_server(base_gguf):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.embedding, params.n_ctx, params.cpuparams.n_threads = str(base_gguf), True, 512, 1
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    endpoint = parse_endpoint(f"{server.listening_address}/v1#any")
    assert isinstance(endpoint, OpenAIEndpoint)
    with Instruments(embedder=endpoint) as instruments:
        near = instruments.likeness("Notice is given in writing.", "Written notice is required.")
        assert near > instruments.likeness("Notice is given in writing.", "Bananas are yellow.")


def test_embeddings_that_ollama_cannot_make_are_explained(each_ollama):
    endpoint = parse_endpoint(f"{each_ollama}#{BASE}")
    assert isinstance(endpoint, OllamaEndpoint)
    with pytest.raises(ServerError, match="could not make embeddings") as caught:
        endpoint.embed(["a"])
    assert "embedding model" in caught.value.hint
