from __future__ import annotations

import hashlib
import tracemalloc

import pytest

from ggship.errors import AdaptersRefused, ServerError, ServerUnreachable
from ggship.runtimes.ollama_api import OllamaClient
from ggship.runtimes.shown import parameters, same_parameter


@pytest.fixture
def client(fake, clock):
    return OllamaClient(fake.url, clock=clock)


def test_a_server_that_is_down_is_named():
    with pytest.raises(ServerUnreachable, match=r"nothing answers at http://127\.0\.0\.1:9"):
        OllamaClient("127.0.0.1:9").version()


def test_something_else_at_that_port_is_not_taken_for_ollama(fake, client):
    fake.fail("/api/version", status=404, body="not here")
    with pytest.raises(ServerError) as caught:
        client.version()
    assert "is this an Ollama?" in caught.value.hint
    fake.fail("/api/version", status=200, body="<html>")
    with pytest.raises(ServerError, match="not JSON"):
        client.version()


def test_an_empty_403_is_explained_as_the_host_check(fake, client):
    fake.fail("/api/version", status=403)
    with pytest.raises(ServerError) as caught:
        client.version()
    assert "Host" in caught.value.where
    assert "127.0.0.1" in caught.value.hint


def test_upload_sends_a_file_once_with_its_length_and_asks_first(fake, client, model_gguf):
    seen = []
    digest = client.upload(model_gguf, lambda *event: seen.append(event))
    assert digest == "sha256:" + hashlib.sha256(model_gguf.read_bytes()).hexdigest()
    assert fake.blobs == {digest[7:]: model_gguf.stat().st_size}
    assert seen[0][0] == "hashing"
    assert seen[-1] == ("uploading", model_gguf.stat().st_size, model_gguf.stat().st_size)
    client.upload(model_gguf)
    assert fake.paths("HEAD") == [f"/api/blobs/{digest}"] * 2
    assert fake.paths("POST") == [f"/api/blobs/{digest}"]


