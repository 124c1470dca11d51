from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.errors import UsageError
from ggship.runtimes.cliffs import accepts_adapters, keeps_files, parse_version, refuses_adapters
from ggship.runtimes.ollama_api import check_model_name, full_name, parse_ollama_host, suggest_name


@pytest.mark.parametrize(
    ("text", "url"),
    [  # the cases of Ollama's own TestHost and TestConnectableHost (envconfig/config_test.go), and a few more
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":1234", "http://127.0.0.1:1234"),
        ("1.2.3.4:1234", "http://1.2.3.4:1234"),
        ("example.com", "http://example.com:11434"),
        ("example.com:1234", "http://example.com:1234"),
        (":0", "http://127.0.0.1:0"),
        (":66000", "http://127.0.0.1:11434"),
        (":-1", "http://127.0.0.1:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1337", "http://127.0.0.1:1337"),
        ("  1.2.3.4  ", "http://1.2.3.4:11434"),
        ('"1.2.3.4"', "http://1.2.3.4:11434"),
        ("'1.2.3.4'", "http://1.2.3.4:11434"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("https://1.2.3.4", "https://1.2.3.4:443"),
        ("https://1.2.3.4:4321", "https://1.2.3.4:4321"),
        ("https://example.com/ollama", "https://example.com:443/ollama"),
        ("example.com/ollama/", "http://example.com:11434/ollama"),
        ("http://h:x", "http://h:80"),
        ("ollama.com", "https://ollama.com:443"),
    ],
)
def test_ollama_host_means_to_us_what_it_means_to_ollama(text, url):
    assert parse_ollama_host(text) == url


@pytest.mark.parametrize(
    "name",
    ["law-helper", "law-helper:v1", "ns/law:q4_K_M", "localhost:5000/ns/law:v1", "http://reg.example/ns/law", "Law.2"],
)
def test_names_that_ollama_takes_are_taken(name):
    check_model_name(name)


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("law helper", "law-helper"),
        ("law:cloud", "law"),
        ("law:Local", "law"),
        ("law:7b-cloud", "law:7b"),
        ("-law", "law"),
        ("my.ns/law", "my-ns/law"),
        ("Law Helper!:v 1", "law-helper:v-1"),
        ("", "my-model"),
        ("法律", "my-model"),
        ("x" * 81, "x" * 80),
        ("law@sha256:abc", "law-sha256:abc"),
        ("law\n", "law"),
    ],
)
def test_a_name_that_ollama_refuses_or_would_lose_is_refused_with_one_that_works(name, proposed):
    with pytest.raises(UsageError) as caught:
        check_model_name(name)
    assert caught.value.hint == f"for example: {proposed}"
    check_model_name(proposed)


@given(st.text(max_size=100))
def test_every_suggestion_is_a_name_that_ollama_takes(text):
    check_model_name(suggest_name(text))


def test_a_name_without_a_tag_is_latest():
    assert full_name("law") == "law:latest"
    assert full_name("localhost:5000/ns/law") == "localhost:5000/ns/law:latest"
    assert full_name("law:v1") == "law:v1"
    assert full_name("registry.ollama.ai/ns/law:v1") == "ns/law:v1"
    assert full_name("hf.co/library/law") == "hf.co/library/law:latest"
    assert full_name("library") == "library:latest"


@pytest.mark.parametrize(
    ("version", "adapters", "kept"),
    [
        ("0.24.0", True, True),
        ("0.32.14", True, False),
        ("0.34.0", True, False),
        ("0.34.1-rc2", False, True),
        ("0.34.4", False, True),
        ("0.40.2", False, True),
        ("0.0.0", None, None),
        ("dev", None, None),
        ("", None, None),
    ],
)
def test_what_a_version_tells_of_adapters_and_files(version, adapters, kept):
    assert accepts_adapters(version) is adapters
    assert keeps_files(version) is kept


def test_the_servers_own_refusal_is_recognised():
    assert refuses_adapters("LoRA adapters are no longer supported: a.gguf is a LoRA adapter")
    assert not refuses_adapters("invalid model name")
    assert parse_version("v0.34.1+build") == (0, 34, 1)
