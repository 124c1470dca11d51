"""Fixtures of the GGUF tests: small models and adapters, written with gguf's own writer."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def models() -> ModuleType:
    """The module models.py beside this file."""
    spec = importlib.util.spec_from_file_location("gguf_test_models", HERE / "models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def adapter(models, tmp_path) -> Callable[..., Path]:
    """Write a random adapter for a model: (model, tensors=..., rank=4, scale=0.02, ...) -> path."""

    def make(model, tensors=None, *, rank=4, scale=0.02, seed=1, name="adapter.gguf", **options) -> Path:
        rng = np.random.default_rng(seed)
        shapes = model.shapes()
        wanted = tensors or [name for name, shape in shapes.items() if name.startswith("blk.") and len(shape) > 1]
        pairs = {}
        for tensor in wanted:
            *stack, rows, columns = shapes[tensor]
            a = rng.uniform(-1, 1, (*stack, rank, columns)).astype(np.float32) / np.float32(columns**0.5)
            b = (rng.standard_normal((*stack, rows, rank)) * scale).astype(np.float32)
            pairs[tensor] = (a, b)
        return models.write_adapter(tmp_path / name, model.arch, pairs, **options)

    return make


@pytest.fixture(scope="session")
def llama_cpp() -> Callable[[str], Path]:
    """A program of llama.cpp: from $LLAMA_CPP_DIR or the path. Live tests ask for it, so it must be there."""

    def find(program: str) -> Path:
        folder = os.environ.get("LLAMA_CPP_DIR") or os.environ.get("GGSHIP_LIVE_LLAMA_CPP")
        found = Path(folder) / program if folder else shutil.which(program)
        if not found or not Path(found).exists():
            pytest.fail(f"{program} is not on the path and not in LLAMA_CPP_DIR")
        return Path(found)

    return find
