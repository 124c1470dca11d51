from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ggship.cores import cores
from ggship.errors import MissingExtra, ServerError, UsageError
from ggship.runtimes.embedded import EmbeddedRuntime, threads
from ggship.runtimes.model import ChatOptions, ModelSpec

ASK = [{"role": "user", "content": "?"}]
CHILD = Path(__file__).parent / "fake_child.py"


@pytest.fixture
def start():
    runtimes = []

    def make(fault=""):
        runtimes.append(EmbeddedRuntime(command=[sys.executable, str(CHILD), fault]))
        return runtimes[-1]

    yield make
    for runtime in runtimes:
        runtime.close()


@pytest.fixture
def runtime(start):
    return start()


def said(endpoint, options=None):
    return json.loads(endpoint.chat(ASK, options or ChatOptions()).text)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_without_the_extra_the_error_says_the_install_line(xllamacpp):
    if xllamacpp:
        assert EmbeddedRuntime().describe().startswith("llama.cpp embedded (xllamacpp ")
        return
    with pytest.raises(MissingExtra) as caught:
        EmbeddedRuntime()
    assert caught.value.hint == "pip install 'ggship[embedded]'"


def test_a_model_and_its_tuned_sister(runtime, model_gguf, adapter_gguf):
    base = runtime.create("base", ModelSpec(model=model_gguf))
    tuned = runtime.create("law:staging", ModelSpec(from_name="base", adapter=adapter_gguf, system="Be brief."))
    assert base.digest != tuned.digest
    assert len(tuned.layers) == 2
    assert runtime.accepts_adapters() is True
    endpoint = runtime.endpoint("law:staging")
    answer = said(endpoint, ChatOptions(stop=("##",)))
    assert answer["model"] == str(model_gguf)
    assert answer["adapter"] == str(adapter_gguf)
    assert answer["body"]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert answer["body"]["stop"] == ["##"]
    assert answer["body"]["temperature"] == 0.0
    assert answer["body"]["top_k"] == 1
    assert endpoint.render(ASK) == "<system>Be brief.<user>?"
    assert answer["body"]["chat_template_kwargs"] == {"enable_thinking": False}
    assert endpoint.digest() == tuned.digest == runtime.digest("law:staging")
    assert said(runtime.endpoint("base"))["adapter"] is None


def test_a_conversations_own_system_prompt_wins(runtime, model_gguf):
    runtime.create("m", ModelSpec(model=model_gguf, system="Be brief.", parameters={"stop": "<e>"}))
    assert runtime.endpoint("m").render([{"role": "system", "content": "S"}, *ASK]) == "<system>S<user>?"
    assert said(runtime.endpoint("m"))["body"]["stop"] == ["<e>"]


def test_answers_have_counts_and_times(runtime, model_gguf):
    runtime.create("m", ModelSpec(model=model_gguf))
    answer = runtime.endpoint("m").chat(ASK, ChatOptions())
    assert (answer.finish, answer.prompt_tokens, answer.tokens) == ("stop", 3, 2)
    assert answer.first_token_seconds is not None
    assert answer.load_seconds is not None


def test_the_digest_follows_content_and_not_the_path(runtime, model_gguf, tmp_path):
    first = runtime.create("a", ModelSpec(model=model_gguf)).digest
    twin = tmp_path / "twin.gguf"
    twin.write_bytes(model_gguf.read_bytes())
    assert runtime.create("b", ModelSpec(model=twin)).digest == first
    assert runtime.create("c", ModelSpec(model=model_gguf, system="S")).digest != first
    data = bytearray(twin.read_bytes())
    data[-1] ^= 1
    twin.write_bytes(data)
    assert runtime.create("b", ModelSpec(model=twin)).digest != first


def test_children_are_shared_reused_and_never_too_many(runtime, model_gguf, adapter_gguf, tmp_path):
    runtime.create("a", ModelSpec(model=model_gguf))
    runtime.create("b", ModelSpec(model=model_gguf, adapter=adapter_gguf))
    runtime.create("c", ModelSpec(model=model_gguf, jinja="{{ messages }}"))
    runtime.copy("a", "a2")
    a, b = said(runtime.endpoint("a"))["pid"], said(runtime.endpoint("b"))["pid"]
    assert said(runtime.endpoint("a2"))["pid"] == a
    said(runtime.endpoint("c"))  # b was used longest ago
    assert gone(b)
    assert said(runtime.endpoint("a"))["pid"] == a
    assert said(runtime.endpoint("a"), ChatOptions(num_ctx=9999))["pid"] != a


def test_close_ends_every_child(runtime, model_gguf):
    runtime.create("m", ModelSpec(model=model_gguf))
    pid = said(runtime.endpoint("m"))["pid"]
    runtime.close()
    assert gone(pid)


