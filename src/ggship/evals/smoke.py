"""Smoke checks: what every model must do, whatever it was trained for; held against every answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from ggship.evals.metrics import repetition
from ggship.evals.odd import escape_odd
from ggship.evals.report import CaseReport, Rival, SmokeCheck
from ggship.evals.suite import Case, Suite
from ggship.runtimes.model import ChatOptions, Message

DEFAULT_PROMPTS = (
    "Hello! Who are you, and what can you help me with?",
    "In one sentence: what is a contract?",
    "你好，请用一句话介绍你自己。",
)
SMOKE_OPTIONS = ChatOptions(num_predict=512)

# What chat templates put around turns: ChatML and its kin, Llama 2 and Mistral, Gemma, DeepSeek, sentence marks.
# None has a control character in its name.
_LEAKS = re.compile(
    r"<\|[^|<>\x00-\x1f\x7f-\x9f]{1,40}\|>|<｜[^｜<>\x00-\x1f\x7f-\x9f]{1,40}｜>|\[/?INST\]"
    r"|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\]|<</?SYS>>|<(?:start|end)_of_turn>|</s>|\[gMASK\]"
    r"|<\|im_(?:start|end)\b"
)
ENDED = ("stop", "tool_calls", "function_call")  # what servers say where a model ended by itself
TAIL_CHARACTERS = 4000  # a loop shows at the end; over a long text even good prose repeats short n-grams


def smoke_suite(prompts: Sequence[str] = (), *, system: str | None = None) -> Suite:
    """A suite that asserts nothing: the default prompts and the given ones, asked for the smoke checks alone.

    Pass prompts like those of the training, where they are known: a tuned model differs from its base there first.
    """
    head = (Message(role="system", content=system),) if system else ()
    cases = tuple(
        Case(f"smoke-{number}", (*head, Message(role="user", content=prompt)), weight=0.0, options=SMOKE_OPTIONS)
        for number, prompt in enumerate(dict.fromkeys((*prompts, *DEFAULT_PROMPTS)), start=1)
    )
    return Suite(name="smoke", cases=cases)


def empty(case: CaseReport) -> str:
    """Why the answer counts as empty, or ""."""
    if case.tuned.text.strip() or case.tuned.tool_calls:
        return ""
    return "only thinking, no answer" if case.tuned.thinking.strip() else "the answer is empty"


def unstopped(case: CaseReport) -> str:
    """Why the answer did not end by itself, or ""."""
    finish = case.tuned.finish
    if finish in ENDED:
        return ""
    cut = f"cut after {case.tuned.tokens} tokens" if case.tuned.tokens else "cut"
    return cut if finish == "length" else f"ended with “{finish or 'nothing said'}”"


def leak(case: CaseReport, special_tokens: Collection[str] = ()) -> str:
    """Which template token stands in the answer, or "". What the conversation itself quotes is no leak.

    special_tokens: the model's control tokens as text, beyond those that chat templates are known for.
    """
    leaked = leaks(case.tuned.text, case.messages, special_tokens)
    return f"template tokens in the answer: {' '.join(leaked[:5])}" if leaked else ""


def leaks(text: str, messages: Sequence[Message], special_tokens: Collection[str] = ()) -> list[str]:
    """The template tokens that stand in the text and not in the conversation before it."""
    asked = "\n".join(message["content"] for message in messages)
    found = [match.group() for match in _LEAKS.finditer(text)]
    # ChatGLM's `sop` is a token and a part of "philosophy": a token of letters alone proves nothing.
    found += [token for token in special_tokens if token and not token.isalnum() and token in text]
    return [token for token in dict.fromkeys(found) if token not in asked]


def loop(case: CaseReport) -> str:
    """How much of the answer's end goes round in circles, or ""."""
    by_word, by_character = _repeats(case.tuned.text)
    if by_word <= 0.5 and by_character <= 0.6:
        return ""
    return f"{max(by_word, by_character):.0%} of it repeats what stood there before"


