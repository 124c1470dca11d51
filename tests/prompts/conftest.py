"""Runs and bases as values, for tests of what is read from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ggship.bases.model import Base
from ggship.runs.model import Run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A run whose directory holds these JSON files, with or without a chat template."""

    def make(template: str | None = None, **files: Any) -> Run:
        folder = tmp_path / "run"
        folder.mkdir()
        for name, value in files.items():
            (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
        return Run(
            root=folder,
            path=folder,
            chosen="the run itself",
            config={},
            tensors={},
            modules=(),
            unexpressed=(),
            checkpoints=(),
            trainer=None,
            tokenizer_files=tuple(f"{name}.json" for name in files),
            chat_template=template,
            chat_template_source="chat_template.jinja" if template else "",
            base_named="",
            base_revision="",
        )

    return make


@pytest.fixture
def make_base() -> Callable[..., Base]:
    """A base with this GGUF metadata and chat template."""

    def make(template: str | None = None, config_dir: Path | None = None, **metadata: Any) -> Base:
        keys = {f"tokenizer.ggml.{name}": value for name, value in metadata.items()}
        return Base(
            ref="ollama:smollm2:135m",
            architecture="llama",
            found="named with --base",
            ollama_name="smollm2:135m",
            config_dir=config_dir,
            metadata=keys,
            chat_template=template,
        )

    return make
