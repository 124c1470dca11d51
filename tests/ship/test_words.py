"""What the package and the terminal say: which base and why, what came with it, and nothing of this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

from ggship.errors import GateFailed
from ggship.progress import Silent

SCHEMA = Path(__file__).parents[2] / "templates" / "schemas" / "ggship.schema.json"
STRICT = "version: 1\ntests:\n- id: hard\n  prompt: Say XYZZY.\n  assert: [{type: equals, value: XYZZY}]\n"


def texts(folder: Path) -> dict[str, str]:
    """Every file of a package as text, whatever is in it."""
    return {path.name: path.read_bytes().decode("utf-8", "replace") for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("strategy", ["adapter", "merge"])
def test_no_folder_of_this_machine_is_in_a_package(old_shop, tiny_run, strategy):
    private = old_shop.root / "models" / "private"
    private.mkdir(parents=True)
    shutil.copyfile(old_shop.base, private / "b.gguf")
    tiny_run(old_shop.run, base_model_name_or_path=str(private / "b"))
    template = private / "secret.jinja"
    shutil.move(old_shop.run / "chat_template.jinja", template)
    relative = str((private / "b.gguf").relative_to(Path.cwd()))
    package = old_shop.package(base=relative, template=str(template), strategy=strategy, evaluate=False).info
    for name, text in texts(package.path).items():
        assert str(old_shop.root) not in text, name
        assert "private/" not in text, name
    jsonschema.validate(dict(package.document), json.loads(SCHEMA.read_text()))


def test_the_template_of_a_base_is_not_called_by_its_path(old_shop):
    (old_shop.run / "chat_template.jinja").rename(old_shop.root / "gone.jinja")
    import gguf

    with_template = old_shop.root / "deep" / "t.gguf"
    with_template.parent.mkdir()
    reader = gguf.GGUFReader(old_shop.base)
    writer = gguf.GGUFWriter(with_template, "llama")
    for key in ("block_count", "embedding_length", "feed_forward_length", "attention.head_count"):
        writer.add_uint32(f"llama.{key}", int(reader.fields[f"llama.{key}"].contents()))
    writer.add_uint32("llama.attention.head_count_kv", 4)
    writer.add_chat_template("{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}")
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    package = old_shop.package(base=str(with_template), evaluate=False).info
    assert "t.gguf" in package.document["prompt"]["source"]
    assert not [name for name, text in texts(package.path).items() if str(old_shop.root) in text]


@pytest.mark.parametrize(
    ("named", "base_model"),
    [
        ("org/Tiny-Llama", "org/Tiny-Llama"),
        ("/home/someone/models/Tiny-Llama", None),
        ("C:\\models\\Tiny-Llama", None),
        ("org/x\ninjected: true", None),
        ('org/"x"', None),
    ],
)
def test_the_cards_front_matter_is_ours_alone(old_shop, tiny_run, named, base_model):
    tiny_run(old_shop.run, base_model_name_or_path=named)
    card = (old_shop.package(evaluate=False).info.path / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front.get("base_model") == base_model
    assert set(front) <= {"base_model", "base_model_relation", "library_name", "tags"}
    assert "someone" not in card


def test_it_says_which_base_it_took_and_what_else_fits(old_shop, capsys):
    for name in ("Tiny-Llama.gguf", "Tiny-Llama-copy.gguf"):
        shutil.copyfile(old_shop.base, old_shop.root / name)
    old_shop.base.unlink()
    command = ["package", old_shop.run, "--name", "law", "--host", old_shop.server.url, "--no-eval"]
    assert old_shop.ggship(*command, "--dry-run") == 0
    planned = capsys.readouterr().out
    assert old_shop.ggship(*command) == 0
    done = capsys.readouterr().out
    for words in (planned, done):
        assert "it lies beside the run; 2 fit" in words
        assert "also fits" in words
    assert old_shop.ggship(*command, "--json") == 0
    choice = json.loads(capsys.readouterr().out)["base_choice"]
    assert len(choice["also_fits"]) == 1


def test_what_comes_with_the_base_is_said_and_kept(old_shop, capsys):
    digest = old_shop.serve_base("tiny", num_ctx=64)
    command = ["package", old_shop.run, "--name", "law", "--base", "ollama:tiny", "--host", old_shop.server.url]
    assert old_shop.ggship(*command, "--no-eval") == 0
    assert "num_ctx = 64 comes with tiny" in capsys.readouterr().out
    document = json.loads((old_shop.root / "dist" / "law" / "ggship.json").read_text())
    assert document["model"]["notes"] == ["num_ctx = 64 comes with tiny"]
    assert document["base"]["sha256"] == digest


def test_the_sizes_of_a_dry_run_are_those_of_the_files(shop, capsys):
    command = ["package", shop.run, "--name", "law", "--base", shop.base, "--host", shop.server.url, "--no-eval"]
    assert shop.ggship(*command, "--outtype", "f16", "--quant", "Q8_0", "--dry-run", "--json") == 0
    sizes = json.loads(capsys.readouterr().out)["sizes"]
    assert shop.ggship(*command, "--outtype", "f16", "--quant", "Q8_0") == 0
    package = shop.root / "dist" / "law"
    for name, file in (("adapter.gguf", "adapter.gguf"), ("merged model", "model.q8_0.gguf")):
        header = 16_000  # keys and the list of tensors
        assert sizes[name] < (package / file).stat().st_size < sizes[name] + header


@pytest.mark.parametrize("runtime", ["none", "embedded"])
def test_a_base_on_the_server_serves_where_the_model_runs_elsewhere(shop, runtime, capsys, monkeypatch):
    shop.serve_base("tiny")
    monkeypatch.setenv("OLLAMA_HOST", shop.server.url)
    pytest.importorskip("xllamacpp") if runtime == "embedded" else None
    command = ["package", shop.run, "--name", "law", "--base", "ollama:tiny", "--runtime", runtime, "--dry-run"]
    assert shop.ggship(*command) == 0
    assert "ollama:tiny" in capsys.readouterr().out


class Heard(Silent):
    def __init__(self):
        self.steps = []

    def start(self, title, total=None, unit=""):
        self.steps.append((title, unit))


def test_every_long_step_is_a_step_with_its_own_bytes(shop, make_server):
    heard = Heard()
    shop.package(progress=heard, evaluate=False)
    for title in (
        "Creating the model: hashing",
        "Creating the model: uploading",
        "Bringing the base beside it: uploading",
    ):
        assert (title, "bytes") in heard.steps


def test_the_base_is_read_with_a_bar_and_only_once(shop):
    import os

    os.utime(shop.base, (1_700_000_000, 1_700_000_000))  # what changed just now is not remembered
    first, again = Heard(), Heard()
    shop.package(progress=first, evaluate=False)
    shop.package(progress=again, evaluate=False)
    assert ("Reading the base", "bytes") in first.steps
    assert again.steps == []


def test_failing_again_does_not_call_the_live_model_dead(shop, tmp_path):
    shop.package(evaluate=False)
    (tmp_path / "strict.yaml").write_text(STRICT)
    with pytest.raises(GateFailed) as failed:
        shop.package(suite=tmp_path / "strict.yaml")
    assert "is live, since before" in failed.value.message
    assert "law:latest" in shop.server.models
    shop.server.models.pop("law:latest")
    with pytest.raises(GateFailed, match="did not pass and is not live"):
        shop.package(suite=tmp_path / "strict.yaml")


def test_a_type_wider_than_the_bases_is_promised_for_what_was_trained_alone(shop, capsys):
    small = shop.root / "small.gguf"
    assert shop.ggship("merge", shop.run, "--base", shop.base, "--quant", "Q4_1", "--out", small) == 0
    arguments = [shop.run, "--name", "law", "--base", small, "--host", shop.server.url, "--quant", "F16", "--force"]
    capsys.readouterr()
    assert shop.ggship("package", *arguments, "--dry-run") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "F16 for touched tensors; the rest stays Q4_1" in out
    assert "may be erased" not in out


def test_ctrl_c_before_the_promotion_says_that_nothing_live_was_changed(shop, capsys):
    import os
    import signal

    def stop(request):
        os.kill(os.getpid(), signal.SIGINT)
        return "too late"

    shop.server.answer = stop
    command = ["package", shop.run, "--name", "law", "--base", shop.base, "--host", shop.server.url]
    assert shop.ggship(*command) == 130
    assert "Stopped. Nothing live was changed." in capsys.readouterr().err
    assert shop.server.models == {}


def test_ctrl_c_while_it_is_promoted_promises_nothing(shop, capsys):
    import os
    import signal

    class Promoting(dict):
        def __setitem__(self, name, model):
            super().__setitem__(name, model)
            if name == "law:latest":
                os.kill(os.getpid(), signal.SIGINT)

    shop.server.models = Promoting()
    command = ["package", shop.run, "--name", "law", "--base", shop.base, "--host", shop.server.url, "--no-eval"]
    assert shop.ggship(*command) == 130
    said = capsys.readouterr().err
    assert "Stopped." in said
    assert "Nothing live was changed" not in said
    assert set(shop.server.models) == {"law:latest", "law:v1"}


def test_with_json_the_steps_are_plain_lines_on_stderr(shop, capsys):
    command = ["package", shop.run, "--name", "law", "--base", shop.base, "--host", shop.server.url, "--json"]
    assert shop.ggship(*command) == 0
    printed = capsys.readouterr()
    json.loads(printed.out)
    assert "Converting the adapter: 14 pairs" in printed.err
