"""The figures are a part of the package: its checksums hold, it is not made again, and what failed goes nowhere."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from ggship.errors import BaseNotFound, Damaged, GateFailed, NotARun, Refused
from ggship.evals import read_report
from ggship.evals.reference import Reference, ReferenceCase, bar_of, summed_up
from ggship.progress import Silent
from ggship.reference.materials import find_materials
from ggship.reference.record import record
from ggship.releases import load_package
from ggship.releases.proof import need_proof
from ggship.runs import read_run
from ggship.verify import verify_package


def _ship() -> Any:
    path = Path(__file__).parents[1] / "ship" / "conftest.py"
    spec = importlib.util.spec_from_file_location("ggship_ship_fixtures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SHIP = _ship()
make_server = SHIP.make_server


@pytest.fixture
def packaged(tmp_path: Path, make_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A shop with the package `law` made, on a small Ollama."""
    monkeypatch.chdir(tmp_path)
    shop = SHIP.Shop(
        tmp_path, make_server("0.34.4"), SHIP.write_base(tmp_path / "base.gguf"), SHIP.write_run(tmp_path / "lora-out")
    )
    shop.package()
    return shop


def measured(agreed: int) -> Reference:
    case = ReferenceCase("smoke-1", 100, agreed, None if agreed == 100 else 7, (0.25,))
    return summed_up([case], model="model.f16.gguf", precision="F16", bar=bar_of("F16"), versions={"peft": "0.21"})


def test_it_stands_in_the_report_and_the_package_is_whole(packaged):
    info = load_package("law")
    before = read_report(info.path / "eval" / "report.json")
    assert record(info, read_run(packaged.run), measured(100)) is not None

    report = read_report(info.path / "eval" / "report.json")
    assert report.reference == measured(100)
    assert (report.cases, report.passed) == (before.cases, True)
    page = (info.path / "eval" / "report.html").read_text()
    assert "100 of 100 as base + adapter in Transformers" in page
    assert "sha256" in page, "where the model came from is still told"
    verify_package(load_package("law"))
    assert packaged.package().ran == ()


@pytest.mark.parametrize(
    "moved", [(), ("eval/report.json",), ("eval/suite.yaml", "eval/report.json", "eval/junit.xml")]
)
def test_killed_while_it_moves_what_is_written_it_is_finished_by_the_next_look(packaged, moved):
    info = load_package("law")
    old = {path: path.read_bytes() for path in info.path.rglob("*") if path.is_file()}
    record(info, read_run(packaged.run), measured(100))
    new = {path: path.read_bytes() for path in old}
    # As it was when it was killed: all is written beside the package, some of it is moved.
    for path, content in old.items():
        name = path.relative_to(info.path)
        if name.as_posix() not in moved and content != new[path]:
            waiting = info.path.with_name(".law.rewritten") / name
            waiting.parent.mkdir(parents=True, exist_ok=True)
            waiting.write_bytes(new[path])
            path.write_bytes(content)
    verify_package(load_package("law"))
    assert {path: path.read_bytes() for path in old} == new
    assert not info.path.with_name(".law.rewritten").exists()


def test_killed_while_it_writes_the_package_is_as_it_was(packaged):
    info = load_package("law")
    half = info.path.with_name(".law.rewriting")
    half.mkdir()
    (half / "junk").write_text("half")
    verify_package(info)
    record(info, read_run(packaged.run), measured(100))
    verify_package(load_package("law"))
    assert not half.exists()


def test_what_is_not_what_was_trained_goes_nowhere(packaged):
    info = load_package("law")
    need_proof(info, info.digest)
    report = record(info, read_run(packaged.run), measured(60))
    assert report is not None
    assert not report.passed
    assert "60 of 100 tokens" in report.verdict.reasons[0]
    assert 'failures="1"' in (info.path / "eval" / "junit.xml").read_text()
    with pytest.raises(GateFailed, match="not what was trained"):
        need_proof(info, info.digest)
    assert need_proof(info, info.digest, force=True)


def test_a_package_that_was_changed_is_not_signed_again(packaged):
    info = load_package("law")
    (info.path / "Modelfile").write_text("FROM other\n")
    with pytest.raises(Damaged):
        record(info, read_run(packaged.run), measured(100))


def test_run_and_base_are_remembered(packaged):
    found = find_materials(load_package("law"), progress=Silent())
    assert found.run.path.resolve() == packaged.run.resolve()
    assert found.weights == packaged.base.resolve()
    assert found.served.model is not None
    assert found.served.model.name.startswith("model.")


def test_another_run_is_refused(packaged, tmp_path):
    other = SHIP.write_run(tmp_path / "other", seed=9)
    with pytest.raises(Refused, match="another run") as caught:
        find_materials(load_package("law"), run=other, progress=Silent())
    assert "--run" in caught.value.hint


def test_the_same_weights_with_another_config_are_refused(packaged):
    config = packaged.run / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 16'))
    with pytest.raises(Refused, match=r"adapter_config\.json"):
        find_materials(load_package("law"), progress=Silent())


def test_the_checkpoint_that_was_packaged_is_found_in_its_run(packaged, tmp_path):
    run = tmp_path / "again"
    packaged.run.rename(run / "checkpoint-10" if run.mkdir() is None else run)
    SHIP.write_run(run, seed=9)
    found = find_materials(load_package("law"), run=run, progress=Silent())
    assert found.run.path.name == "checkpoint-10"


def test_another_base_is_refused(packaged, tmp_path):
    other = SHIP.write_base(tmp_path / "other.gguf", seed=9)
    with pytest.raises(Refused, match="another base"):
        find_materials(load_package("law"), base=str(other), progress=Silent())


def test_what_is_gone_is_asked_for(packaged, tmp_path):
    run = packaged.run.rename(tmp_path / "elsewhere")
    with pytest.raises(NotARun) as gone:
        find_materials(load_package("law"), progress=Silent())
    assert gone.value.hint == "name it: --run RUN"
    base = packaged.base.rename(tmp_path / "moved.gguf")
    with pytest.raises(BaseNotFound) as lost:
        find_materials(load_package("law"), run=run, progress=Silent())
    assert "--base" in lost.value.hint
    assert find_materials(load_package("law"), run=run, base=str(base), progress=Silent()).weights == base


@pytest.mark.parametrize("option", [("--run", "x"), ("--base", "x"), ("--limit", 3), ("--at-least", 0.9)])
def test_options_of_the_reference_without_it_are_a_mistake(packaged, option, capsys):
    assert packaged.ggship("verify", "law", *option) == 2
    assert "add --reference" in capsys.readouterr().err


def test_without_the_extra_the_line_to_type_is_named(packaged, tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "peft", raising=False)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if "site-packages" not in part])
    assert packaged.ggship("verify", "law", "--reference") == 1
    assert "pip install 'ggship[hf]'" in capsys.readouterr().err
