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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ggship.digests import sha256_file
from ggship.runtimes.model import ChatOptions, Message
from ggship.runtimes.ollama_api import OllamaClient
from ggship.transport import Reply, Sent, Transport

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


def write_suite(path: Path, cases: slice, gates: list[str], **more: Any) -> Path:
    """Some of the example's trained questions, under other gates."""
    import yaml

    suite = yaml.safe_load(SUITE.read_text("utf-8"))
    trained = [test for test in suite["tests"] if "trained" in test["tags"]]
    made = {**suite, "tests": trained[cases], "gates": gates, **more}
    path.write_text(yaml.safe_dump(made, allow_unicode=True), "utf-8")
    return path


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """Two questions, answered in full."""
    return write_suite(tmp_path / "short.yaml", slice(2), ["delta_pass_rate > 0.3"])


@pytest.fixture
def brief(tmp_path: Path) -> Path:
    """Two questions and the first words of their answers: for tests of what happens, not of how well it answers."""
    path = tmp_path / "brief.yaml"
    options = {"options": {"temperature": 0, "seed": 42, "num_predict": 8}}
    return write_suite(path, slice(2), ["changed_rate >= 1"], defaults=options, smoke={"stops": 1})


@dataclass(frozen=True)
class Shipped:
    """The example, packaged once on a server and live there; tests that change it come last."""

    name: str
    client: OllamaClient
    folder: Path
    document: dict[str, Any]
    suite: Path

    @property
    def package(self) -> Path:
        return self.folder / "dist" / self.name

    def ggship(self, *arguments: str | Path, cwd: Path | None = None, code: int = 0) -> str:
        """What the command says, on both streams, where it ends with that code."""
        state = str(self.folder / "state")
        done = ggship(*arguments, cwd=cwd or self.folder, code=code, GGSHIP_STATE_DIR=state)
        return done.stdout + done.stderr

    def again(self, *arguments: str | Path, code: int = 0) -> str:
        """Package the run under the same name."""
        return self.ggship("package", RUN, "--name", self.name, "--host", self.client.url, *arguments, code=code)