def repeats(text: str) -> float:
    """The share of the text's end that stood there before: by 4 words or 8 characters, whichever is more."""
    return max(_repeats(text))


def _repeats(text: str) -> tuple[float, float]:
    tail = text[-TAIL_CHARACTERS:]
    words = tail.split()
    by_word = repetition(words, 4) if len(words) >= 24 else 0.0
    return by_word, repetition("".join(words), 8) if len(tail) >= 48 else 0.0


Test = Callable[[CaseReport], str]

PER_ANSWER: Mapping[str, tuple[str, str]] = {
    "answers": ("every answer says something", "do not answer"),
    "stops": ("every answer ends by itself", "do not end by themselves"),
    "no-leaks": ("no template token in any answer", "show template tokens"),
    "no-loops": ("no answer goes round in circles", "go round in circles"),
}
DIFFERS = "differs"
CHECKS: Collection[str] = (*PER_ANSWER, DIFFERS)
_HINTS = {"stops": "; where answers are meant to be long, raise num_predict in the suite"}


def check_smoke(
    cases: Sequence[CaseReport],
    *,
    special_tokens: Collection[str] = (),
    allowed: Mapping[str, float] | None = None,
    rival: Rival = "base",
) -> tuple[SmokeCheck, ...]:
    """Each check over all answers of the tuned model; cases without an answer count elsewhere.

    allowed: by check, the share of answers that may break it.
    """
    answered = [one for case in cases for one in _each_answer(case) if one.tuned.finish or one.tuned.outcome != "error"]
    tests: dict[str, Test] = {
        "answers": empty,
        "stops": unstopped,
        "no-leaks": lambda case: leak(case, special_tokens),
        "no-loops": loop,
    }
    limits = allowed or {}
    each = (_each(name, test, answered, limits.get(name, 0.0)) for name, test in tests.items())
    return (*each, _differs(cases) if rival == "base" else SmokeCheck(DIFFERS, "skipped", "not asked beside its base"))


def _each_answer(case: CaseReport) -> list[CaseReport]:
    """The case, once for each time that it was asked."""
    if not case.tuned.attempts:
        return [case]
    return [
        replace(
            case, tuned=replace(case.tuned, text=one.text, finish=one.finish, tool_calls=one.tool_calls, attempts=())
        )
        for one in case.tuned.attempts
        if one.finish
    ]


def _each(name: str, test: Test, answered: Sequence[CaseReport], allowed: float) -> SmokeCheck:
    good, bad = PER_ANSWER[name]
    if not answered:
        return SmokeCheck(name, "error", "there is no answer to look at")
    broken = {case.id: why for case in answered if (why := test(case))}
    if not broken:
        return SmokeCheck(name, "pass", good)
    first, why = next(iter(broken.items()))
    # A reason quotes the answer, and goes to terminals.
    count = escape_odd(" ".join(f"{len(broken)} of {len(answered)} answers {bad} ({first}: {why})".split()))
    if len(broken) <= allowed * len(answered):
        return SmokeCheck(name, "pass", f"{count}; the suite allows {allowed:.0%}", tuple(broken))
    return SmokeCheck(name, "fail", count + _HINTS.get(name, ""), tuple(broken))


def _differs(cases: Sequence[CaseReport]) -> SmokeCheck:
    if all(case.base is None for case in cases):
        return SmokeCheck(DIFFERS, "skipped", "there is no base to compare with")
    pairs = [case for case in cases if case.changed is not None]
    if not pairs:
        return SmokeCheck(DIFFERS, "error", "no case was answered by both models")
    changed = sum(bool(case.changed) for case in pairs)
    if changed:
        return SmokeCheck(DIFFERS, "pass", f"{changed} of {len(pairs)} answers differ from the base's")
    return SmokeCheck(
        DIFFERS,
        "fail",
        f"all {len(pairs)} answers are the base's own, to the letter: the training is not in this model",
        tuple(case.id for case in pairs),
    )
