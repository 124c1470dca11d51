from __future__ import annotations

import json

import pytest

from ggship.errors import ServerError, UsageError
from ggship.runtimes.endpoints import OllamaEndpoint, OpenAIEndpoint, api_key, parse_endpoint
from ggship.runtimes.model import ChatOptions
from ggship.transport import Reply, Transport

ASK = [{"role": "user", "content": "?"}]
KEY = "sk-very-secret-1234"


def openai(handler, key=None):
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


@pytest.mark.parametrize("text", ["law", "host/v1#law", "http://host/v1", "http://host/v1#", "ftp://host#law"])
def test_what_is_no_address_with_a_model_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_endpoint(text, env={})
    assert "#law-helper" in caught.value.hint


def test_a_key_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(UsageError) as caught:
        parse_endpoint(f"http://me:{KEY}@host/v1#law", env={})
    assert KEY not in str(caught.value) + caught.value.hint


def test_where_the_key_comes_from(tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    assert api_key({"GGSHIP_API_KEY": "a", "OPENAI_API_KEY": "b"}) == "a"
    assert api_key({"GGSHIP_API_KEY_FILE": str(file), "OPENAI_API_KEY": "b"}) == KEY
    assert api_key({"OPENAI_API_KEY": "b"}) == "b"
    assert api_key({}) is None
