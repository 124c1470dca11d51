from __future__ import annotations

import hashlib
import json

import pytest

from ggship.errors import AdaptersRefused, BadFile, Refused, ServerError, UsageError
from ggship.runtimes.model import ChatOptions, ModelSpec
from ggship.runtimes.ollama import OllamaRuntime
from ggship.runtimes.ollama_api import OllamaClient


@pytest.fixture
def runtime(fake):
    fake.hold("base")
    return OllamaRuntime(OllamaClient(fake.url))


@pytest.fixture
def new_runtime(new_fake):
    new_fake.hold("base")
    return OllamaRuntime(OllamaClient(new_fake.url))


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_adapter_on_a_model_of_the_server(fake, runtime, adapter_gguf):
    base = fake.models["base:latest"].base
    spec = ModelSpec(
        from_name="base",
        adapter=adapter_gguf,
        template="{{ .Prompt }}!",
        system="Be brief.",
        parameters={"stop": ["<e>"]},
    )
    created = runtime.create("law:staging", spec)
    assert created.layers == (base, sha(adapter_gguf))
    assert created.digest == runtime.digest("law:staging")
    assert created.digest
    held = fake.models["law:staging"]
    assert (held.template, held.system, held.parameters) == ("{{ .Prompt }}!", "Be brief.", {"stop": ["<e>"]})
    assert runtime.describe() == f"Ollama 0.32.14 at {fake.url}"


def test_a_missing_base_is_refused_and_never_pulled(fake, runtime, adapter_gguf):
    with pytest.raises(ServerError) as caught:
        runtime.create("law", ModelSpec(from_name="llama9", adapter=adapter_gguf))
    assert caught.value.hint == "ollama pull llama9"
    assert fake.pulled == []
    assert "/api/create" not in fake.paths("POST")
    assert fake.blobs.keys() == {fake.models["base:latest"].base}


def test_a_base_deleted_a_moment_before_create_is_told_the_same(fake, runtime):
    fake.fail("/api/create", lines=['{"error":"pull model manifest: file does not exist"}'])
    with pytest.raises(ServerError) as caught:
        runtime.create("law", ModelSpec(from_name="base"))
    assert caught.value.hint == "ollama pull base"


def test_a_new_server_refuses_an_adapter_before_anything_is_uploaded(new_fake, new_runtime, adapter_gguf):
    assert new_runtime.accepts_adapters() is False
    with pytest.raises(AdaptersRefused) as caught:
        new_runtime.create("law", ModelSpec(from_name="base", adapter=adapter_gguf))
    assert "0.34.4" in caught.value.where
    assert not [path for path in new_fake.paths("POST") if "blobs" in path]


def test_the_servers_refusal_counts_more_than_its_version(fake_server):
    source_build = fake_server("0.34.4")
    runtime = OllamaRuntime(OllamaClient(source_build.url))
    source_build.fail("/api/version", status=200, body='{"version":"0.32.0"}')
    assert runtime.version == "0.32.0"
    assert runtime.accepts_adapters() is False


def test_where_neither_answer_nor_version_tells_merging_is_the_safe_way(fake, runtime):
    fake.version = "0.0.0"
    fake.fail("/api/create", status=500, body='{"error":"something new"}')
    assert runtime.accepts_adapters() is False


def test_a_merged_file_is_kept_byte_for_byte_on_a_new_server(new_fake, new_runtime, model_gguf):
    created = new_runtime.create("law", ModelSpec(model=model_gguf))
    assert created.layers == (sha(model_gguf),)


def test_an_old_server_may_rewrite_the_file(runtime, model_gguf):
    assert runtime.create("law", ModelSpec(model=model_gguf)).layers != (sha(model_gguf),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: setattr(model, "adapter", "0" * 64), "adapter layer"),
        (lambda model: setattr(model, "adapter", None), "adapter layer is not there"),
        (lambda model: setattr(model, "template", "other"), "template"),
        (lambda model: setattr(model, "system", "other"), "system prompt"),
        (lambda model: model.parameters.update(stop=["<e>", "<x>"]), "parameter stop"),
        (lambda model: setattr(model, "base", "1" * 64), "model layer"),
    ],
)
def test_a_model_that_is_not_what_was_sent_is_an_error(fake, runtime, adapter_gguf, change, said):
    fake.tamper = change
    spec = ModelSpec(
        from_name="base",
        adapter=adapter_gguf,
        template="{{ .Prompt }}!",
        system="Be brief.",
        parameters={"stop": ["<e>"]},
    )
    with pytest.raises(ServerError) as caught:
        runtime.create("law", spec)
    assert said in caught.value.where


def test_what_a_base_hands_on_is_noted(fake, runtime, adapter_gguf):
    fake.models["base:latest"].parameters = {"temperature": 0.9, "stop": ["<e>"]}
    fake.models["base:latest"].system = "You are a pirate."
    created = runtime.create("law", ModelSpec(from_name="base", adapter=adapter_gguf, parameters={"stop": ["<e>"]}))
    assert created.notes == ("temperature = 0.9 comes with base", "a system prompt comes with base")


def test_two_adapters_at_once_are_refused(fake, runtime, adapter_gguf):
    fake.models["base:latest"].adapter = "0" * 64
    with pytest.raises(Refused, match="carries an adapter already"):
        runtime.create("law", ModelSpec(from_name="base", adapter=adapter_gguf))


