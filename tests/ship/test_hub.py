"""A package on a Hugging Face hub, through the real huggingface_hub client: one commit, all of it or nothing."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ggship.package import read_package
from ggship.releases.names import recall

MODEL = "model.q8_0.gguf"
FILES = {
    MODEL, "adapter/adapter.gguf", "adapter/adapter_model.safetensors", "adapter/adapter_config.json",
    "Modelfile", "template", "system", "params", "README.md", "SHA256SUMS",
}  # fmt: skip


def _stand_in() -> Any:
    path = Path(__file__).parents[1] / "publish" / "hub_stand_in.py"
    spec = importlib.util.spec_from_file_location("ggship_hub_stand_in", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


stand_in = _stand_in()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    import huggingface_hub.constants

    server = stand_in.Hub()
    server.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", stand_in.TOKEN)
    # The stand-in speaks the hub's LFS protocol, not that of its newer storage.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    yield server
    server.stop()


@pytest.fixture
def law(shop: Any) -> Any:
    shop.package(system="You know the law.", force=True)
    return shop


def publish(shop: Any, *arguments: str, to: str = "hf:me/law") -> int:
    code: int = shop.ggship("publish", shop.root / "out/law", "--to", to, *arguments)
    return code


def test_everything_in_one_commit_and_nothing_the_second_time(
    law: Any, hub: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(law) == 0
    repository = hub.repositories["me/law"]
    assert repository.private
    assert len(repository.commits) == 2  # the hub's own first one, and ours
    files = repository.head.files
    assert set(files) == FILES | {".gitattributes"}
    assert files[MODEL] == (law.root / "out/law" / MODEL).read_bytes()
    assert files["adapter/adapter_model.safetensors"] == (law.run / "adapter_model.safetensors").read_bytes()
    before = len(hub.writes())
    capsys.readouterr()
    assert publish(law) == 0
    assert "nothing was committed" in capsys.readouterr().out
    assert len(hub.writes()) == before
    assert len(repository.commits) == 2


def test_what_ollama_reads_is_what_the_server_was_given(law: Any, hub: Any) -> None:
    assert publish(law) == 0
    files, live = hub.files("me/law"), law.server.models["law:latest"]
    assert files["template"].decode() == live.template
    assert files["system"].decode() == "You know the law."
    assert json.loads(files["params"]) == live.parameters


def test_the_card_carries_the_hubs_metadata_and_the_scores(law: Any, hub: Any, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    suite = law.root / "suite.yaml"
    suite.write_text("version: 1\nname: law\ntests:\n  - prompt: hi\n    assert: [{type: contains, value: words}]\n")
    law.package(suite=suite)
    assert publish(law) == 0
    text = hub.files("me/law")["README.md"].decode()
    front = yaml.safe_load(text.split("---")[1])
    assert (front["base_model"], front["base_model_relation"]) == ("org/Tiny-Llama", "finetune")
    assert {"gguf", "ollama", "lora"} <= set(front["tags"])
    results = {one.metric_type: one.metric_value for one in ModelCard(text).data.eval_results}
    assert results["pass_rate"] == 1.0
    assert results["base_pass_rate"] == 0.0
    assert "ollama run hf.co/me/law" in text


def test_a_new_release_takes_away_what_the_old_one_had_and_nothing_else(law: Any, hub: Any) -> None:
    assert publish(law) == 0
    hub.files("me/law")["notes.md"] = b"of someone else"
    law.package(system="You know the law.", force=True, quant="F16")
    assert publish(law) == 0
    files = hub.files("me/law")
    assert "model.f16.gguf" in files
    assert MODEL not in files
    assert files["notes.md"] == b"of someone else"
    assert len(hub.repositories["me/law"].commits) == 3


def test_a_dry_run_says_it_all_and_sends_nothing(law: Any, hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert publish(law, "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["created"], told["private"], set(told["sent"])) == (True, True, FILES)
    assert (hub.writes(), hub.repositories) == ([], {})
    assert publish(law) == 0
    assert publish(law, "--dry-run") == 0
    assert "nothing was committed" in capsys.readouterr().out


def test_who_commits_at_the_same_moment_wins(law: Any, hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(law) == 0
    repository = hub.repositories["me/law"]
    law.package(system="Another.", force=True)

    def other() -> None:
        if len(repository.commits) == 2:
            repository.commits.append(stand_in.Commit({**repository.head.files, "x": b"x"}, "someone else"))

    hub.before_commit = other
    assert publish(law) == 1
    assert "someone else changed me/law at the same moment" in capsys.readouterr().err
    assert repository.head.files["system"] == b"You know the law."
    assert publish(law) == 0
    assert repository.head.files["system"] == b"Another."
    assert repository.head.files["x"] == b"x"


def test_an_expired_token(law: Any, hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    hub.expired = True
    assert publish(law) == 1
    told = capsys.readouterr().err
    assert "does not take the token: it is expired" in told
    assert "settings/tokens" in told
    assert stand_in.TOKEN not in told


def test_a_token_that_may_only_read(law: Any, hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    hub.forbidden = True
    assert publish(law) == 1
    assert "may not write to me/law" in capsys.readouterr().err
    assert publish(law, to="hf:other/law") == 2
    assert "who cannot publish as other" in capsys.readouterr().err
    assert publish(law, "--dry-run", to="hf:lab/law") == 0


def test_an_upload_that_is_refused_is_named_and_nothing_is_committed(
    law: Any, hub: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(law) == 0
    law.package(system="You know the law.", force=True, quant="F16")
    size = (law.root / "out/law/model.f16.gguf").stat().st_size
    hub.refuse[size] = 403
    assert publish(law) == 1
    told = capsys.readouterr().err
    assert "sending model.f16.gguf failed: nothing was committed" in told
    assert "marker-signature" not in told
    assert MODEL in hub.files("me/law")
    assert len(hub.repositories["me/law"].commits) == 2


def test_an_upload_that_breaks_off_once_is_sent_again(
    law: Any, hub: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    hub.cut[(law.root / "out/law" / MODEL).stat().st_size] = 1
    assert publish(law) == 0
    assert hub.cut == {(law.root / "out/law" / MODEL).stat().st_size: 0}
    said = capfd.readouterr()
    # The client logs what it tries again with the signed address, which opens the storage to whoever reads it.
    assert "marker-signature" not in said.out + said.err + caplog.text
    assert hub.files("me/law")[MODEL] == (law.root / "out/law" / MODEL).read_bytes()


def test_a_hub_that_holds_something_else_afterwards(law: Any, hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    hub.lie = lambda files: files.update({MODEL: b"another model"})
    assert publish(law) == 1
    told = capsys.readouterr().err
    assert "holds something else than what was sent" in told
    assert MODEL in told


def test_a_hub_that_makes_it_public_gets_nothing(law: Any, hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    hub.publishes = True
    assert publish(law) == 4
    assert "it was to be private: nothing was sent" in capsys.readouterr().err
    assert set(hub.files("me/law")) == {".gitattributes"}
    assert publish(law, "--public", to="hf:me/open") == 0


def test_what_did_not_pass_or_was_changed_goes_nowhere(shop: Any, hub: Any) -> None:
    assert shop.ggship("package", shop.run, "--name", "law", "--base", shop.base, "--out", "out/law",
                       "--runtime", "none") == 0  # fmt: skip
    assert publish(shop) == 3
    assert hub.asked == []
    assert publish(shop, "--force") == 0
    with (shop.root / "out/law" / MODEL).open("ab") as file:
        file.write(b"x")
    assert publish(shop, "--force") == 1


def test_without_a_token_or_over_an_open_network(
    law: Any, hub: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://8.8.8.8")
    assert publish(law) == 2
    assert "the token would travel in the open" in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN")
    secret = tmp_path / "token"
    secret.write_text(stand_in.TOKEN + "\n")
    secret.chmod(0o600)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN_FILE", str(secret))
    assert publish(law) == 0


def test_the_run_is_left_out_where_it_changed_and_paths_of_this_machine_never_leave(
    shop: Any, hub: Any, tiny_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_run(shop.run, base_model_name_or_path=str(shop.root / "models/Tiny-Llama"))
    shop.package()
    assert publish(shop) == 0
    files = hub.files("me/law")
    assert not [path for path, data in files.items() if str(shop.root).encode() in data]
    assert json.loads(files["adapter/adapter_config.json"])["r"] == 4
    tiny_run(shop.run, seed=7)
    capsys.readouterr()
    assert publish(shop) == 0
    assert "the run changed after the package was made" in capsys.readouterr().err
    assert "adapter/adapter_config.json" not in hub.files("me/law")
    assert recall(read_package(shop.root / "out/law").name) is not None


def test_an_adapter_alone_lies_at_the_top(old_shop: Any, hub: Any) -> None:
    old_shop.serve_base("tiny")
    old_shop.package(base="ollama:tiny")
    assert publish(old_shop) == 0
    files = hub.files("me/law")
    assert {"adapter.gguf", "adapter_model.safetensors", "adapter_config.json", "Modelfile"} <= set(files)
    front = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert (front["base_model_relation"], front["library_name"]) == ("adapter", "peft")
