"""The adapter is found where training left it, the choice is explained, and what is no run is called by its name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ggship.errors import BadFile, NotARun, Refused, UsageError
from ggship.runs import read_run, training_curve
from ggship.runs.findings import findings


def test_the_directory_itself(run_maker):
    run = read_run(run_maker.adapter())
    assert run.path == run.root == run_maker.root
    assert run.chosen == "the adapter in the directory itself"
    assert run.checkpoints == ()


def test_the_final_adapter_goes_before_checkpoints_and_the_best_is_mentioned(run_maker):
    for directory in (".", "checkpoint-100", "checkpoint-20"):
        run_maker.adapter(directory)
    run_maker.trained(".", [20, 60, 100], best="/root/autodl-tmp/out/checkpoint-20")
    run = read_run(run_maker.root)
    assert run.path == run_maker.root
    assert "final adapter" in run.chosen
    assert "checkpoint-20" in run.chosen
    assert [(c.path.name, c.step, c.loss, c.eval_loss, c.best) for c in run.checkpoints] == [
        ("checkpoint-20", 20, 5.0, 10.0, True),
        ("checkpoint-100", 100, 1.0, 2.0, False),
    ]


@pytest.mark.parametrize("best", ["./output/checkpoint-500", r"D:\work\output\checkpoint-500", "/gone/checkpoint-500/"])
def test_only_checkpoints_best_by_its_base_name(best, run_maker):
    """As ChatGLM3's finetune_demo leaves them: no adapter at the top; the state lies in the checkpoints."""
    for step in (500, 1000, 1500):
        run_maker.adapter(f"checkpoint-{step}")
    run_maker.trained("checkpoint-500", [500])
    run_maker.trained("checkpoint-1500", [500, 1000, 1500], best=best)
    run = read_run(run_maker.root)
    assert run.path == run_maker.root / "checkpoint-500"
    assert run.root == run_maker.root
    assert run.chosen == "checkpoint-500, the best of 3 checkpoints as training named it"


def test_only_checkpoints_last_where_none_is_best(run_maker):
    for step in (500, 1000, 1500):
        run_maker.adapter(f"checkpoint-{step}")
    history = [{"step": step, "eval_loss": loss} for step, loss in ((500, 0.9), (1000, 0.5), (1500, 0.7))]
    run_maker.write("checkpoint-1500/trainer_state.json", {"log_history": history, "best_model_checkpoint": None})
    run = read_run(run_maker.root)
    assert run.path.name == "checkpoint-1500"
    assert "the last of 3 checkpoints; training named none best" in run.chosen
    assert "checkpoint-1000 had the lowest eval loss" in run.chosen
    assert not any(checkpoint.best for checkpoint in run.checkpoints)


def test_steps_are_compared_as_numbers(run_maker):
    for step in (900, 1000):
        run_maker.adapter(f"checkpoint-{step}")
    assert read_run(run_maker.root).path.name == "checkpoint-1000"


def test_a_best_checkpoint_that_was_deleted_is_not_chosen(run_maker):
    run_maker.adapter("checkpoint-1000")
    run_maker.trained("checkpoint-1000", [500, 1000], best="/x/checkpoint-500")
    run = read_run(run_maker.root)
    assert run.chosen == "checkpoint-1000, the only checkpoint"


def test_a_checkpoint_named_by_its_path_takes_evidence_from_the_run(run_maker):
    run_maker.adapter(".")
    run_maker.adapter("checkpoint-100", lora_alpha=64)
    run_maker.trained(".", [50, 100, 150])
    run_maker.write("trainer_log.jsonl", '{"current_steps": 1, "loss": 2.0}\n')
    run_maker.write("tokenizer_config.json", {"chat_template": "hello"})
    run = read_run(run_maker.root / "checkpoint-100")
    assert run.path.name == "checkpoint-100"
    assert run.root == run_maker.root
    assert run.modules[0].alpha == 64
    assert run.trainer is not None
    assert run.trainer.name == "LLaMA-Factory"
    assert run.chat_template == "hello"
    assert run.tokenizer_dir == run_maker.root
    assert run.checkpoints[0].loss == 1.0