def test_a_child_dies_with_its_parent(model_gguf, tmp_path):
    code = f"""
import json, os, sys
from pathlib import Path
from ggship.runtimes.embedded import EmbeddedRuntime
from ggship.runtimes.model import ChatOptions, ModelSpec
runtime = EmbeddedRuntime(command=[sys.executable, {str(CHILD)!r}])
runtime.create("m", ModelSpec(model=Path({str(model_gguf)!r})))
print(json.loads(runtime.endpoint("m").chat([], ChatOptions()).text)["pid"], flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    for _ in range(1000):
        # Orphans of a container without an init stay as zombies: dead is what counts.
        stat = Path(f"/proc/{pid}/stat")
        if gone(pid) or (stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] == "Z"):
            return
        time.sleep(0.01)
    raise AssertionError(f"{pid} lives on")


def test_a_model_that_does_not_load_says_llama_cpps_reason(start, model_gguf):
    runtime = start("no-load")
    runtime.create("m", ModelSpec(model=model_gguf))
    with pytest.raises(ServerError, match="does not load") as caught:
        runtime.endpoint("m").render(ASK)
    assert "incorrect shape" in caught.value.where
    assert "--base" in caught.value.hint


@pytest.mark.parametrize(
    ("fault", "message"), [("die-loading", "before the model was loaded"), ("die-asked", "crashed")]
)
def test_a_crash_of_native_code_is_an_error_with_its_last_words(start, model_gguf, fault, message):
    runtime = start(fault)
    runtime.create("m", ModelSpec(model=model_gguf))
    with pytest.raises(ServerError, match=message) as caught:
        runtime.endpoint("m").chat(ASK, ChatOptions())
    assert "signal 6" in caught.value.message
    assert "GGML_ASSERT" in caught.value.where


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("error-streamed", "slot died"),
        ("too-long", "context size"),
        ("cut", ""),
        ("no-json", "{oops"),
        ("no-object", "7"),
    ],
)
def test_an_answer_that_fails_is_an_error(start, model_gguf, fault, said):
    runtime = start(fault)
    runtime.create("m", ModelSpec(model=model_gguf))
    with pytest.raises(ServerError) as caught:
        runtime.endpoint("m").chat(ASK, ChatOptions())
    assert said in caught.value.where


def test_a_prompt_is_rendered_as_it_is_asked(start, model_gguf):
    runtime = start("thinks")
    runtime.create("m", ModelSpec(model=model_gguf))
    assert runtime.endpoint("m").render(ASK) == "<user>?</think>"


def test_an_answer_without_a_prompt_is_an_error(start, model_gguf):
    runtime = start("no-prompt")
    runtime.create("m", ModelSpec(model=model_gguf))
    with pytest.raises(ServerError, match="holds no prompt"):
        runtime.endpoint("m").render(ASK)


# What the real child imports in place of llama.cpp: loading takes as many seconds as it says, and holds the lock of the
# interpreter, as llama.cpp does; a thread of its own stays.
STAND_IN = """
import ctypes, threading, time
class CommonParams:
    def __init__(self): self.model = self.cpuparams = self.cpuparams_batch = type("Any", (), {})()
class Server:
    listening_address = "http://127.0.0.1:1"
    def __init__(self, params):
        threading.Thread(target=time.sleep, args=(60,)).start()
        open("loading", "w").close()
        ctypes.PyDLL(None).sleep(int(params.model.path))
"""


@pytest.fixture
def real_child(tmp_path):
    (tmp_path / "xllamacpp.py").write_text(STAND_IN)

    def begin(seconds, hears=True):
        child = subprocess.Popen(
            [sys.executable, "-m", "ggship.runtimes.embedded_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        spec = {"model": str(seconds), "num_ctx": 1, "key": "k"}
        if not hears:
            child.stdout.close()
        child.stdin.write(json.dumps(spec).encode() + b"\n")
        child.stdin.flush()
        while not (tmp_path / "loading").exists():
            assert child.poll() is None
            time.sleep(0.01)
        return child

    return begin


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it ends when the model is loaded")
def test_a_child_that_still_loads_ends_with_its_parent_too(real_child):
    child = real_child(60)
    child.stdin.close()
    child.wait(timeout=10)
    child.stdout.close()


def test_a_child_whose_parent_does_not_hear_it_ends(real_child):
    child = real_child(0, hears=False)
    assert child.wait(timeout=10) == 1
    child.stdin.close()


def test_names_and_files_are_checked_at_create(runtime, model_gguf, tmp_path):
    with pytest.raises(FileNotFoundError):
        runtime.create("m", ModelSpec(model=tmp_path / "none.gguf"))
    with pytest.raises(UsageError):
        runtime.create("a b", ModelSpec(model=model_gguf))
    with pytest.raises(ServerError) as caught:
        runtime.create("m", ModelSpec(from_name="llama9"))
    assert caught.value.status == 404
    assert runtime.digest("m") is None
    runtime.delete("m")


def test_threads_leave_a_core_free_unless_told():
    assert threads({"GGSHIP_THREADS": "3"}) == 3
    assert threads({}) == max(1, min(16, cores() - 1))
    with pytest.raises(UsageError):
        threads({"GGSHIP_THREADS": "many"})
