"""The example holds together: its data, its suite, and the run that training left."""

from __future__ import annotations

import csv
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "law-helper"
RUN = EXAMPLE / "lora-out"
HEADER = ["title", "question", "reply", "is_best"]
HAN = re.compile("[\u4e00-\u9fff]")
MIB = 1 << 20
Row = dict[str, str]


def read_rows(name: str) -> list[Row]:
    with (EXAMPLE / "data" / name).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        assert reader.fieldnames == HEADER
        return list(reader)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows("law_qa.csv")


@pytest.fixture(scope="module")
def held_out() -> list[Row]:
    return read_rows("held_out.csv")


def safetensors_header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    assert 8 + length + max(entry["data_offsets"][1] for entry in header.values()) == path.stat().st_size
    return header


def test_there_are_enough_rows_and_every_one_is_whole(rows: list[Row], held_out: list[Row]) -> None:
    assert len(rows) >= 60
    assert len(held_out) >= 12
    for row in rows + held_out:
        assert set(row) == set(HEADER), f"a row with more or fewer fields: {row}"
        assert row["title"].strip()
        assert row["reply"].strip()
        assert row["is_best"] in {"0", "1"}


def test_every_question_has_exactly_one_best_reply(rows: list[Row]) -> None:
    best: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        best.setdefault((row["title"], row["question"]), []).append(row["is_best"])
    assert {marks.count("1") for marks in best.values()} == {1}
    assert any(len(marks) > 1 for marks in best.values()), "no question with an alternate reply"


def test_the_languages_are_about_half_and_half(rows: list[Row], held_out: list[Row]) -> None:
    for split in (rows, held_out):
        chinese = sum(bool(HAN.search(row["title"])) for row in split)
        assert 0.4 <= chinese / len(split) <= 0.6


def test_the_csv_has_what_breaks_careless_readers(rows: list[Row]) -> None:
    assert any("\n" in row["question"] for row in rows)
    assert any("\n" in row["reply"] for row in rows)
    assert any("," in row["reply"] for row in rows)
    assert any('"' in row["reply"] for row in rows)
    assert any(not row["question"] for row in rows)


def test_nothing_held_out_was_trained_on(rows: list[Row], held_out: list[Row]) -> None:
    assert not {row["title"] for row in rows} & {row["title"] for row in held_out}


def test_the_run_is_small_enough_to_commit() -> None:
    assert (RUN / "adapter_model.safetensors").stat().st_size <= 6 * MIB
    assert sum(path.stat().st_size for path in RUN.rglob("*") if path.is_file()) < 16 * MIB


def test_the_run_holds_nothing_that_runs_code_when_it_is_read() -> None:
    kinds = {path.suffix for path in RUN.rglob("*") if path.is_file()}
    assert kinds <= {".safetensors", ".json", ".jinja", ".md", ".txt"}


def test_the_run_names_no_path_of_the_machine_that_trained_it() -> None:
    for path in RUN.rglob("*"):
        if path.suffix in {".json", ".md", ".jinja"}:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?<![\w/.:<])/(?:home|root|tmp|work|Users|data|mnt)/", text), path
    config = json.loads((RUN / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.mark.parametrize("folder", ["", "checkpoint-*"])
def test_every_adapter_is_whole_and_of_rank_8(folder: str) -> None:
    folders = list(RUN.glob(folder)) if folder else [RUN]
    assert folders
    for place in folders:
        config = json.loads((place / "adapter_config.json").read_text(encoding="utf-8"))
        assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 8, 16)
        header = safetensors_header(place / "adapter_model.safetensors")
        pairs = {name.rsplit(".lora_", 1)[0] for name in header}
        assert len(header) == 2 * len(pairs) == 2 * 30 * len(config["target_modules"])
        for name, entry in header.items():
            assert entry["shape"]["lora_B" in name] == 8, name


def test_the_history_names_a_checkpoint_that_is_there() -> None:
    state = json.loads((RUN / "trainer_state.json").read_text(encoding="utf-8"))
    assert len(list(RUN.glob("checkpoint-*"))) == 2
    assert (RUN / state["best_model_checkpoint"] / "trainer_state.json").is_file()
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert losses[-1] < losses[0] / 5


def test_the_run_brings_its_chat_template() -> None:
    template = (RUN / "chat_template.jinja").read_text(encoding="utf-8")
    assert "You are a helpful AI assistant named SmolLM" in template
    assert (RUN / "tokenizer.json").is_file()


def test_the_suite_asks_in_both_languages_what_was_trained_and_what_was_not(
    rows: list[Row], held_out: list[Row]
) -> None:
    from ggship.evals.load import load_suite

    suite = load_suite(EXAMPLE / "suite.yaml")
    trained = {"\n".join(filter(None, (row["title"], row["question"]))) for row in rows}
    others = {row["title"] for row in held_out}
    assert 24 <= len(suite.cases) <= 30
    for case in suite.cases:
        assert case.messages[-1]["content"] in (trained if "trained" in case.tags else others), case.id
        assert case.options.temperature == 0
    assert {("en" in case.tags, "trained" in case.tags) for case in suite.cases} == {
        (english, known) for english in (True, False) for known in (True, False)
    }
    assert suite.gates == ("pass_rate >= 0.8", "delta_pass_rate > 0.4", "regressions <= 0")


def test_every_fact_that_the_suite_wants_is_in_the_answer_that_was_trained(
    rows: list[Row], held_out: list[Row]
) -> None:
    from ggship.evals.load import load_suite

    best = {
        "\n".join(filter(None, (row["title"], row["question"]))): row["reply"]
        for row in rows + held_out
        if row["is_best"] == "1"
    }
    for case in load_suite(EXAMPLE / "suite.yaml").cases:
        answer = best[case.messages[-1]["content"]].lower()
        for assertion in case.assertions:
            assert str(assertion.value).lower() in answer, case.id