def test_a_lone_checkpoint_does_not_reach_into_the_directory_around_it(run_maker):
    run_maker.adapter("checkpoint-100")
    run_maker.write("tokenizer_config.json", {"chat_template": "someone else's"})
    run = read_run(run_maker.root / "checkpoint-100")
    assert run.root == run.path
    assert run.chat_template is None


def test_a_checkpoint_named_relative_to_the_working_directory(run_maker, monkeypatch):
    run_maker.adapter(".")
    run_maker.adapter("checkpoint-100")
    monkeypatch.chdir(run_maker.root)
    run = read_run(Path("checkpoint-100"))
    assert run.root.resolve() == run_maker.root.resolve()
    assert read_run(Path()).path == Path()
    monkeypatch.chdir("checkpoint-100")
    assert read_run(Path()).root == run_maker.root


@pytest.mark.parametrize("wanted", ["checkpoint-20", "20", "best"])
def test_a_checkpoint_asked_for(wanted, run_maker):
    for directory in (".", "checkpoint-20", "checkpoint-100"):
        run_maker.adapter(directory)
    run_maker.trained(".", [20, 100], best="x/checkpoint-20")
    assert read_run(run_maker.root, checkpoint=wanted).path.name == "checkpoint-20"
    assert read_run(run_maker.root, checkpoint="last").path.name == "checkpoint-100"


@pytest.mark.parametrize("wanted", ["30", "best", "../../etc"])
def test_a_checkpoint_that_is_not_there(wanted, run_maker):
    run_maker.adapter("checkpoint-20")
    with pytest.raises(UsageError) as caught:
        read_run(run_maker.root, checkpoint=wanted)
    assert "checkpoint-20" in caught.value.where


def test_a_named_adapter_in_its_folder(run_maker):
    run_maker.adapter("law")
    run = read_run(run_maker.root)
    assert run.path == run_maker.root / "law"
    assert "the only adapter" in run.chosen


def test_a_whole_run_one_folder_deeper_keeps_its_checkpoints(run_maker):
    run_maker.adapter("sft")
    run_maker.adapter("sft/checkpoint-10")
    run_maker.trained("sft", [10])
    run = read_run(run_maker.root)
    assert run.root == run_maker.root / "sft"
    assert run.checkpoints[0].loss == 10.0


def test_several_named_adapters_are_listed(run_maker):
    run_maker.adapter("law")
    run_maker.adapter("tax")
    with pytest.raises(NotARun) as caught:
        read_run(run_maker.root)
    assert "law, tax" in caught.value.message
    assert str(run_maker.root / "law") in caught.value.hint


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "an empty directory"),
        (["config.json", "model.safetensors"], "a full model (config.json, model.safetensors), not an adapter"),
        (["config.json", "pytorch_model.bin"], "a full model"),
        (["checkpoint-5/config.json", "checkpoint-5/model.safetensors"], "full training saves whole models"),
        (["model-q4.gguf"], "a GGUF model (model-q4.gguf)"),
        (["a", "b", "c", "d", "e", "f", "g"], "a, b, c, d, e and 2 more"),
    ],
)
def test_what_is_no_run_is_called_by_its_name(files, says, run_maker):
    for file in files:
        run_maker.write(file, "x")
    with pytest.raises(NotARun) as caught:
        read_run(run_maker.root)
    assert says in caught.value.where
    assert "looked for: adapter_config.json" in caught.value.where
    assert caught.value.exit_code == 1


def test_checkpoints_one_folder_deeper_are_pointed_at(run_maker):
    run_maker.adapter("qwen/v0-20260101/checkpoint-10")
    with pytest.raises(NotARun) as caught:
        read_run(run_maker.root / "qwen")
    assert "checkpoints in v0-20260101" in caught.value.where
    assert str(run_maker.root / "qwen" / "v0-20260101") in caught.value.hint


def test_a_path_that_is_not_there_gets_the_nearest_name(run_maker):
    with pytest.raises(NotARun) as caught:
        read_run(run_maker.root.with_name("lora-uot"))
    assert caught.value.hint == f"did you mean {run_maker.root}?"
    with pytest.raises(NotARun) as caught:
        read_run(run_maker.root / "no" / "such" / "place")
    assert caught.value.hint == ""


