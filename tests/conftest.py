"""Every test has a state and a cache directory of its own, and no setting of the machine it runs on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("GGSHIP_") and not name.startswith(
            ("GGSHIP_LIVE_", "GGSHIP_TEST_", "GGSHIP_RECORDED", "GGSHIP_PURE_PYTHON")
        ):
            monkeypatch.delenv(name)
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    state = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("GGSHIP_STATE_DIR", str(state))
    if "GGSHIP_CACHE_DIR" not in os.environ:
        monkeypatch.setenv("GGSHIP_CACHE_DIR", str(state / "cache"))
    return state
