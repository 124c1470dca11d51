"""Bases from the Hugging Face hub: the real client against a hub on loopback."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ggship.bases import find_base
from ggship.bases.download import OURS_FROM, download
from ggship.bases.hub import parse_hub_ref
from ggship.bases.hub_files import choose_files
from ggship.errors import BadFile, BaseNotFound, NoRoom, Refused, ServerError, UsageError
from ggship.gguf.parts import files_of
from ggship.needs import Machine

_spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
hub_server = importlib.util.module_from_spec(_spec)
sys.modules["hub_server"] = hub_server
_spec.loader.exec_module(hub_server)

PULL = """
import sys
from ggship.bases import find_base
print(find_base(None, sys.argv[1], pull=True).revision)
"""


@pytest.fixture
def hub(monkeypatch, workshop):
    server = hub_server.HubServer()
    server.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.stop()


def offered(hub, name, folder, **options):
    """Put a folder on the hub as a repository."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.repositories[name] = hub_server.Repository(files, **options)
    return hub.repositories[name]


@pytest.fixture
def tiny_repository(hub, workshop):
    """A model in safetensors with everything that repositories have beside it."""
    folder = workshop.directory("offered")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("words")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling_tiny.py").write_text("import os")
    (folder / "consolidated.safetensors").write_bytes(b"the same again")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    return offered(hub, "org/Tiny", folder)


class TestWholeModels:
    def test_what_a_base_needs_is_downloaded_and_its_commit_known(self, hub, tiny_repository):
        base = find_base(None, "hf:org/Tiny", pull=True)
        assert base.revision == tiny_repository.commit
        assert {path.name for path in base.config_dir.iterdir()} == {
            "config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja",
        }  # fmt: skip
        assert base.tensors

    def test_what_is_there_needs_no_network(self, hub, tiny_repository):
        first = find_base(None, "hf:org/Tiny", pull=True)
        before = len(hub.asked)
        for pull in (True, False):
            again = find_base(None, "hf:org/Tiny", pull=pull)
            assert (again.config_dir, again.revision) == (first.config_dir, first.revision)
        assert len(hub.asked) == before

    def test_what_is_half_there_is_completed(self, hub, tiny_repository):
        first = find_base(None, "hf:org/Tiny", pull=True)
        (first.config_dir / "model.safetensors").unlink()
        assert not find_base(None, "hf:org/Tiny").tensors
        assert find_base(None, "hf:org/Tiny", pull=True).tensors

    @pytest.mark.parametrize("revision", ["v2", "c0ffee" + "0" * 34])
    def test_a_revision_is_pinned(self, revision, hub, tiny_repository):
        tiny_repository.revisions = ("main", "v2")
        base = find_base(None, f"hf:org/Tiny@{revision}", pull=True)
        assert base.revision == tiny_repository.commit
        assert find_base(None, f"hf:org/Tiny@{revision}").revision == tiny_repository.commit
        assert find_base(None, "hf:org/Tiny@c0ffee0").revision == tiny_repository.commit

    def test_a_run_whose_base_is_on_the_hub(self, hub, workshop, tiny_repository):
        run = workshop.run(base_model_name_or_path="org/Tiny")
        with pytest.raises(BaseNotFound, match="no base model was found"):
            find_base(run, None)
        base = find_base(run, None, pull=True)
        assert (base.ref, base.revision) == ("hf:org/Tiny", tiny_repository.commit)

    def test_pickled_weights_are_never_downloaded(self, hub, tiny_repository):
        for name in ("model.safetensors", "consolidated.safetensors"):
            del tiny_repository.files[name]
        with pytest.raises(Refused, match="pickled") as caught:
            find_base(None, "hf:org/Tiny", pull=True)
        assert "pytorch_model.bin" in caught.value.where
        assert not hub.downloads("pytorch_model.bin")