def test_upload_never_holds_the_whole_file(fake, client, tmp_path):
    path = tmp_path / "big.gguf"
    path.write_bytes(bytes(24 << 20))
    fake.fail("/api/blobs", status=404)
    fake.fail("/api/blobs", read=1 << 16)
    tracemalloc.start()
    with pytest.raises(ServerError):
        client.upload(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_connection_that_drops_mid_upload_is_an_error(fake, client, model_gguf):
    fake.fail("/api/blobs", status=404)
    fake.fail("/api/blobs", read=1 << 16)
    with pytest.raises(ServerError, match="connection broke"):
        client.upload(model_gguf)
    assert fake.blobs == {}


def test_a_file_that_changes_under_the_upload_is_an_error(fake, client, model_gguf):
    def swap(status, completed, total):
        if status == "hashing" and completed == total:
            data = bytearray(model_gguf.read_bytes())
            data[-1] ^= 1
            model_gguf.write_bytes(data)

    with pytest.raises(ServerError) as caught:
        client.upload(model_gguf, swap)
    assert "digest mismatch" in caught.value.where
    assert "changed while it was sent" in caught.value.hint


def test_an_error_inside_a_200_is_an_error_even_where_success_follows(fake, client):
    fake.fail(
        "/api/create",
        lines=['{"status":"parsing GGUF"}', '{"error":"template error: boo"}', '{"status":"success"}'],
    )
    with pytest.raises(ServerError) as caught:
        client.create({"model": "m", "from": "b"})
    assert "template error: boo" in caught.value.where
    assert "after: parsing GGUF" in caught.value.where


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_that_ends_early_is_no_success(fake, client, whole):
    # "success" of an implicit pull comes in the middle
    fake.fail("/api/create", lines=['{"status":"success"}', '{"status":"writing manifest"}'], whole=whole)
    with pytest.raises(ServerError) as caught:
        client.create({"model": "m", "from": "b"})
    assert "writing manifest" in caught.value.where
    assert caught.value.hint


def test_a_line_that_is_no_json_is_shown(fake, client):
    fake.fail("/api/create", lines=["<html>502 Bad Gateway</html>"])
    with pytest.raises(ServerError) as caught:
        client.create({"model": "m", "from": "b"})
    assert "502 Bad Gateway" in caught.value.where


def test_a_refused_adapter_is_its_own_error_wherever_the_refusal_stands(fake, client):
    text = "LoRA adapters are no longer supported"
    fake.fail("/api/create", status=400, body=f'{{"error":"{text}"}}')
    fake.fail("/api/create", lines=['{"status":"x"}', f'{{"error":"{text}: a.gguf is a LoRA adapter"}}'])
    for _ in range(2):
        with pytest.raises(AdaptersRefused) as caught:
            client.create({"model": "m", "from": "b"})
        assert "--strategy merge" in caught.value.hint


def test_a_busy_server_is_asked_again_for_a_while(fake, client, clock):
    fake.hold("base")
    fake.fail("/api/show", status=503, body='{"error":"server busy"}', times=2)
    assert client.show("base")
    assert clock.slept == [0.5, 1.0]
    fake.fail("/api/show", status=503, body='{"error":"server busy, please try again."}', times=-1)
    with pytest.raises(ServerError) as caught:
        client.show("base")
    assert caught.value.status == 503
    assert "busy" in caught.value.hint


def test_create_is_never_sent_twice(fake, client):
    fake.fail("/api/create", status=503, body='{"error":"server busy"}', times=-1)
    with pytest.raises(ServerError):
        client.create({"model": "m", "from": "b"})
    assert fake.paths("POST") == ["/api/create"]


def test_a_model_that_does_not_load_is_explained(fake, client):
    fake.hold("base:latest")
    body = '{"error":"llama-server process has terminated: exit status 1"}'
    fake.fail("/api/chat", status=500, body=body)
    with pytest.raises(ServerError) as caught:
        client.render("base", [{"role": "user", "content": "hi"}])
    assert "another base" in caught.value.hint
    assert caught.value.status == 500


def test_render_gives_the_prompt_or_none_where_the_server_is_too_old(fake, client):
    fake.hold("base:latest")
    assert client.render("base", [{"role": "user", "content": "hi"}]) == "<user>hi"
    fake.fail("/api/chat", status=200, body='{"message":{"content":"H"},"done":true}')
    assert client.render("base", [{"role": "user", "content": "hi"}]) is None
    sent = fake.requests[-1][2]
    assert sent["options"] == {"num_predict": 1}


def test_an_answer_that_breaks_off_is_an_error_and_not_half_an_answer(fake, client):
    fake.hold("base:latest")
    fake.fail("/api/chat", lines=['{"message":{"content":"Par"},"done":false}'])
    with pytest.raises(ServerError, match="broke off"):
        list(client.chat_stream({"model": "base", "messages": []}))


@pytest.mark.parametrize("version", ["0.32.14", "0.34.4"])
def test_whether_adapters_are_taken_is_asked_without_making_anything(fake_server, version):
    fake = fake_server(version)
    fake.hold("base:latest")
    client = OllamaClient(fake.url)
    assert client.takes_adapters() is (version == "0.32.14")
    assert set(fake.models) == {"base:latest"}


@pytest.mark.parametrize(
    "name",
    ["law", "law:latest", "library/law", "registry.ollama.ai/library/law", "https://registry.ollama.ai/library/LAW"],
)
def test_a_model_is_found_by_every_name_that_ollama_knows_it_by(fake, client, name):
    fake.hold("law")
    fake.hold("ns/law", b"another")
    assert client.digest(name) == client.digest("law") != client.digest("ns/law")
    assert client.digest("other.host/library/law") is None


def test_delete_of_what_is_not_there_is_no_error(fake, client):
    fake.hold("base:latest")
    assert client.delete("base") is True
    assert client.delete("base") is False
    with pytest.raises(ServerError) as caught:
        client.copy("base", "other")
    assert caught.value.status == 404


def test_parameters_are_read_from_gos_notation():
    text = "\n".join(
        [
            r'stop                           "a\"b\n\\"',
            r'stop                           "\x01\u3000\U0001f600"',
            "temperature                    0.1",
            "num_ctx                        1e+06",
            "use_mmap                       true",
        ]
    )
    read = parameters({"parameters": text})
    assert read == {"stop": ['a"b\n\\', "\x01\u3000😀"], "temperature": 0.1, "num_ctx": 1e6, "use_mmap": True}
    assert same_parameter(1000000, read["num_ctx"])
    assert same_parameter("x", ["x"])
    assert not same_parameter(True, 1)
    assert not same_parameter(["a"], ["a", "b"])
    assert parameters({}) == {}
