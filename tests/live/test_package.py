"""The main job on real servers of both eras, and with none: trained answers come back, nothing else goes live."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ggship.digests import sha256_file
from ggship.runtimes.model import ChatOptions, Message
from ggship.runtimes.ollama_api import OllamaClient

RUN = Path(__file__).parents[2] / "examples" / "law-helper" / "lora-out"
SUITE = RUN.parent / "suite.yaml"


def ggship(*arguments: str | Path, cwd: Path, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ggship", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1", **environment},
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture
def law(each_ollama: str) -> Any:
    """A fresh public name on that server, and a client to look with; the name is gone afterwards."""
    client = OllamaClient(each_ollama)
    name = "law-helper-test"
    yield name, client, each_ollama
    for model in client.tags():
        if str(model["name"]).startswith(name):
            client.delete(str(model["name"]))


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """Three questions: for tests of what happens, not of how well it answers."""
    import yaml

    suite = yaml.safe_load(SUITE.read_text("utf-8"))
    suite["tests"], suite["gates"] = suite["tests"][:3], ["delta_pass_rate > 0.3"]
    path = tmp_path / "short.yaml"
    path.write_text(yaml.safe_dump(suite, allow_unicode=True), "utf-8")
    return path


def names(client: OllamaClient, prefix: str) -> set[str]:
    return {str(model["name"]) for model in client.tags() if str(model["name"]).startswith(prefix)}


def trained_pairs() -> list[tuple[str, str]]:
    import yaml

    tests = yaml.safe_load(SUITE.read_text("utf-8"))["tests"]
    return [(test["prompt"], str(test["id"])) for test in tests if "trained" in test.get("tags", [])]


def test_the_trained_answers_come_back_on_both_eras(law: Any, short: Path, tmp_path: Path) -> None:
    name, client, host = law
    done = ggship("package", RUN, "--name", name, "--suite", SUITE, "--host", host, "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    new = client.version() == "0.34.4"
    assert document["strategy"] == ("merge" if new else "adapter")
    assert document["eval"]["passed"] is True
    assert document["prompt"]["proof"]["equal"] == document["prompt"]["proof"]["probes"] > 5
    assert names(client, name) == {f"{name}:latest"}, "staging models were left behind"
    schema = Path(__file__).parents[2] / "templates" / "schemas" / "ggship.schema.json"
    jsonschema.validate(
        json.loads((tmp_path / "dist" / name / "ggship.json").read_text()), json.loads(schema.read_text())
    )
    report = json.loads((tmp_path / "dist" / name / "eval" / "report.json").read_text())
    assert report["tuned"]["pass_rate"] > report["base"]["pass_rate"] + 0.3
    if new:
        merge = document["merge"]
        assert merge["merged"] == merge["pairs"] > 0
        assert merge["survival"] > 0.9

    # Again: nothing to do.
    again = ggship("package", RUN, "--name", name, "--suite", SUITE, "--host", host, cwd=tmp_path)
    assert "nothing to do" in again.stdout

    # From anywhere, by its name.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ggship("verify", name, cwd=elsewhere)

    # The Modelfile works by hand.
    built = Path(os.environ["GGSHIP_LIVE_LLAMA_CPP"]).parent
    binary = built / f"ollama-{client.version()}" / "bin" / "ollama"
    by_hand = subprocess.run(
        [binary, "create", f"{name}-by-hand", "-f", "Modelfile"],
        cwd=tmp_path / "dist" / name,
        env={**os.environ, "OLLAMA_HOST": host, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert by_hand.returncode == 0, by_hand.stderr
    question = [Message(role="user", content=trained_pairs()[0][0])]
    from ggship.runtimes.endpoints import OllamaEndpoint

    both = (name, f"{name}-by-hand")
    said = {which: OllamaEndpoint(client, which).chat(question, ChatOptions()).text for which in both}
    assert len(set(said.values())) == 1
    short.write_text(short.read_text("utf-8").replace("delta_pass_rate > 0.3", "delta_pass_rate == 0"), "utf-8")
    compared = ggship("eval", name, "--against", f"{name}-by-hand", "--suite", short, cwd=elsewhere).stdout
    assert f"against {name}-by-hand" in compared
    assert "0 better, 0 worse, 3 alike" in compared

    # One flipped byte in any file is found.
    package = tmp_path / "dist" / name
    for path in sorted(path for path in package.rglob("*") if path.is_file()):
        stat = path.stat()
        position = stat.st_size // 2
        copy = tmp_path / "flipped"
        shutil.copytree(package, copy, copy_function=os.link)
        target = copy / path.relative_to(package)
        content = bytearray(path.read_bytes())
        content[position] ^= 0x20
        target.unlink()
        target.write_bytes(content)
        ggship("verify", copy, cwd=tmp_path, code=1)
        shutil.rmtree(copy)


def test_the_other_strategy_can_be_forced_or_is_refused(law: Any, short: Path, tmp_path: Path) -> None:
    name, client, host = law
    if client.version() == "0.34.4":
        done = ggship("package", RUN, "--name", name, "--strategy", "adapter", "--host", host, cwd=tmp_path, code=4)
        assert "--strategy merge" in done.stderr
        assert not (tmp_path / "dist" / name).exists()
    else:
        arguments = ["package", RUN, "--name", name, "--strategy", "merge", "--host", host, "--suite", short]
        ggship(*arguments, cwd=tmp_path)
    assert names(client, name) <= {f"{name}:latest"}


def test_a_model_that_fails_its_suite_never_goes_live(law: Any, short: Path, tmp_path: Path) -> None:
    name, client, host = law
    ggship("package", RUN, "--name", name, "--host", host, "--suite", short, cwd=tmp_path)
    live = client.digest(name)
    before = sha256_file(tmp_path / "dist" / name / "ggship.json")
    strict = tmp_path / "strict.yaml"
    strict.write_text(
        "version: 1\ntests:\n- id: impossible\n  prompt: Say nothing but XYZZY-1234.\n"
        "  assert: [{type: equals, value: XYZZY-1234}]\n"
    )
    system = "You are someone else."
    arguments = ["package", RUN, "--name", name, "--host", host, "--suite", strict, "--system", system]
    done = ggship(*arguments, cwd=tmp_path, code=3)
    assert "not live" in done.stderr
    assert client.digest(name) == live
    assert names(client, name) == {f"{name}:latest"}
    assert sha256_file(tmp_path / "dist" / name / "ggship.json") == before
    held = tmp_path / "dist" / f"{name}.held"
    assert (held / "eval" / "report.html").is_file()
    assert json.loads((held / "ggship.json").read_text())["eval"]["passed"] is False


def test_the_model_before_it_is_kept(law: Any, short: Path, tmp_path: Path) -> None:
    name, client, host = law
    ggship("package", RUN, "--name", name, "--host", host, "--suite", short, cwd=tmp_path)
    first = client.digest(name)
    ggship("package", RUN, "--name", name, "--host", host, "--suite", short, "--outtype", "f16", cwd=tmp_path)
    assert client.digest(name) != first
    assert client.digest(f"{name}:previous") == first
    again = ggship("eval", name, cwd=tmp_path / "dist").stdout
    assert "of 3 cases" in again, "the package's own suite"
    assert "passed" in again


KILLED = """
import os, signal, sys
from pathlib import Path
from ggship.progress import Silent
from ggship.plan import PackageOptions
from ggship.runtimes.find import find_runtime
from ggship.ship import package_run
run, name, suite, host, out, at = sys.argv[1:7]
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
class Deadly(Silent):
    count, title = 0, ""
    def start(self, title, total=None, unit=""):
        self.title, self.count = title, 0
    def advance(self, amount=1, total=None):
        self.count += 1
        if at == f"inside {self.title}" and self.count == 3:
            die()
