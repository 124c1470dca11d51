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


@pytest.mark.parametrize(("host", "env"), [(NOBODY, {}), (None, {"OLLAMA_HOST": NOBODY})])
def test_a_named_server_that_is_down_is_an_error_and_no_fall_back(host, env):
    with pytest.raises(ServerUnreachable) as caught:
        find_runtime(host=host, env=env)
    assert caught.value.where == f"that address comes from {'--host' if host else 'OLLAMA_HOST'}={NOBODY}"
    assert "--runtime embedded" in caught.value.hint


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


def test_ollama_alone_is_not_replaced_by_the_embedded_runtime():
    with pytest.raises(NoRuntime) as caught:
        find_runtime("ollama", env={}, client=at(NOBODY))
    assert "ollama serve" in caught.value.hint
    assert "ggship[embedded]" in caught.value.hint


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError):
        find_runtime("docker", env={})