def test_a_file_of_the_wrong_kind_never_reaches_the_server(fake, runtime, adapter_gguf, model_gguf, tmp_path):
    with pytest.raises(BadFile, match="is a model, not an adapter"):
        runtime.create("law", ModelSpec(from_name="base", adapter=model_gguf))
    with pytest.raises(BadFile, match="adapter, not a model"):
        runtime.create("law", ModelSpec(model=adapter_gguf))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.raises(BadFile):
        runtime.create("law", ModelSpec(model=broken))
    with pytest.raises(UsageError):
        runtime.create("law helper", ModelSpec(model=model_gguf))
    with pytest.raises(UsageError, match="exactly one"):
        runtime.create("law", ModelSpec(model=model_gguf, from_name="base"))
    assert fake.paths("POST") == []


def test_a_create_that_breaks_off_says_how_far_it_came(fake, runtime, model_gguf):
    fake.fail("/api/create", lines=['{"status":"parsing GGUF"}'], whole=False)
    with pytest.raises(ServerError) as caught:
        runtime.create("law", ModelSpec(model=model_gguf))
    assert "parsing GGUF" in caught.value.where
    assert "run the same command again" in caught.value.hint
    assert "law:latest" not in fake.models


def test_a_blob_that_this_process_cannot_read_makes_the_server_a_remote_one(fake, runtime):
    # the fake names /models/blobs/..., which is not on this machine
    assert runtime.blob_path("base") is None
    assert runtime.is_local() is False


def test_a_model_without_a_blob_tells_nothing_of_where_the_server_is(fake, tmp_path):
    """Cloud models come first in the list of a server that has some, and have no file anywhere."""
    blob = tmp_path / f"sha256-{'0' * 64}"
    blob.write_bytes(b"GGUF")
    runtime = OllamaRuntime(OllamaClient(fake.url))
    for name in ("a-cloud", "b-cloud", "c-cloud", "d-broken"):
        fake.hold(name)
    cloud = json.dumps({"modelfile": "FROM big:cloud\n", "remote_host": "https://ollama.com:443"})
    for _ in range(3):
        fake.fail("/api/show", status=200, body=cloud)
    fake.fail("/api/show", status=500, body="{}")
    fake.hold("mine")
    fake.fail("/api/show", status=200, body=json.dumps({"modelfile": f"FROM {blob}\n"}))
    assert runtime.is_local() is True
    del fake.models["mine:latest"]
    fake.fail("/api/show", status=200, body=cloud, times=-1)
    assert runtime.is_local() is True  # on loopback, and nothing says otherwise


def test_a_servers_files_are_not_looked_at_where_that_is_forbidden(fake, tmp_path):
    digest = fake.hold("base")
    runtime = OllamaRuntime(OllamaClient(fake.url), reads_files=False)
    assert runtime.blob_path("base") is None
    assert runtime.is_local() is False
    assert digest


def test_copy_replaces_at_once_and_delete_forgives(runtime, model_gguf):
    created = runtime.create("law:staging", ModelSpec(model=model_gguf))
    runtime.copy("law:staging", "law")
    assert runtime.digest("law") == created.digest
    runtime.delete("law:staging")
    runtime.delete("law:staging")
    assert runtime.digest("law:staging") is None
    assert runtime.digest("law") == created.digest


def test_chat_asks_reproducibly_and_tells_times_in_seconds(fake, runtime):
    answer = runtime.endpoint("base").chat([{"role": "user", "content": "?"}], ChatOptions(num_ctx=512))
    assert answer.text == "Paris."
    assert (answer.finish, answer.prompt_tokens, answer.tokens, answer.load_seconds) == ("stop", 7, 1, 2.0)
    assert answer.first_token_seconds is not None
    sent = fake.requests[-1][2]
    assert sent["options"] == {
        "temperature": 0.0,
        "seed": 42,
        "num_predict": 256,
        "repeat_penalty": 1.0,
        "top_k": 1,
        "num_ctx": 512,
    }
    assert "think" not in sent


def test_a_model_that_can_think_is_told_not_to_and_its_prompt_is_rendered_so(fake, runtime):
    fake.capabilities = ["completion", "thinking"]
    runtime.endpoint("base").chat([{"role": "user", "content": "?"}], ChatOptions())
    assert fake.requests[-1][2]["think"] is False
    runtime.endpoint("base").render([{"role": "user", "content": "?"}])
    rendered = fake.requests[-1][2]
    assert rendered["_debug_render_only"] is True
    assert rendered["think"] is False


def test_a_model_that_cannot_think_is_told_nothing_of_it(runtime, fake):
    runtime.endpoint("base").render([{"role": "user", "content": "?"}])
    assert "think" not in fake.requests[-1][2]


def test_thoughts_are_no_loop_but_a_loop_of_thoughts_is(fake, runtime):
    def pieces(key):
        return [json.dumps({"message": {"content": "", key: f"{n % 2 or n}"}, "done": False}) for n in range(40)]

    fake.fail("/api/chat", lines=pieces("thinking"))
    with pytest.raises(ServerError, match="broke off"):
        runtime.endpoint("base").chat([{"role": "user", "content": "?"}], ChatOptions())
    for key in ("thinking", "content"):
        stuck = json.dumps({"message": {"content": "", key: " lo"}, "done": False})
        fake.fail("/api/chat", lines=[stuck] * 40)
        answer = runtime.endpoint("base").chat([{"role": "user", "content": "?"}], ChatOptions())
        assert answer.finish == "repeating"


def test_more_stops_do_not_take_the_models_own_away(fake, runtime):
    fake.models["base:latest"].parameters = {"stop": ["<e>"]}
    runtime.endpoint("base").chat([{"role": "user", "content": "?"}], ChatOptions(stop=("###",)))
    assert fake.requests[-1][2]["options"]["stop"] == ["<e>", "###"]