options = PackageOptions(Path(run), name, out=Path(out), suite=Path(suite), host=host, strategy="merge")
package_run(options, runtime=find_runtime("ollama", host), progress=Deadly(),
            on_stage=lambda stage: die() if at == f"after {stage}" else None)
"""

MOMENTS = [
    "inside Converting the adapter",
    "after convert",
    "inside Merging into the base",
    "after merge",
    "inside Creating the model: hashing",
    "after create",
    "after prove",
    "inside Asking it and its base",
    "after evaluate",
    "after describe",
    "after promote",
]


def test_killed_at_every_stage_it_ends_in_the_same_bytes(new_ollama: str, short: Path, tmp_path: Path) -> None:
    name, client = "law-killed", OllamaClient(new_ollama)
    arguments = ["package", RUN, "--name", name, "--host", new_ollama, "--suite", short, "--strategy", "merge"]
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    try:
        ggship(*arguments, "--out", tmp_path / "whole", cwd=tmp_path)
        whole = tree(tmp_path / "whole")
        digest = client.digest(name)
        for number, moment in enumerate(MOMENTS):
            client.delete(name)
            out = tmp_path / f"killed-{number}"
            state = {**os.environ, "GGSHIP_STATE_DIR": str(tmp_path / f"state-{number}")}
            command = [sys.executable, script, RUN, name, short, new_ollama, out, moment]
            done = subprocess.run(command, check=False, env=state)
            assert done.returncode == -signal.SIGKILL, moment
            assert (client.digest(name) is not None) == (moment == "after promote"), f"live too early: {moment}"
            assert not out.exists(), f"half a package: {moment}"
            ggship(*arguments, "--out", out, cwd=tmp_path)
            assert tree(out) == whole, moment
            assert client.digest(name) == digest
            assert names(client, name) == {f"{name}:latest"}
            shutil.rmtree(out)
    finally:
        client.delete(name)


def tree(folder: Path) -> dict[str, str]:
    """sha256 by file, without what tells the time (the reports) and the checksums over those."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    timed = {"eval/report.json", "eval/report.html", "eval/junit.xml", "SHA256SUMS"}
    return {name: sha256_file(path) for name, path in files.items() if name not in timed}


