from __future__ import annotations

import json

import pytest

from ggship.errors import ServerError, UsageError
from ggship.runtimes.endpoints import OllamaEndpoint, OpenAIEndpoint, api_key, parse_endpoint
from ggship.runtimes.model import ChatOptions
from ggship.secrets import Secret
from ggship.transport import Reply, Transport

ASK = [{"role": "user", "content": "?"}]
KEY = "sk-very-secret-1234"


def openai(handler, key=None):
    key = Secret(key) if key else None
    return OpenAIEndpoint("http://host/v1", "law", key=key, transport=Transport("http://host/v1", handler=handler))


def answered(message, finish="stop"):
    body = {
        "choices": [{"message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    return Reply(200, json.dumps(body).encode())


def test_the_openai_dialect_is_asked_and_understood():
    sent = []

    def handler(request):
        sent.append((request.path, request.json()))
        return answered({"content": "Paris.", "reasoning_content": "hm"}, "length")

    answer = openai(handler).chat(ASK, ChatOptions(num_predict=9, stop=("##",)))
    assert (answer.text, answer.thinking, answer.finish, answer.prompt_tokens, answer.tokens) == (
        "Paris.",
        "hm",
        "length",
        3,
        2,
    )
    path, body = sent[0]
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "law",
        "messages": ASK,
        "temperature": 0.0,
        "seed": 42,
        "max_tokens": 9,
        "stop": ["##"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_server_that_wants_the_newer_name_of_the_limit_gets_it():
    def handler(request):
        if "max_tokens" in request.json():
            return Reply(400, b'{"error":{"message":"use \'max_completion_tokens\' instead"}}')
        assert request.json()["max_completion_tokens"] == 256
        return answered({"content": [{"type": "text", "text": "Pa"}, {"type": "text", "text": "ris."}]})

    assert openai(handler).chat(ASK, ChatOptions()).text == "Paris."


def test_the_key_is_never_shown_even_where_the_server_repeats_it():
    def handler(request):
        return Reply(401, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode())

    endpoint = openai(handler, KEY)
    with pytest.raises(ServerError) as caught:
        endpoint.chat(ASK, ChatOptions())
    error = caught.value
    assert KEY not in error.message + error.where + error.hint
    assert "***" in error.where
    assert "GGSHIP_API_KEY" in error.hint


@pytest.mark.parametrize("body", ["{}", '{"choices":[]}', '{"choices":[{"message":null}]}', "[1]"])
def test_an_answer_of_another_shape_is_an_error(body):
    with pytest.raises(ServerError, match="did not answer as the OpenAI dialect"):
        openai(lambda _: Reply(200, body.encode())).chat(ASK, ChatOptions())


def test_addresses_tell_which_dialect_is_spoken():
    there = parse_endpoint("http://host:8000/v1#org/law:v1", env={})
    assert isinstance(there, OpenAIEndpoint)
    assert (there.url, there.model, there.label) == (
        "http://host:8000/v1",
        "org/law:v1",
        "http://host:8000/v1#org/law:v1",
    )
    native = parse_endpoint("http://127.0.0.1:11434#law", env={})
    assert isinstance(native, OllamaEndpoint)
    assert native.label == "http://127.0.0.1:11434#law"


@pytest.mark.parametrize(
    "text",
    [
        *("law", "host/v1#law", "http://host/v1", "http://host/v1#", "ftp://host#law"),
        *("http://[x#m", "http://[::1/v1#m", "http://host:99999/v1#m", "http://host:x/v1#m", "http://host:0/v1#m"),
    ],
)
def test_what_is_no_address_with_a_model_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_endpoint(text, env={})
    assert "#law-helper" in caught.value.hint


def test_a_key_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(UsageError) as caught:
        parse_endpoint(f"http://me:{KEY}@host/v1#law", env={})
    assert KEY not in str(caught.value) + caught.value.hint


def test_a_key_before_something_that_is_no_address_is_not_repeated_either():
    with pytest.raises(UsageError) as caught:
        parse_endpoint(f"http://me:{KEY}@host/v1", env={})
    assert KEY not in str(caught.value) + caught.value.hint


HERE = "http://127.0.0.1:8000/v1"


def sent(endpoint):
    return endpoint._http._client.headers.get("authorization")


def test_where_the_key_comes_from(tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    assert api_key(HERE, {"GGSHIP_API_KEY": "a", "OPENAI_API_KEY": "b"}).reveal() == "a"
    assert api_key(HERE, {"GGSHIP_API_KEY_FILE": str(file)}).reveal() == KEY
    assert api_key(HERE, {}) is None
    file.chmod(0o644)
    with pytest.raises(UsageError, match="others on this machine"):
        api_key(HERE, {"GGSHIP_API_KEY_FILE": str(file)})


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("https://api.openai.com/v1", True),
        ("https://api.openai.com:443/v1", True),
        ("http://api.openai.com/v1", False),
        ("https://api.openai.com.evil.example/v1", False),
        ("https://other.example/v1", False),
        (HERE, False),
    ],
)
def test_openais_key_goes_to_openai_and_nowhere_else(url, given):
    assert (api_key(url, {"OPENAI_API_KEY": KEY}) is not None) is given


def test_a_key_does_not_cross_a_public_network_in_the_clear():
    env = {"GGSHIP_API_KEY": KEY}
    with pytest.raises(UsageError, match="plain http") as caught:
        parse_endpoint("http://8.8.8.8/v1#law", env=env)
    assert KEY not in str(caught.value) + caught.value.hint
    for url in ("https://8.8.8.8/v1", "http://192.168.1.7/v1", "http://localhost:8000/v1", HERE):
        assert sent(parse_endpoint(f"{url}#law", env=env)) == f"Bearer {KEY}"
    assert sent(parse_endpoint("http://8.8.8.8/v1#law", env={})) is None


def test_of_two_hosts_only_the_first_has_the_key():
    env = {"GGSHIP_API_KEY": KEY}
    first = parse_endpoint(f"{HERE}#law", env=env)
    assert sent(parse_endpoint("http://127.0.0.1:8000/v1#base", env=env, beside=first)) == f"Bearer {KEY}"
    for other in ("http://127.0.0.1:9000/v1", "https://127.0.0.1:8000/v1", "https://other.example/v1"):
        assert sent(parse_endpoint(f"{other}#base", env=env, beside=first)) is None


@pytest.mark.parametrize("bad", [f"{KEY}\nX-Other: 1", f"{KEY}\x01", f"{KEY}ключ", f"{KEY}\u00a0x"])
def test_a_key_that_no_header_can_carry_is_refused_before_it_is_in_one(bad):
    with pytest.raises(UsageError, match="holds no key") as caught:
        parse_endpoint(f"{HERE}#law", env={"GGSHIP_API_KEY": bad})
    error = caught.value
    assert KEY not in "".join(map(str, (error, error.hint, error.__cause__, error.__context__)))
