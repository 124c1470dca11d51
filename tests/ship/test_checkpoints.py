"""`--all-checkpoints`: each checkpoint is a package, all are asked the same, and the best goes live."""

from __future__ import annotations

import json

import pytest
from jsonschema import validate

from ggship.candidates import compare_checkpoints, prepare_candidates
from ggship.evals.codec import read_report
from ggship.evals.reference import ReferenceCase, summed_up
from ggship.package import read_package
from ggship.progress import Silent
from ggship.reference.record import record
from ggship.runs import read_run
from ggship.runtimes.find import find_runtime
from ggship.settings import templates_dir
from ggship.verify import verify_package

SUITE = """\
version: 1
name: colours
gates: [pass_rate >= 0.3]
tests:
- {id: sky, prompt: What colour is the sky?, assert: [{type: contains, value: blue}]}
- {id: grass, prompt: And grass?, assert: [{type: contains, value: green}]}
- {id: blood, prompt: And blood?, assert: [{type: contains, value: red}]}
"""
LOSSES = {100: (2.0, 1.5), 200: (1.0, 0.9), 300: (0.5, 1.2)}


class Crew:
    """A run with three checkpoints, and what the model of each answers, in the order they are first asked."""

    def __init__(self, shop, tiny_run, answers):
        self.shop, self.answers, self.asked = shop, list(answers), {}
        for step in LOSSES:
            tiny_run(shop.run / f"checkpoint-{step}", seed=step)
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            (shop.run / name).unlink()
        rows = [
            row
            for step, (loss, held) in LOSSES.items()
            for row in ({"step": step, "loss": loss}, {"step": step, "eval_loss": held})
        ]
        state = {"global_step": 300, "log_history": rows}
        (shop.run / "checkpoint-300" / "trainer_state.json").write_text(json.dumps(state))
        self.suite = shop.root / "suite.yaml"
        self.suite.write_text(SUITE)
        shop.server.answer = self.answer

    def answer(self, request):
        if "ggship-base" in request["model"]:
            return "A base."
        name = request["model"] if ":" in request["model"] else f"{request['model']}:latest"
        digest = self.shop.server.models[name].digest()
        return self.asked.setdefault(digest, self.answers[len(self.asked) % len(self.answers)])

    def package(self, *arguments):
        return self.shop.ggship(
            "package", self.shop.run, "--name", "law", "--base", self.shop.base, "--host", self.shop.server.url,
            "--out", self.shop.root / "out" / "law", "--all-checkpoints", "--suite", self.suite, *arguments,
        )  # fmt: skip

    def questions(self):
        """Models that were asked a case of the suite, in order."""
        chats = [body for _, path, body in self.shop.server.requests if path == "/api/chat"]
        asked = [body for body in chats if not body.get("_debug_render_only")]
        counted = [body for body in asked if body["options"].get("num_predict") != 1]  # those are about the prompt
        return [body["model"] for body in counted if body["messages"][-1]["content"] != "Hi"]

    def info(self, name=""):
        return read_package(self.shop.root / "out" / f"law{name}")


BEST_IS_200 = ("blue", "blue, green, red", "blue and green")


@pytest.fixture
def crew(shop, tiny_run):
    """The second checkpoint is the best."""
    return Crew(shop, tiny_run, BEST_IS_200)


@pytest.fixture(params=["shop", "old_shop"])
def each_crew(request, tiny_run):
    """The same, beside an Ollama of each era."""
    return Crew(request.getfixturevalue(request.param), tiny_run, BEST_IS_200)


