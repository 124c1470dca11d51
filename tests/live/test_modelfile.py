"""On real servers: what we render is taken by the real `ollama create`, and read back from the server the same."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.modelfile import Modelfile, not_carried, parse, render, to_request
from ggship.modelfile.lint import lint
from ggship.runtimes.live_modelfile import live_modelfile
from ggship.runtimes.ollama_api import OllamaClient

BASE = "smollm2:135m"
NAME = "modelfile-test:latest"
PIECES = [
    '"',
    '""',
    '"""',
    "\n",
    "\t",
    " ",
    "#",
    "你好",
    "法律",
    "。",
    "'",
    "a",
    "\\n",
    ": ",
    "FROM x\n",
    "SYSTEM ",
    "é",
    "{",
]
TEXT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
FLOATS = st.floats(0, 2, width=32).map(lambda number: float(f"{number:.6g}"))
MODELFILES = st.builds(
    Modelfile,
    from_=st.just(BASE),
    template=st.none() | TEXT.map(lambda text: text.replace("{", "(") + "{{ .System }}{{ .Prompt }}"),
    system=st.none() | TEXT,
    parameters=st.lists(
        st.tuples(st.just("stop"), TEXT)
        | st.tuples(st.sampled_from(["num_ctx", "seed", "main_gpu"]), st.integers(-(2**53), 2**53))
        | st.tuples(st.sampled_from(["temperature", "min_p", "repeat_penalty"]), FLOATS)
        | st.tuples(st.just("use_mmap"), st.booleans()),
        max_size=4,
    ).map(tuple),
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXT), max_size=2).map(tuple),
    renderer=st.none() | st.just("qwen3-coder"),
    parser=st.none() | st.just("qwen3-coder"),
    requires=st.none() | st.sampled_from(["0.14.0", "0.30.1-rc2"]),
    licenses=st.lists(TEXT, max_size=2).map(tuple),
)

Create = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def client(each_ollama: str) -> Iterator[OllamaClient]:
    client = OllamaClient(each_ollama)
    yield client
    client.delete(NAME)
    client.close()


@pytest.fixture(scope="module")
def create(client: OllamaClient, llama_cpp_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Create:
    """The real `ollama create` of the server's own version; the model is a new one each time."""
    folder = tmp_path_factory.mktemp("modelfile")
    program = llama_cpp_dir.parent / f"ollama-{client.version()}" / "bin" / "ollama"

    def create(text: str) -> subprocess.CompletedProcess[str]:
        client.delete(NAME)
        (folder / "Modelfile").write_bytes(text.encode())
        command = [str(program), "create", NAME, "-f", str(folder / "Modelfile")]
        environment = {**os.environ, "OLLAMA_HOST": client.url, "HOME": str(folder)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return create


def served(modelfile: Modelfile, base: Modelfile) -> Modelfile:
    """What the server should hold: ours, else what comes with the base; of a parameter but stop the last counts."""
    ours = {name: value for name, value in modelfile.parameters if name != "stop"}
    stops = modelfile.stops or base.stops
    pairs = [*ours.items(), *(("stop", stop) for stop in stops)]
    return replace(
        modelfile,
        from_=base.from_,
        template=modelfile.template or base.template,
        parameters=tuple(sorted(pairs, key=lambda pair: pair[0])),
    )


def one_license(modelfile: Modelfile) -> Modelfile:
    """The server joins licenses with line feeds, and does not always tell where one ends."""
    return replace(modelfile, licenses=("\n".join(modelfile.licenses),))


def test_every_rendered_file_is_taken_by_the_real_program_and_read_back_equal(client, create):
    base = live_modelfile(client.show(BASE))

    @settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(MODELFILES.filter(lambda modelfile: not not_carried(modelfile)))
    def holds(modelfile: Modelfile) -> None:
        assert not [found for found in lint(render(modelfile)) if found.level == "error"]
        done = create(render(modelfile))
        assert done.returncode == 0, (render(modelfile), done.stderr[-500:])
        assert one_license(live_modelfile(client.show(NAME))) == one_license(served(modelfile, base))

    holds()


def test_what_a_modelfile_cannot_carry_goes_through_the_api_whole(client, create):
    modelfile = Modelfile(
        BASE,
        system='　　你是"法律顾问"。\nSay """\n👩\u200d⚖️\u00a0"no"',
        template='\u3000{{ .System }}"""\n{{ .Prompt }}',
        parameters=(("stop", "\u3000"), ("stop", '"')),
        messages=(("user", '"hi"'), ("assistant", "\u3000")),
    )
    assert len(not_carried(modelfile)) == 6
    client.delete(NAME)
    client.create({"model": NAME, "from": BASE, **to_request(modelfile)})
    read = live_modelfile(client.show(NAME))
    assert replace(read, from_=BASE) == modelfile


@pytest.mark.parametrize(
    "text",
    [
        "FROM smollm2:135m\nSYSTEM\n",
        "FROM smollm2:135m\nPARAMTER stop a\n",
        'FROM smollm2:135m\nSYSTEM """a\n',
        "FROM smollm2:135m\nMESSAGE tool a\n",
        "FROM smollm2:135m\nPARAMETER num_cxt 1\n",
        "FROM smollm2:135m\nPARAMETER num_ctx 1.5\n",
        "FROM smollm2:135m\nPARAMETER temperature 1e39\n",
        "FROM smollm2:135m\nREQUIRES soon\n",
        "FROM smollm2:135m\nTEMPLATE {{ if .System }}a\n",
        "FROM smollm2:135m\nTEMPLATE {{ .System\n",
        'FROM smollm2:135m\nSYSTEM """a"""\nb"""\n',
        "SYSTEM a\n",
    ],
)
def test_what_lint_calls_an_error_the_real_program_refuses(create, text):
    assert [found.level for found in lint(text)] == ["error"]
    assert create(text).returncode != 0


def test_show_prints_a_file_that_makes_the_same_model_again(client, create, capsysbinary, monkeypatch):
    modelfile = Modelfile(
        BASE,
        system="Say yes\nor no.",
        template="{{ .System }}\n{{ .Prompt }}",
        parameters=(("num_ctx", 512), ("stop", '"'), ("stop", "用户："), ("temperature", 0.2)),
        licenses=("MIT", "two\nlines"),
    )
    assert create(render(modelfile)).returncode == 0
    monkeypatch.setenv("OLLAMA_HOST", client.url)
    assert run(cli, ["modelfile", "show", NAME]) == 0
    shown = capsysbinary.readouterr().out.decode()
    assert replace(parse(shown), from_=BASE) == modelfile
    before = live_modelfile(client.show(NAME))
    assert create(shown.replace(before.from_, BASE)).returncode == 0
    assert live_modelfile(client.show(NAME)) == before
