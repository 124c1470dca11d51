"""Two jobs on one model name: nothing goes live on the proof of another, and nobody's base is taken away."""

from __future__ import annotations

import threading

import pytest

from ggship.errors import ServerError
from ggship.releases.promotion import previous_name
from ggship.releases.turns import own_turn
from ggship.runtimes.find import find_runtime
from ggship.ship import package_run


def test_a_second_tag_of_the_name_waits_and_says_for_whom(shop):
    heard: list[str] = []
    waiting = threading.Event()

    def wait(words: str) -> None:
        heard.append(words)
        waiting.set()

    def second() -> None:
        options = shop.options("law:v2", evaluate=False)
        package_run(options, runtime=find_runtime("ollama", shop.server.url), on_wait=wait)

    runtime = find_runtime("ollama", shop.server.url)
    thread = threading.Thread(target=second)
    with own_turn(runtime, "Law:v1"):
        thread.start()
        assert waiting.wait(30)
        assert "another ggship (process" in heard[0]
        assert "law at" in heard[0]
        assert not any("staging" in name for name in shop.server.models)
    thread.join(60)
    assert set(shop.server.models) == {"law:v2", "law:v2-v1"}


def test_other_names_and_the_embedded_runtime_do_not_wait(shop):
    runtime = find_runtime("ollama", shop.server.url)
    with own_turn(runtime, "law"), own_turn(runtime, "ns/law"), own_turn(None, "law"):
        pass


def test_what_was_asked_must_be_what_was_made(shop):
    """Someone on another machine replaces the staged model while it is asked."""
    answer = shop.server.answer

    def replaced(request):
        if "staging" in request["model"]:
            shop.server.hold("law:ggship-staging", b"another model")
        return answer(request)

    shop.server.answer = replaced
    with pytest.raises(ServerError, match="replaced it meanwhile"):
        shop.package()
    assert "law:latest" not in shop.server.models
    assert not (shop.root / "out" / "law").exists()


def test_each_tag_keeps_its_own_model_before(shop):
    for outtype in ("f32", "f16"):
        for name in ("law", "law:prod"):
            shop.package(name, outtype=outtype, evaluate=False)
    assert {"law:previous", "law:previous-prod"} <= set(shop.server.models)
    assert previous_name("ns/law:latest") == "ns/law:previous"


def test_eval_against_another_leaves_the_base_of_a_running_job_alone(shop, capsys):
    shop.package(evaluate=False)
    shop.server.hold("other", b"another model")
    shop.server.hold("law:ggship-base", b"the base of a job that is running")
    assert shop.ggship("eval", shop.root / "out" / "law", "--against", "other") in (0, 3)
    assert "law:ggship-base" in shop.server.models