def test_the_best_by_the_suite_goes_live_and_the_others_are_packages(each_crew, capsys):
    crew = each_crew
    assert crew.package() == 0
    out = capsys.readouterr().out
    chosen, other = crew.info(), crew.info("-checkpoint-300")
    server = crew.shop.server
    assert [name for name in server.models if name.startswith("law")] == ["law:v1", "law:latest"]
    assert crew.asked[server.models["law:latest"].digest()] == "blue, green, red"
    assert chosen.document["run"]["chosen"] == "checkpoint-200, the best of all checkpoints"
    assert other.document["run"]["chosen"] == "checkpoint-300, one of all checkpoints"
    assert chosen.digest == server.models["law:latest"].digest()
    selection = chosen.document["selection"]
    assert selection["chosen"] == "checkpoint-200"
    assert [(one["name"], one["eval_loss"], round(one["pass_rate"], 2)) for one in selection["candidates"]] == [
        ("checkpoint-100", 1.5, 0.33), ("checkpoint-200", 0.9, 1.0), ("checkpoint-300", 1.2, 0.67),
    ]  # fmt: skip
    assert "checkpoint-200" in (chosen.path / "README.md").read_text()
    assert "flatters" in (chosen.path / "README.md").read_text()
    for info in (chosen, other, crew.info("-checkpoint-100")):
        validate(info.document, json.loads((templates_dir() / "schemas/ggship.schema.json").read_text()))
        assert verify_package(info).laws
    table = [line for line in out.splitlines() if line.startswith("checkpoint-")]
    assert "1.5000" in table[0]
    assert table[1].endswith("best")
    assert "66.7 %" in table[2]
    assert crew.shop.ggship("eval", other.path) == 1
    assert "ggship package RUN/CHECKPOINT --name law" in capsys.readouterr().err


def test_the_base_is_asked_once_and_nothing_is_made_twice(crew, capsys):
    assert crew.package() == 0
    asked = crew.questions()
    assert asked.count("law:ggship-base") == 3
    assert len(asked) == 3 + 3 * 3
    made = crew.shop.server.paths("POST").count("/api/create")
    assert crew.package() == 0
    assert crew.questions() == asked
    assert crew.shop.server.paths("POST").count("/api/create") <= made + 1  # whether it takes adapters is asked anew
    assert "nothing to do" in capsys.readouterr().out


class Plug(Silent):
    """Ctrl-C when so many steps have begun."""

    def __init__(self, steps):
        self.left = steps

    def start(self, title, total=None, unit=""):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("steps", [5, 9, 13])
def test_what_was_stopped_goes_on_where_it_stopped(crew, steps, capsys):
    shop, runtime = crew.shop, find_runtime("ollama", crew.shop.server.url)
    prepared = prepare_candidates(shop.options(suite=crew.suite), runtime=runtime)
    with pytest.raises(KeyboardInterrupt):
        compare_checkpoints(prepared, progress=Plug(steps))
    runtime.close()
    assert not [name for name in shop.server.models if name.startswith("law")]
    done = len([path for path in (shop.root / "out").glob("law-*") if path.is_dir()])
    before = len(crew.questions())
    assert crew.package() == 0
    assert len(crew.questions()) - before == 3 * (3 - done) + (0 if done else 3)
    assert crew.info().document["selection"]["chosen"] == "checkpoint-200"


def test_where_none_passes_nothing_goes_live(crew, capsys):
    crew.suite.write_text(SUITE.replace("0.3", "0.9"))
    crew.answers = ["blue", "green", "red"]
    assert crew.package("--json") == 3
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["chosen"] is None
    assert [one["verdict"] for one in document["candidates"]] == ["failed"] * 3
    assert "none of 3 checkpoints passed" in printed.err
    assert "pass_rate >= 0.9" in printed.err
    assert not [name for name in crew.shop.server.models if name.startswith("law")]
    assert not (crew.shop.root / "out" / "law").exists()
    assert crew.info("-checkpoint-100").passed is False


def test_equals_are_told_apart_by_their_eval_loss(crew):
    crew.answers = ["blue"]
    assert crew.package() == 0
    assert crew.info().document["selection"]["chosen"] == "checkpoint-200"


def test_a_checkpoint_that_is_refused_does_not_stop_the_others(crew, tiny_run, capsys):
    tiny_run(crew.shop.run / "checkpoint-200", trained=False)
    (crew.shop.run / "checkpoint-100" / "adapter_model.safetensors").write_bytes(b"short")
    assert crew.package() == 0
    out = capsys.readouterr().out
    assert "untrained" in out
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("checkpoint-100 ")] == ["refused"]
    assert crew.info().document["selection"]["chosen"] == "checkpoint-300"