class TestGgufRepositories:
    @pytest.fixture
    def repository(self, hub, workshop, tmp_path):
        folder = tmp_path / "quants"
        for name in ("tiny-Q4_K_M.gguf", "tiny-Q4_K_S.gguf", "tiny-Q8_0.gguf", "mmproj-F16.gguf"):
            workshop.gguf(f"quants/{name}", general__name=name)
        (folder / "config.json").write_text("{}")
        return offered(hub, "org/Tiny-GGUF", folder)

    def test_the_quantization_asked_for(self, hub, repository):
        base = find_base(None, "hf:org/Tiny-GGUF:q4_k_m", pull=True)
        assert (base.gguf.name, base.revision) == ("tiny-Q4_K_M.gguf", repository.commit)
        assert not hub.downloads("tiny-Q8_0.gguf")
        assert find_base(None, "hf:org/Tiny-GGUF:Q4_K_M").gguf == base.gguf

    def test_the_file_asked_for(self, hub, repository):
        assert find_base(None, "hf:org/Tiny-GGUF:tiny-Q4_K_S.gguf", pull=True).gguf.name == "tiny-Q4_K_S.gguf"

    def test_a_pattern(self, hub, repository):
        assert find_base(None, "hf:org/Tiny-GGUF:*K_S*", pull=True).gguf.name == "tiny-Q4_K_S.gguf"

    def test_the_most_precise_where_none_was_asked_for(self, hub, repository):
        base = find_base(None, "hf:org/Tiny-GGUF", pull=True)
        assert base.gguf.name == "tiny-Q8_0.gguf"
        assert "Q8_0" in base.found

    @pytest.mark.parametrize(("file", "error"), [("*Q4*", UsageError), ("Q5_K_M", BaseNotFound)])
    def test_the_files_are_listed_where_it_is_unclear(self, file, error, hub, repository):
        with pytest.raises(error) as caught:
            find_base(None, f"hf:org/Tiny-GGUF:{file}", pull=True)
        assert "tiny-Q4_K_M.gguf (" in caught.value.where
        assert "mmproj" not in caught.value.where
        assert "--base hf:org/Tiny-GGUF:tiny-Q4_K_" in caught.value.hint

    def test_the_files_are_listed_where_none_is_precise(self, hub, repository):
        del repository.files["tiny-Q8_0.gguf"]
        with pytest.raises(UsageError, match="2 GGUF models"):
            find_base(None, "hf:org/Tiny-GGUF", pull=True)

    def test_all_parts_of_a_split_model(self, hub, workshop, tmp_path):
        import gguf
        import numpy as np

        (tmp_path / "split" / "Q8_0").mkdir(parents=True)
        writer = gguf.GGUFWriter(tmp_path / "split" / "Q8_0" / "big.gguf", "llama", split_max_tensors=2)
        for number in range(5):
            writer.add_tensor(f"blk.{number}.attn_q.weight", np.ones((32, 32), np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        offered(hub, "org/Big-GGUF", tmp_path / "split")
        for ref in ("hf:org/Big-GGUF:Q8_0", "hf:org/Big-GGUF:Q8_0/big-00002-of-00003.gguf", "hf:org/Big-GGUF"):
            base = find_base(None, ref, pull=True)
            assert len(base.tensors) == 5
            assert len(files_of(base.gguf)) == 3
            assert base.gguf.name == "big-00001-of-00003.gguf"
        del hub.repositories["org/Big-GGUF"].files["Q8_0/big-00003-of-00003.gguf"]
        (base.gguf.with_name("big-00003-of-00003.gguf")).unlink()
        with pytest.raises(BaseNotFound, match="not in the Hugging Face cache"):
            find_base(None, "hf:org/Big-GGUF:Q8_0")
        with pytest.raises(BaseNotFound, match="lacks 1 of the 3 parts"):
            find_base(None, "hf:org/Big-GGUF:Q8_0", pull=True)


class TestBrokenOff:
    @pytest.fixture
    def big(self, hub, workshop, tmp_path, tiny):
        file = workshop.gguf("large/tiny-F16.gguf", tiny(vocabulary=1 << 20))
        assert file.stat().st_size > OURS_FROM
        return offered(hub, "org/Large-GGUF", file.parent)

    def test_a_connection_that_breaks_is_taken_up_again(self, hub, big):
        hub.cut["tiny-F16.gguf"] = 15 << 20
        base = find_base(None, "hf:org/Large-GGUF", pull=True)
        assert base.gguf.read_bytes() == big.files["tiny-F16.gguf"]
        first, second = hub.downloads("tiny-F16.gguf")
        assert first is None
        assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 15 << 20

    def test_a_process_that_was_killed_is_taken_up_again(self, hub, big, tmp_path):
        hub.stall["tiny-F16.gguf"] = 25 << 20
        with subprocess.Popen([sys.executable, "-c", PULL, "hf:org/Large-GGUF"], env=os.environ) as process:
            assert hub.stalled.wait(60)
            partial = None
            while not partial or partial[0].stat().st_size < 20 << 20:
                assert process.poll() is None
                partial = list((tmp_path / "hub").rglob("*.ggship.partial"))
            process.kill()
        hub.go.set()
        base = find_base(None, "hf:org/Large-GGUF", pull=True)
        assert base.gguf.read_bytes() == big.files["tiny-F16.gguf"]
        assert hub.downloads("tiny-F16.gguf") == [None, f"bytes={20 << 20}-"]
        assert not list((tmp_path / "hub").rglob("*.partial*"))

    def test_what_arrives_damaged_is_not_kept(self, hub, big, tmp_path):
        whole = find_base(None, "hf:org/Large-GGUF", pull=True)
        blob = whole.gguf.resolve()
        whole.gguf.unlink()
        blob.rename(blob.with_name(f"{blob.name}.ggship.partial"))
        with blob.with_name(f"{blob.name}.ggship.partial").open("r+b") as file:
            file.seek(1 << 20)
            file.write(b"something else")
            file.truncate(30 << 20)
        with pytest.raises(BadFile, match="arrived damaged"):
            find_base(None, "hf:org/Large-GGUF", pull=True)
        assert find_base(None, "hf:org/Large-GGUF", pull=True).gguf.read_bytes() == big.files["tiny-F16.gguf"]

    def test_no_room_is_found_out_before_the_first_byte(self, hub, big):
        small = Machine(disk=lambda _: SimpleNamespace(free=20 << 20))
        with pytest.raises(NoRoom) as caught:
            download(parse_hub_ref("org/Large-GGUF"), machine=small)
        assert "33.6 MB needed, 21.0 MB free" in caught.value.message
        assert "HF_HUB_CACHE" in caught.value.hint
        assert not hub.downloads("tiny-F16.gguf")


class TestRefusals:
    def test_a_gated_model(self, hub, tiny_repository):
        tiny_repository.gated = True
        with pytest.raises(BaseNotFound, match="gated") as caught:
            find_base(None, "hf:org/Tiny", pull=True)
        assert f"accept its licence on {hub.url}/org/Tiny" in caught.value.hint
        assert "HF_TOKEN" in caught.value.hint

    def test_a_revision_that_is_not_there(self, hub, tiny_repository):
        with pytest.raises(BaseNotFound, match="has no revision v9") as caught:
            find_base(None, "hf:org/Tiny@v9", pull=True)
        assert "/org/Tiny/commits" in caught.value.hint

    def test_a_repository_that_is_not_there(self, hub):
        with pytest.raises(BaseNotFound, match="has no hf:org/None"):
            find_base(None, "hf:org/None", pull=True)

    def test_a_name_that_is_none(self, hub):
        with pytest.raises(UsageError, match="no name of a model"):
            find_base(None, "hf:org--a/-b", pull=True)

    def test_an_adapter(self, hub, workshop):
        offered(hub, "org/Lora", workshop.run().path)
        with pytest.raises(UsageError, match="is an adapter, not a base"):
            find_base(None, "hf:org/Lora", pull=True)

    def test_a_repository_of_neither(self, hub):
        hub.repositories["org/Data"] = hub_server.Repository({"README.md": b"words"})
        with pytest.raises(UsageError) as caught:
            find_base(None, "hf:org/Data", pull=True)
        assert "--base hf:ORG/NAME:FILE.gguf" in caught.value.hint

    def test_a_hub_that_does_not_answer(self, hub, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(ServerError, match="could not be downloaded") as caught:
            find_base(None, "hf:org/Tiny", pull=True)
        assert "HF_ENDPOINT" in caught.value.hint


class TestModelScope:
    @pytest.mark.parametrize("below", ["hub/models", "hub", "models", "."])
    def test_what_training_got_from_there_is_found(self, below, workshop, monkeypatch, tmp_path):
        monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "scope"))
        place = workshop.directory(f"scope/{below}/Qwen/Qwen2___5-1B-Instruct")
        run = workshop.run(base_model_name_or_path="/root/.cache/modelscope/hub/Qwen/Qwen2___5-1B-Instruct")
        base = find_base(run, None)
        assert base.config_dir.samefile(place)
        assert "ModelScope" in base.found

    def test_by_its_name_alone(self, workshop, monkeypatch, tmp_path):
        monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "scope"))
        place = workshop.directory("scope/models/Qwen/Qwen2___5-1B-Instruct")
        run = workshop.run(base_model_name_or_path="Qwen/Qwen2.5-1B-Instruct")
        assert find_base(run, None).config_dir.samefile(place)

    def test_nothing_is_downloaded_where_it_has_the_weights(self, hub, workshop, monkeypatch, tmp_path):
        monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "scope"))
        workshop.directory("scope/models/org/Tiny-1B-Instruct")
        find_base(workshop.run(), None, pull=True)
        assert not hub.asked


def test_names_are_matched_by_whole_words():
    names = ["a-Q4_K.gguf", "a-Q4_K_M.gguf", "IQ4_K_M/b-00001-of-00002.gguf", "a.IQ4_K_M-imatrix.gguf"]
    sizes = dict.fromkeys(names, 1)
    assert choose_files(sizes, "Q4_K", "r").path == "a-Q4_K.gguf"
    assert choose_files(sizes, "Q4_K_M", "r").path == "a-Q4_K_M.gguf"
    iq = choose_files(sizes, "iq4_k_m", "r")
    assert (len(iq.files), iq.weights) == (2, False)
