"""Load on real servers: a few answers, and figures that fit each other and the server's own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.live
MODEL = "smollm2:135m"


@pytest.mark.parametrize(("era", "dialect"), [("old_ollama", "/v1"), ("new_ollama", "")])
def test_two_at_once_wait_for_each_other_and_every_token_is_counted(
    request: pytest.FixtureRequest, era: str, dialect: str
) -> None:
    ollama = request.getfixturevalue(era)
    arguments = ["--concurrency", "1,2", "--max-requests", "3", "--tokens", "6", "--gate", "error_rate <= 0", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "ggship", "bench", f"{ollama}{dialect}#{MODEL}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"] is True
    assert document["asked"]["concurrency"] == [1, 2]
    for level in document["levels"]:
        assert level["errors"] == 0
        assert level["answers"] >= 3
        assert level["counted_by"] == "server"
        assert 0 < level["first_token"]["p50"] < level["latency"]["p50"] <= level["latency"]["slowest"]
        # No answer is longer than six tokens, nearly all are as long.
        assert 3 < level["tokens_per_s"] / level["requests_per_s"] <= 7
        # Streams that are never idle: so many of them, over the time an answer takes (Little's law).
        assert level["requests_per_s"] == pytest.approx(level["concurrency"] / level["latency"]["mean"], rel=0.4)
    if not dialect:
        one, two = document["levels"]
        assert two["waiting"]["p50"] > one["waiting"]["p50"]  # OLLAMA_NUM_PARALLEL is 1 there