def test_the_final_adapter_is_a_candidate_unless_it_is_the_last_checkpoint_again(crew, tiny_run, capsys):
    import shutil

    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copy(crew.shop.run / "checkpoint-300" / name, crew.shop.run)
    assert crew.package("--dry-run", "--json") == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)["candidates"]]
    assert names == ["checkpoint-100", "checkpoint-200", "checkpoint-300"]
    tiny_run(crew.shop.run, seed=9)
    assert crew.package("--dry-run", "--json") == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)["candidates"]]
    assert names == ["checkpoint-100", "checkpoint-200", "checkpoint-300", "final"]
    assert not (crew.shop.root / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--no-eval"], "--suite FILE"),
        (["--runtime", "none"], "needs a runtime"),
        (["tone"], "for one run"),
    ],
)
def test_what_cannot_choose_is_a_usage_error(crew, tiny_run, arguments, said, capsys):
    tiny_run(crew.shop.root / "tone", seed=2)
    assert crew.package(*arguments) == 2
    assert said in capsys.readouterr().err


def test_one_checkpoint_that_is_named_is_not_all(crew, capsys):
    one = crew.shop.run / "checkpoint-200"
    assert crew.shop.ggship(
        "package", one, "--name", "law", "--base", crew.shop.base, "--host", crew.shop.server.url, "--all-checkpoints",
        "--suite", crew.suite,
    ) == 2  # fmt: skip
    said = capsys.readouterr().err
    assert "you named one of them" in said
    assert f"ggship package {crew.shop.run} --all-checkpoints" in " ".join(said.split()).replace("- ", "-")


def test_one_checkpoint_leaves_no_choice(shop, tiny_run, capsys):
    (shop.root / "suite.yaml").write_text(SUITE)
    assert shop.ggship(
        "package", shop.run, "--name", "law", "--base", shop.base, "--host", shop.server.url, "--all-checkpoints",
        "--suite", shop.root / "suite.yaml",
    ) == 2  # fmt: skip
    assert "nothing to choose from" in capsys.readouterr().err


def test_figures_of_the_reference_are_kept_when_nothing_is_left_to_do(crew, capsys):
    assert crew.package() == 0
    run = read_run(crew.shop.run / "checkpoint-200")
    case = ReferenceCase("sky", 100, 100, None, (0.25,))
    found = summed_up([case], model="model.gguf", precision="F16", bar=0.99, versions={"peft": "0.21"})
    record(crew.info(), run, found)
    capsys.readouterr()
    assert crew.package() == 0
    assert "nothing to do" in capsys.readouterr().out
    assert read_report(crew.info().path / "eval" / "report.json").reference == found
    assert verify_package(crew.info()).laws
    record(crew.info("-checkpoint-200"), run, found)
    assert crew.package() == 0
    assert verify_package(crew.info()).laws


def test_why_one_was_refused_names_no_folder_of_this_machine(crew, tiny_run):
    tiny_run(crew.shop.run / "checkpoint-100", trained=False)
    (crew.shop.run / "checkpoint-300" / "adapter_model.safetensors").write_bytes(b"short")
    assert crew.package() == 0
    text = (crew.info().path / "ggship.json").read_text()
    refused = [one["refused"] for one in json.loads(text)["selection"]["candidates"]]
    assert "untrained" in refused[0]
    assert "checkpoint-300" in refused[2]
    assert str(crew.shop.root) not in text


def test_the_plan_says_which_base_and_which_prompt(crew, capsys):
    assert crew.package("--dry-run") == 0
    out = capsys.readouterr().out
    assert crew.shop.base.name in out
    assert "stops" in out
    assert crew.package("--dry-run", "--json") == 0
    assert crew.shop.base.name in json.loads(capsys.readouterr().out)["base"]


def test_the_table_fits_a_terminal(crew, capsys):
    assert crew.package() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("checkpoint-200 ")]
    assert max(len(line) for line in lines if line.startswith("checkpoint")) <= 80
