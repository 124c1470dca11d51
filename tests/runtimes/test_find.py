from __future__ import annotations

import pytest

from ggship.errors import MissingExtra, NoRuntime, ServerError, ServerUnreachable, UsageError
from ggship.runtimes.find import find_runtime
from ggship.runtimes.ollama_api import OllamaClient

NOBODY = "127.0.0.1:9"


def at(url):
    """Stands for the default address, which may be in use on the machine that tests run on."""
    return lambda host: OllamaClient(url if host == "127.0.0.1" else host)


def test_the_host_that_is_named_is_taken_before_the_environment(fake, new_fake):
    runtime = find_runtime(host=new_fake.url, env={"OLLAMA_HOST": fake.url})
    assert runtime.describe() == f"Ollama 0.34.4 at {new_fake.url}"
    assert find_runtime(env={"OLLAMA_HOST": fake.url}).describe() == f"Ollama 0.32.14 at {fake.url}"
    assert find_runtime(env={}, client=at(fake.url)).describe() == f"Ollama 0.32.14 at {fake.url}"


def test_a_server_named_on_the_command_line_is_an_error_where_it_is_down():
    with pytest.raises(ServerUnreachable) as caught:
        find_runtime(host=NOBODY, env={"OLLAMA_HOST": "also.nothing"})
    assert caught.value.where == f"that address comes from --host={NOBODY}"
    assert "--runtime embedded" in caught.value.hint


def test_the_server_of_the_environment_is_done_without_where_that_is_left_to_us(xllamacpp):
    if xllamacpp:
        runtime = find_runtime(env={"OLLAMA_HOST": NOBODY})
        assert runtime.kind == "embedded"
        assert runtime.note == f"no Ollama answers at http://{NOBODY}, which OLLAMA_HOST names"
        runtime.close()
    else:
        with pytest.raises(ServerUnreachable) as caught:
            find_runtime(env={"OLLAMA_HOST": NOBODY})
        assert caught.value.where == f"that address comes from OLLAMA_HOST={NOBODY}"
        assert "pip install 'ggship[embedded]'" in caught.value.hint


@pytest.mark.parametrize("env", [{"OLLAMA_HOST": NOBODY}, {}])
def test_a_command_that_needs_ollama_is_not_told_of_anything_else(env):
    with pytest.raises(ServerError) as caught:
        find_runtime("ollama", env=env, client=at(NOBODY))
    assert isinstance(caught.value, ServerUnreachable if env else NoRuntime)
    assert "ollama serve" in caught.value.hint
    assert "embedded" not in caught.value.hint


def test_a_named_server_that_answers_wrongly_keeps_its_own_error(fake):
    fake.fail("/api/version", status=404, body="nope")
    with pytest.raises(ServerError) as caught:
        find_runtime(host=fake.url, env={})
    assert not isinstance(caught.value, (ServerUnreachable, NoRuntime))


def test_without_any_ollama(xllamacpp):
    if xllamacpp:
        runtime = find_runtime(env={}, client=at(NOBODY))
        assert runtime.kind == "embedded"
        runtime.close()
    else:
        with pytest.raises(NoRuntime) as caught:
            find_runtime(env={}, client=at(NOBODY))
        assert "ollama serve" in caught.value.hint
        assert "ggship[embedded]" in caught.value.hint
        with pytest.raises(MissingExtra):
            find_runtime("embedded", env={})


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError):
        find_runtime("docker", env={})