def test_a_file_instead_of_a_directory(run_maker):
    path = run_maker.adapter()
    with pytest.raises(NotARun) as caught:
        read_run(path / "adapter_model.safetensors")
    assert str(path) in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"), [("adapter_model.bin", "weights_only=True"), ("adapter_model.pt", "safe_serialization: True")]
)
def test_pickled_weights_are_refused_with_a_way_out(name, hint, run_maker):
    path = run_maker.adapter()
    (path / "adapter_model.safetensors").rename(path / name)
    with pytest.raises(Refused) as caught:
        read_run(path)
    assert "run code" in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 4


def test_a_config_without_weights(run_maker):
    path = run_maker.adapter()
    (path / "adapter_model.safetensors").unlink()
    with pytest.raises(NotARun, match="weights are missing"):
        read_run(path)


def test_a_truncated_adapter_names_its_size(run_maker):
    file = run_maker.adapter() / "adapter_model.safetensors"
    whole = file.stat().st_size
    os.truncate(file, whole - 100)
    with pytest.raises(BadFile) as caught:
        read_run(run_maker.root)
    assert f"{whole:,} bytes expected, {whole - 100:,} there" in caught.value.where


class TestShards:
    def shards(self, run_maker, make_safetensors, tiny_tensors):
        path = run_maker.adapter()
        (path / "adapter_model.safetensors").unlink()
        tensors = list(tiny_tensors().items())
        index = {}
        for number, part in enumerate((tensors[:4], tensors[4:]), 1):
            name = f"adapter_model-0000{number}-of-00002.safetensors"
            run_maker.write(name, make_safetensors(dict(part)))
            index.update(dict.fromkeys(dict(part), name))
        run_maker.write("adapter_model.safetensors.index.json", {"weight_map": index})
        return path, index

    def test_all_parts_are_one_adapter(self, run_maker, make_safetensors, tiny_tensors):
        path, _ = self.shards(run_maker, make_safetensors, tiny_tensors)
        run = read_run(path)
        assert len(run.modules) == 4
        assert len(run.tensor_files) == 2

    def test_a_missing_part_is_named(self, run_maker, make_safetensors, tiny_tensors):
        path, index = self.shards(run_maker, make_safetensors, tiny_tensors)
        last = max(index.values())
        (path / last).unlink()
        with pytest.raises(BadFile, match=f"missing: {last}"):
            read_run(path)

    def test_an_index_that_does_not_agree(self, run_maker, make_safetensors, tiny_tensors):
        path, index = self.shards(run_maker, make_safetensors, tiny_tensors)
        run_maker.write("adapter_model.safetensors.index.json", {"weight_map": {**index, "more": max(index.values())}})
        with pytest.raises(BadFile, match="lacks a tensor"):
            read_run(path)
        del index[next(iter(index))]
        run_maker.write("adapter_model.safetensors.index.json", {"weight_map": index})
        with pytest.raises(BadFile, match="do not agree"):
            read_run(path)

    @pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a\\b.safetensors", 3, "x.bin"])
    def test_an_index_that_points_elsewhere(self, name, run_maker, make_safetensors, tiny_tensors):
        path, _ = self.shards(run_maker, make_safetensors, tiny_tensors)
        run_maker.write("adapter_model.safetensors.index.json", {"weight_map": {"a": name}})
        with pytest.raises(BadFile, match="weight_map"):
            read_run(path)