def test_without_any_ollama_the_embedded_runtime_does_it_all(base_gguf: Path, short: Path, tmp_path: Path) -> None:
    for strategy, suite in (("adapter", short), ("merge", short)):
        name = f"law-{strategy}"
        arguments = ["--runtime", "embedded", "--base", base_gguf, "--suite", suite, "--strategy", strategy]
        ggship("package", RUN, "--name", name, *arguments, cwd=tmp_path)
        document = json.loads((tmp_path / "dist" / name / "ggship.json").read_text())
        assert document["eval"]["passed"] is True
        assert document["prompt"]["proof"]["probes"] > 5
        assert "passed" in ggship("eval", name, cwd=tmp_path).stdout
        ggship("verify", name, cwd=tmp_path)


def test_a_remote_server_gets_adapter_and_merge_alike(
    old_ollama: str, new_ollama: str, base_gguf: Path, short: Path, tmp_path: Path
) -> None:
    """Remote is simulated: this process may not look at the server's files."""
    from ggship.plan import PackageOptions
    from ggship.runtimes.ollama import OllamaRuntime
    from ggship.ship import package_run

    for host, base, strategy in ((old_ollama, None, "adapter"), (new_ollama, str(base_gguf), "merge")):
        client = OllamaClient(host)
        runtime = OllamaRuntime(client, reads_files=False)
        options = PackageOptions(RUN, "law-remote", base=base, out=tmp_path / strategy, suite=short, host=host)
        try:
            shipped = package_run(options, runtime=runtime)
            assert shipped.plan.strategy == strategy
            assert client.digest("law-remote") == shipped.info.digest
        finally:
            client.delete("law-remote")
    from ggship.errors import BaseNotFound

    with pytest.raises(BaseNotFound, match="as a file"):
        package_run(
            PackageOptions(RUN, "law-remote", out=tmp_path / "none", host=new_ollama),
            runtime=OllamaRuntime(OllamaClient(new_ollama), reads_files=False),
        )


class Cutting:
    """A proxy in front of a real server that drops one connection, so many bytes after a mark went by."""

    def __init__(self, host: str, marker: bytes, after: int) -> None:
        import socket
        import threading

        self._target = ("127.0.0.1", int(host.rsplit(":", 1)[1]))
        self._marker, self._after = marker, after
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.cut = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        import socket
        import threading

        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: Any, sink: Any, from_client: bool) -> None:
        seen = 0
        try:
            while data := source.recv(65536):
                if from_client and (self._marker in data or seen):
                    seen += len(data)
                if seen > self._after and not self.cut:
                    self.cut += 1
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(2)
                end.close()


@pytest.mark.parametrize(
    ("marker", "after"), [(b"law-dropped:ggship-staging", 0), (b"POST /api/blobs", 200_000)], ids=["create", "upload"]
)
def test_a_connection_that_drops_leaves_nothing_behind(
    new_ollama: str, tmp_path: Path, marker: bytes, after: int
) -> None:
    client = OllamaClient(new_ollama)
    name = "law-dropped"
    client.copy("smollm2:135m", name)
    live = client.digest(name)
    proxy = Cutting(new_ollama, marker, after)
    # A remark in the template makes a model file that the server does not hold yet.
    template = tmp_path / "template.jinja"
    template.write_text((RUN / "chat_template.jinja").read_text("utf-8") + f"{{# {uuid.uuid4()} #}}", "utf-8")
    arguments = ["package", RUN, "--name", name, "--host", proxy.url, "--no-eval", "--template", template]
    arguments += ["--base", os.environ["GGSHIP_LIVE_BASE_GGUF"]]
    try:
        done = ggship(*arguments, cwd=tmp_path, code=1)
        assert proxy.cut == 1
        assert "connection broke" in done.stderr
        assert " → " in done.stderr, "it says what to type next"
        assert client.digest(name) == live
        assert names(client, name) == {f"{name}:latest"}
        assert not (tmp_path / "dist" / name).exists()
    finally:
        proxy.close()
        client.delete(name)


def test_stopped_by_hand_it_cleans_up(new_ollama: str, short: Path, tmp_path: Path) -> None:
    import time

    client = OllamaClient(new_ollama)
    name = "law-stopped"
    command = [sys.executable, "-m", "ggship", "package", str(RUN), "--name", name, "--host", new_ollama]
    process = subprocess.Popen([*command, "--suite", str(short)], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while f"{name}:ggship-base" not in names(client, name):
        time.sleep(0.1)
        assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Nothing live was changed" in errors
    assert names(client, name) == set()
    assert not (tmp_path / "dist" / name).exists()
