"""`ggship eval hf:RUN`: what was trained, asked the same suite as what is served."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ggship.errors import ServerError
from ggship.evals import read_report
from ggship.reference.unpackaged import open_run
from ggship.runtimes.model import Answer, ChatOptions, Message

pytestmark = pytest.mark.hf


def evaluated(shop, capsys, *arguments: object) -> tuple[int, dict, str]:
    capsys.readouterr()
    code = shop.ggship("eval", *arguments, "--json")
    told = capsys.readouterr()
    return code, json.loads(told.out) if told.out else {}, told.err


def whole(text: str) -> str:
    """Without what is no character at its end: a random model says such bytes, and llama.cpp holds them back."""
    return text.rstrip("\ufffd")


def texts(report: dict, side: str = "tuned") -> list[str]:
    return [whole(case[side]["text"]) for case in report["cases"]]


def test_the_run_answers_as_its_package_does_and_its_base_does_not(shop, capsys) -> None:
    assert shop.make() == 0
    packaged = [whole(case.tuned.text) for case in read_report(shop.package / "eval" / "report.json").cases]
    suite = shop.root / "suite.yaml"

    code, report, err = evaluated(shop, capsys, f"hf:{shop.run}", "--base", shop.base, "--suite", suite)
    assert code == 0, err
    assert texts(report) == packaged
    assert texts(report, "base") != packaged
    assert report["base"]["label"].endswith("without its adapter")
    assert report["tuned"]["digest"] != report["base"]["digest"]
    assert all(case["tuned"]["prompt_tokens"] and case["tuned"]["tokens"] for case in report["cases"])
    assert report["timing"]["tuned"]["first_token_p50_seconds"] > 0

    code, report, err = evaluated(shop, capsys, "law", "--against", f"hf:{shop.run}", "--base", shop.base)
    assert code in (0, 3), err
    assert texts(report, "base") == texts(report) == packaged


def test_what_it_cannot_be_asked_is_an_error_of_that_question_alone(shop) -> None:
    def said(*, stop: tuple[str, ...] = (), words: int = 1, tools: tuple = ()) -> Answer:
        asked = [Message(role="user", content="Which law? " * words)]
        return run.tuned.chat(asked, ChatOptions(num_predict=8, stop=stop, tools=tools))

    with open_run(f"hf:{shop.run}", base=str(shop.base)) as run:
        with pytest.raises(ServerError, match="cannot be offered tools"):
            said(tools=({"type": "function", "function": {"name": "law"}},))
        with pytest.raises(ServerError, match="tokens long, and the model was made for 512"):
            said(words=60)
        fine = said().text
        stop = next(letter for letter in fine[1:] if letter.isascii() and letter.isprintable())
        cut = said(stop=(stop,))
        assert (whole(cut.text), cut.finish) == (whole(fine[: fine.index(stop)]), "stop")


def test_a_run_that_is_none_says_so(shop, capsys, tmp_path: Path) -> None:
    code, _, err = evaluated(shop, capsys, f"hf:{tmp_path / 'nothing'}", "--base", shop.base)
    assert code == 1
    assert "nothing" in err
    code, _, err = evaluated(shop, capsys, "hf:", "--base", shop.base)
    assert code == 2
    assert "hf:RUN" in err