@pytest.fixture(scope="module")
def shipped(each_ollama: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    """Every second trained question is asked: of both languages, and enough to tell."""
    folder, name, client = tmp_path_factory.mktemp("shipped"), "law-helper-shipped", OllamaClient(each_ollama)
    suite = write_suite(folder / "suite.yaml", slice(None, None, 2), ["pass_rate >= 0.8", "delta_pass_rate > 0.4"])
    arguments = ["package", RUN, "--name", name, "--suite", suite, "--host", each_ollama, "--json"]
    try:
        done = ggship(*arguments, cwd=folder, GGSHIP_STATE_DIR=str(folder / "state"))
        yield Shipped(name, client, folder, json.loads(done.stdout), suite)
    finally:
        for model in names(client, name):
            client.delete(model)


def names(client: OllamaClient, prefix: str) -> set[str]:
    return {str(model["name"]) for model in client.tags() if str(model["name"]).startswith(prefix)}


def test_the_trained_answers_come_back_on_both_eras(shipped: Shipped) -> None:
    new = shipped.client.version() == "0.34.4"
    document = shipped.document
    assert document["strategy"] == ("merge" if new else "adapter")
    assert document["eval"]["passed"] is True
    assert document["prompt"]["proof"]["equal"] == document["prompt"]["proof"]["probes"] > 5
    assert names(shipped.client, shipped.name) == {f"{shipped.name}:latest", f"{shipped.name}:v1"}, (
        "staging models were left behind"
    )
    schema = Path(__file__).parents[2] / "templates" / "schemas" / "ggship.schema.json"
    jsonschema.validate(json.loads((shipped.package / "ggship.json").read_text()), json.loads(schema.read_text()))
    report = json.loads((shipped.package / "eval" / "report.json").read_text())
    assert report["tuned"]["pass_rate"] >= 0.8
    assert report["base"]["pass_rate"] == 0
    if new:
        merge = document["merge"]
        assert merge["merged"] == merge["pairs"] > 0
        assert merge["survival"] > 0.9


def test_the_same_again_is_nothing_to_do(shipped: Shipped) -> None:
    assert "nothing to do" in shipped.again("--suite", shipped.suite)


def test_the_modelfile_works_by_hand_and_makes_the_same_model(shipped: Shipped, short: Path, tmp_path: Path) -> None:
    from ggship.runtimes.endpoints import OllamaEndpoint

    client, name = shipped.client, shipped.name
    built = Path(os.environ["GGSHIP_LIVE_LLAMA_CPP"]).parent
    binary = built / f"ollama-{client.version()}" / "bin" / "ollama"
    by_hand = subprocess.run(
        [binary, "create", f"{name}-by-hand", "-f", "Modelfile"],
        cwd=shipped.package,
        env={**os.environ, "OLLAMA_HOST": client.url, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert by_hand.returncode == 0, by_hand.stderr
    try:
        question = [Message(role="user", content="How long does copyright last?")]
        both = (name, f"{name}-by-hand")
        said = {OllamaEndpoint(client, which).chat(question, ChatOptions()).text for which in both}
        assert len(said) == 1
        assert "70 years" in said.pop()
        short.write_text(short.read_text("utf-8").replace("delta_pass_rate > 0.3", "delta_pass_rate == 0"), "utf-8")
        compared = shipped.ggship("eval", name, "--against", f"{name}-by-hand", "--suite", short, cwd=tmp_path)
        assert f"against {name}-by-hand" in compared
        assert "0 better, 0 worse, 2 alike" in compared
    finally:
        client.delete(f"{name}-by-hand")


def test_one_flipped_byte_in_any_file_is_found(shipped: Shipped, tmp_path: Path) -> None:
    from ggship.cli import cli
    from ggship.cli.funnel import run

    shipped.ggship("verify", shipped.name, cwd=tmp_path)  # from anywhere, by its name
    for path in sorted(path for path in shipped.package.rglob("*") if path.is_file()):
        copy = tmp_path / "flipped"
        shutil.copytree(shipped.package, copy, copy_function=os.link)
        target = copy / path.relative_to(shipped.package)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x20
        target.unlink()
        target.write_bytes(content)
        assert run(cli, ["verify", str(copy)]) == 1, path.name
        shutil.rmtree(copy)


def test_a_model_that_fails_its_suite_never_goes_live(shipped: Shipped, tmp_path: Path) -> None:
    client, name = shipped.client, shipped.name
    live = client.digest(name)
    before = sha256_file(shipped.package / "ggship.json")
    strict = tmp_path / "strict.yaml"
    strict.write_text(
        "version: 1\ndefaults: {options: {num_predict: 8}}\ntests:\n- id: impossible\n"
        "  prompt: Say nothing but XYZZY-1234.\n  assert: [{type: equals, value: XYZZY-1234}]\n"
    )
    said = shipped.again("--suite", strict, "--system", "You are someone else.", code=3)
    assert "not live" in said
    assert client.digest(name) == live
    assert names(client, name) == {f"{name}:latest", f"{name}:v1"}
    assert sha256_file(shipped.package / "ggship.json") == before
    held = shipped.folder / "dist" / f"{name}.held"
    assert (held / "eval" / "report.html").is_file()
    assert json.loads((held / "ggship.json").read_text())["eval"]["passed"] is False


def test_the_model_before_it_is_kept(shipped: Shipped, brief: Path) -> None:
    first = shipped.client.digest(shipped.name)
    shipped.again("--suite", brief, "--outtype", "f16")
    assert shipped.client.digest(shipped.name) != first
    assert shipped.client.digest(f"{shipped.name}:previous") == first
    again = shipped.ggship("eval", shipped.name, cwd=shipped.folder / "dist")
    assert "of 2 cases" in again, "the package's own suite"
    assert "passed" in again


def test_the_other_strategy_can_be_forced_or_is_refused(law: Any, brief: Path, tmp_path: Path) -> None:
    name, client, host = law
    if client.version() == "0.34.4":
        done = ggship("package", RUN, "--name", name, "--strategy", "adapter", "--host", host, cwd=tmp_path, code=4)
        assert "--strategy merge" in done.stderr
        assert not (tmp_path / "dist" / name).exists()
    else:
        arguments = ["package", RUN, "--name", name, "--strategy", "merge", "--host", host, "--suite", brief]
        ggship(*arguments, cwd=tmp_path)
    assert names(client, name) <= {f"{name}:latest", f"{name}:v1"}


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
options = PackageOptions(
    Path(run), name, base="ollama:smollm2:135m", out=Path(out), suite=Path(suite), host=host, strategy="merge"
)
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


def test_killed_at_every_stage_it_ends_in_the_same_bytes(new_ollama: str, brief: Path, tmp_path: Path) -> None:
    # A name of its own: on a server that several share, another's run of this test would take it away.
    name, client = f"law-killed-{uuid.uuid4().hex[:8]}", OllamaClient(new_ollama)
    arguments = ["package", RUN, "--name", name, "--host", new_ollama, "--suite", brief, "--strategy", "merge"]
    # Named, since other tests put models of the same weights on the server while this one runs.
    arguments += ["--base", "ollama:smollm2:135m"]
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
            command = [sys.executable, script, RUN, name, brief, new_ollama, out, moment]
            done = subprocess.run(command, check=False, env=state)
            assert done.returncode == -signal.SIGKILL, moment
            assert (client.digest(name) is not None) == (moment == "after promote"), f"live too early: {moment}"
            assert not out.exists(), f"half a package: {moment}"
            ggship(*arguments, "--out", out, cwd=tmp_path)
            assert tree(out) == whole, moment
            assert client.digest(name) == digest
            assert names(client, name) == {f"{name}:latest", f"{name}:v1"}
            shutil.rmtree(out)
    finally:
        for model in names(client, name):
            client.delete(model)


def tree(folder: Path) -> dict[str, str]:
    """sha256 by file, without what tells the time (report.json) and the checksums over that."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    timed = {"eval/report.json", "SHA256SUMS"}
    return {name: sha256_file(path) for name, path in files.items() if name not in timed}


def test_without_any_ollama_the_embedded_runtime_merges_too(base_gguf: Path, short: Path, tmp_path: Path) -> None:
    """The adapter beside its base is what the demo does."""
    name = "law-merge"
    arguments = ["--runtime", "embedded", "--base", base_gguf, "--suite", short, "--strategy", "merge"]
    ggship("package", RUN, "--name", name, *arguments, cwd=tmp_path)
    document = json.loads((tmp_path / "dist" / name / "ggship.json").read_text())
    assert document["eval"]["passed"] is True
    assert document["prompt"]["proof"]["probes"] > 5
    assert "passed" in ggship("eval", name, cwd=tmp_path).stdout
    ggship("verify", name, cwd=tmp_path)


def test_a_remote_server_gets_adapter_and_merge_alike(
    old_ollama: str, new_ollama: str, base_gguf: Path, brief: Path, tmp_path: Path
) -> None:
    """Remote is simulated: this process may not look at the server's files."""
    from ggship.plan import PackageOptions
    from ggship.runtimes.ollama import OllamaRuntime
    from ggship.ship import package_run

    for host, base, strategy in ((old_ollama, None, "adapter"), (new_ollama, str(base_gguf), "merge")):
        client = OllamaClient(host)
        runtime = OllamaRuntime(client, reads_files=False)
        options = PackageOptions(RUN, "law-remote", base=base, out=tmp_path / strategy, suite=brief, host=host)
        try:
            shipped = package_run(options, runtime=runtime)
            assert shipped.plan.strategy == strategy
            assert client.digest("law-remote") == shipped.info.digest
        finally:
            for model in names(client, "law-remote"):
                client.delete(model)
    from ggship.errors import BaseNotFound

    with pytest.raises(BaseNotFound, match="as a file"):
        package_run(
            PackageOptions(RUN, "law-remote", out=tmp_path / "none", host=new_ollama),
            runtime=OllamaRuntime(OllamaClient(new_ollama), reads_files=False),
        )


class Older:
    """A real server behind what leaves out a field that an old one does not know: it answers, and tells a number.

    asks: the name that questions go to in place of the one they name, as where a server prefers another template.
    """

    def __init__(self, host: str, asks: str = "") -> None:
        self._server = Transport(host)
        self._asks = asks
        self.asked = 0

    def __call__(self, sent: Sent) -> Reply:
        if sent.method != "POST" or sent.body[:1] != b"{":
            return self._server.request(sent.method, sent.path, content=sent.body or None)
        body = sent.json()
        self.asked += bool(body.pop("_debug_render_only", None))
        if self._asks and sent.path == "/api/chat":
            body["model"] = self._asks
        return self._server.request(sent.method, sent.path, json=body)


def test_a_server_that_does_not_tell_what_it_renders_is_counted_on(old_ollama: str, tmp_path: Path) -> None:
    from ggship.errors import PromptMismatch
    from ggship.plan import PackageOptions
    from ggship.runtimes.ollama import OllamaRuntime
    from ggship.ship import Shipped as Package
    from ggship.ship import package_run

    client, name = OllamaClient(old_ollama), "law-counted"
    wrong = "{{ range .Messages }}<|im_start|>{{ .Role }}\n {{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"

    def package(name: str, older: Older) -> Package:
        runtime = OllamaRuntime(OllamaClient(old_ollama, transport=Transport(old_ollama, handler=older)))
        base = "ollama:smollm2:135m"
        return package_run(PackageOptions(RUN, name, base=base, out=tmp_path / name, evaluate=False), runtime=runtime)

    try:
        older = Older(old_ollama)
        shipped = package(name, older)
        proof = shipped.info.document["prompt"]["proof"]
        assert older.asked
        assert proof["probes"] == proof["equal"] > 5
        assert (proof["by"], proof["differences"]) == ("number", [])
        assert client.digest(name) == shipped.info.digest
        client.create({"model": f"{name}-wrong", "from": name, "template": wrong})
        with pytest.raises(PromptMismatch) as refused:
            package(f"{name}-refused", Older(old_ollama, asks=f"{name}-wrong"))
        assert "the server counts" in refused.value.where
        assert "--template" in refused.value.hint
        assert client.digest(f"{name}-refused") is None
    finally:
        for model in names(client, name):
            client.delete(model)


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


def test_stopped_by_hand_it_cleans_up(new_ollama: str, brief: Path, tmp_path: Path) -> None:
    import time

    client = OllamaClient(new_ollama)
    name = "law-stopped"
    command = [sys.executable, "-m", "ggship", "package", str(RUN), "--name", name, "--host", new_ollama]
    process = subprocess.Popen([*command, "--suite", str(brief)], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while f"{name}:ggship-base" not in names(client, name):
        time.sleep(0.1)
        assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Nothing live was changed" in errors
    assert names(client, name) == set()
    assert not (tmp_path / "dist" / name).exists()