class TestLinks:
    @pytest.mark.parametrize(
        "name", ["adapter_model.safetensors", "adapter_config.json", "tokenizer_config.json", "chat_template.jinja"]
    )
    def test_a_link_out_of_the_run_is_refused(self, name, run_maker, tmp_path):
        path = run_maker.adapter()
        run_maker.write("tokenizer_config.json", {})
        run_maker.write("chat_template.jinja", "x")
        outside = tmp_path / "outside"
        (path / name).rename(outside)
        (path / name).symlink_to(outside)
        with pytest.raises(Refused) as caught:
            read_run(path)
        assert name in caught.value.message
        assert str(outside) in caught.value.where
        assert "cp -rL" in caught.value.hint

    def test_links_within_the_run_and_a_link_to_the_run_are_followed(self, run_maker, tmp_path):
        path = run_maker.adapter()
        run_maker.adapter("checkpoint-5")
        (path / "adapter_model.safetensors").unlink()
        (path / "adapter_model.safetensors").symlink_to("checkpoint-5/adapter_model.safetensors")
        link = tmp_path / "link"
        link.symlink_to(path)
        assert len(read_run(link).modules) == 4

    def test_the_hugging_face_cache_is_made_of_links(self, run_maker, tmp_path):
        repository = tmp_path / "models--org--lora"
        (repository / "blobs").mkdir(parents=True)
        snapshot = repository / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        for number, file in enumerate(run_maker.adapter().iterdir()):
            file.rename(repository / "blobs" / str(number))
            (snapshot / file.name).symlink_to(f"../../blobs/{number}")
        assert len(read_run(snapshot).modules) == 4
        (snapshot / "adapter_config.json").unlink()
        (snapshot / "adapter_config.json").symlink_to("/etc/hostname")
        with pytest.raises(Refused):
            read_run(snapshot)

    def test_a_checkpoint_that_is_a_link_out_of_the_run_is_not_taken(self, run_maker, tmp_path):
        run_maker.adapter("checkpoint-5")
        elsewhere = run_maker.adapter("../elsewhere/checkpoint-9")
        (run_maker.root / "checkpoint-9").symlink_to(elsewhere)
        assert read_run(run_maker.root).path.name == "checkpoint-5"

    def test_a_link_that_leads_nowhere(self, tmp_path):
        (tmp_path / "run").symlink_to("gone")
        with pytest.raises(NotARun, match="leads nowhere"):
            read_run(tmp_path / "run")

    def test_a_pipe_is_not_waited_for(self, run_maker):
        path = run_maker.adapter()
        os.mkfifo(path / "README.md")
        os.mkfifo(path / "tokenizer_config.json")
        assert read_run(path).chat_template is None


class TestHistory:
    def test_the_training_curve(self, run_maker):
        run_maker.adapter()
        rows = [{"step": 10, "loss": 2}, {"step": 10, "eval_loss": 2.5}, {"step": 5, "loss": 3.0}, {"step": 11, "x": 1}]
        run_maker.write("trainer_state.json", {"log_history": [*rows, {"loss": 1}, "odd", {"step": "7", "loss": 1.0}]})
        assert training_curve(read_run(run_maker.root)) == [(5, 3.0, None), (10, 2.0, 2.5)]

    def test_the_loss_of_a_checkpoint_is_the_last_one_before_it(self, run_maker):
        run_maker.adapter("checkpoint-25")
        rows = [{"step": step, "loss": float(step)} for step in (10, 20, 30)]
        run_maker.write("trainer_state.json", {"log_history": rows})
        (checkpoint,) = read_run(run_maker.root).checkpoints
        assert (checkpoint.loss, checkpoint.eval_loss) == (20.0, None)

    def test_llama_factory_log_where_there_is_no_state(self, run_maker):
        run_maker.adapter()
        run_maker.write("trainer_log.jsonl", '{"current_steps": 5, "loss": 1.5}\n{"current_steps": 10, "eval_lo')
        assert training_curve(read_run(run_maker.root)) == [(5, 1.5, None)]

    @pytest.mark.parametrize("state", ["{", "[]", '{"log_history": {}}', '{"log_history": [{"step": 1, "loss": "x"}]}'])
    def test_a_damaged_state_stops_nothing(self, state, run_maker):
        run_maker.adapter()
        run_maker.write("trainer_state.json", state)
        run = read_run(run_maker.root)
        assert training_curve(run) == []
        damaged = [finding.evidence for finding in findings(run) if finding.code == "GS007"]
        assert bool(damaged) == (state in ("{", "[]"))
        assert str(run_maker.root) not in "".join(damaged)

    def test_no_history_at_all(self, run_maker):
        assert training_curve(read_run(run_maker.adapter())) == []


def test_a_checkpoint_in_the_middle_does_not_hide_what_came_after_it(run_maker):
    for step in (100, 200, 300):
        run_maker.adapter(f"checkpoint-{step}")
        run_maker.trained(f"checkpoint-{step}", list(range(100, step + 1, 100)), best="checkpoint-300")
    run = read_run(run_maker.root / "checkpoint-200")
    assert [(c.path.name, c.loss, c.best) for c in run.checkpoints] == [
        ("checkpoint-100", 1.0, False),
        ("checkpoint-200", 0.5, False),
        ("checkpoint-300", 100 / 300, True),
    ]
