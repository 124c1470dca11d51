"""`ggship releases`, `promote` and `rollback` as they are typed, on a small Ollama over real sockets."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run as run_command
from ggship.releases.releasing import journal_of, release
from ggship.runtimes.find import find_runtime

from .conftest import PROOF


@pytest.fixture
def server() -> Iterator[Any]:
    path = Path(__file__).parents[1] / "runtimes" / "fake_ollama.py"
    spec = importlib.util.spec_from_file_location("releases_fake_ollama", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    made = module.FakeOllama("0.34.4")
    runtime = find_runtime("ollama", made.url)
    for letter in (b"a", b"b", b"c"):
        made.hold("law:ggship-staging", letter)
        release(runtime, "law:ggship-staging", "law", made.models["law:ggship-staging"].digest(), PROOF)
        del made.models["law:ggship-staging"]
    yield made
    made.close()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ggship(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_command(cli, arguments)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return run


def live(server: Any) -> str:
    models = server.models
    return next(f"v{n}" for n in (1, 2, 3) if models[f"law:v{n}"].digest() == models["law:latest"].digest())


def test_the_history_in_80_columns_and_as_one_document(server: Any, ggship: Run) -> None:
    code, out, _ = ggship("releases", "law")  # its only server is remembered
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    lines = [line.split() for line in out.splitlines() if line.startswith("v")]
    assert [line[:2] for line in lines] == [["v3", "live"], ["v2", "before"], ["v1", lines[2][1]]]
    assert "96.4 % of 28 cases" in out
    assert "1 of 1 gates held" in out
    assert "→ ggship rollback law" in out
    document = json.loads(ggship("releases", "law", "--json")[1])
    assert (document["live"]["version"], document["before"]["version"]) == (3, 2)
    assert [one["state"] for one in document["versions"]] == ["held", "before", "live"]
    assert document["versions"][0]["proof"]["gates"] == list(PROOF.gates)
    assert document["drift"] == []


def test_back_and_forth(server: Any, ggship: Run) -> None:
    code, out, _ = ggship("rollback", "law")
    assert (code, live(server)) == (0, "v2")
    assert "law is v2 now, in place of v3" in out
    assert json.loads(ggship("rollback", "law", "--json")[1])["live"]["version"] == 3
    assert live(server) == "v3"
    assert ggship("rollback", "law", "--to", "v1")[0] == 0
    assert live(server) == "v1"
    assert "nothing to do" in ggship("promote", "law", "--version", "1")[1]
    assert ggship("promote", "law")[0] == 0
    assert live(server) == "v3"


def test_what_cannot_be_taken_back_says_why_and_changes_nothing(server: Any, ggship: Run) -> None:
    del server.models["law:v1"]
    server.hold("law:v2", b"theirs")
    code, _, err = ggship("rollback", "law", "--to", "v1")
    assert (code, "law:v1 is gone from the server" in err) == (4, True)
    code, _, err = ggship("promote", "law", "--version", "v9")
    assert (code, ": v1, v2, v3" in err) == (1, True)
    code, _, err = ggship("rollback", "law", "--to", "second")
    assert (code, "it is written v3" in err) == (2, True)
    code, out, _ = ggship("releases", "law")
    assert code == 0
    assert "law:v2 is another model than was released" in " ".join(out.split())
    assert live_is_third(server)


def live_is_third(server: Any) -> bool:
    return bool(server.models["law:latest"].digest() == server.models["law:v3"].digest())


def test_pruning_says_what_would_go_and_then_takes_it(server: Any, ggship: Run) -> None:
    ggship("rollback", "law")
    ggship("rollback", "law")  # live: v3, before: v2
    code, out, _ = ggship("releases", "law", "--prune", "--keep", "1", "--dry-run")
    assert (code, "would go" in out, "law:v1" in server.models) == (0, True, True)
    document = json.loads(ggship("releases", "law", "--prune", "--keep", "1", "--json")[1])
    assert document["pruned"] == {"dry_run": False, "removed": [1], "left": [[2, "it was live before"]]}
    assert "law:v1" not in server.models
    assert json.loads(ggship("releases", "law", "--prune", "--keep", "1", "--json")[1])["pruned"]["removed"] == []


@pytest.mark.parametrize("command", ["releases", "promote", "rollback"])
def test_a_name_that_means_nothing(server: Any, ggship: Run, command: str) -> None:
    code, _, err = ggship(command, "nobody", "--host", server.url)
    assert code == 1
    assert "nothing was released as nobody" in err
    assert "→ ggship package RUN --name nobody" in err
    code, _, err = ggship(command, "..", "--host", server.url)
    assert code == 2


def test_a_torn_history_is_said(server: Any, ggship: Run) -> None:
    path = journal_of(find_runtime("ollama", server.url), "law").path
    path.write_bytes(path.read_bytes() + b'{"id":"2026')
    assert "1 torn line" in ggship("releases", "law")[1]
