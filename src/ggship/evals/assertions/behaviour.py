"""Assertions on how a model answered: when it stopped, how fast, in which script, and whether it is the base still."""

from __future__ import annotations

import unicodedata
from collections import Counter

from ggship.errors import ToolFailed, UsageError
from ggship.evals.assertions.registry import TOLERANCE, Judgement, Subject, assertion, yes_no
from ggship.evals.document import did_you_mean
from ggship.evals.smoke import ENDED, leaks, repeats


@assertion("finish-reason", "text", "the answer ended for this reason: stop, length, tool_calls")
def _finish_reason(subject: Subject) -> Judgement:
    wanted, said = subject.value.strip().lower(), subject.said.finish
    return yes_no(said.lower() == wanted, f"ended with {said}", f"ended with {said or 'nothing said'}, not {wanted}")


@assertion("stops", "none", "the answer ended by itself, and was not cut")
def _stops(subject: Subject) -> Judgement:
    finish = subject.said.finish
    return yes_no(finish in ENDED, "ended by itself", f"ended with {finish or 'nothing said'}")


@assertion("latency", "none", "the answer took at most `threshold` milliseconds", threshold_is="count")
def _latency(subject: Subject) -> Judgement:
    # No figure in the reason: where the same answers come again, reports are the same to the byte.
    if subject.said.seconds is None:
        raise ToolFailed("how long the answer took is not known")
    limit = subject.threshold
    return yes_no(1000 * subject.said.seconds <= limit, f"within {limit:g} ms", f"took longer than {limit:g} ms")


@assertion(
    "differs-from-base",
    "none",
    "the answer is not the base's own to the letter (the base is not held to it)",
    needs=("base",),
)
def _differs_from_base(subject: Subject) -> Judgement:
    if subject.said.base is None:
        raise ToolFailed("the base did not answer, so there is nothing to differ from")
    return yes_no(
        subject.text != subject.said.base.strip(), "differs from the base", "is the base's own, to the letter"
    )


@assertion("no-template-leak", "none", "no token of a chat template shows, such as <|im_end|>")
def _no_template_leak(subject: Subject) -> Judgement:
    found = leaks(subject.text, subject.said.messages)
    return yes_no(not found, "shows no template token", f"shows {' '.join(found[:5])}")


@assertion(
    "no-repetition",
    "none",
    "at most `threshold` of the answer's end repeats what stood before",
    threshold=0.5,
    threshold_is="score",
)
def _no_repetition(subject: Subject) -> Judgement:
    share = repeats(subject.text)
    passed = share <= subject.threshold + TOLERANCE
    return Judgement(passed, 1 - share, f"{share:.0%} of it repeats, {subject.threshold:.0%} allowed")


_SCRIPTS = {
    "han": ("CJK UNIFIED", "CJK COMPATIBILITY"),
    "kana": ("HIRAGANA", "KATAKANA"),
    "hangul": ("HANGUL",),
    "latin": ("LATIN",),
    "cyrillic": ("CYRILLIC",),
    "greek": ("GREEK",),
    "arabic": ("ARABIC",),
    "hebrew": ("HEBREW",),
    "devanagari": ("DEVANAGARI",),
    "thai": ("THAI",),
}
_SCRIPTS["cjk"] = _SCRIPTS["han"] + _SCRIPTS["kana"] + _SCRIPTS["hangul"]


def _check_script(name: str) -> None:
    if name.strip().lower() not in _SCRIPTS:
        raise UsageError(f"unknown script `{name}`", hint=did_you_mean(name.lower(), _SCRIPTS))


@assertion(
    "script",
    "text",
    "at least `threshold` of the letters are of this script: han, cjk, latin, ...",
    threshold=0.5,
    threshold_is="score",
    validate=_check_script,
)
def _script(subject: Subject) -> Judgement:
    wanted = subject.value.strip().lower()
    letters = Counter(mark for mark in subject.text if mark.isalpha())
    total = sum(letters.values())
    ours = sum(count for mark, count in letters.items() if unicodedata.name(mark, "").startswith(_SCRIPTS[wanted]))
    share = ours / total if total else 0.0
    passed = share >= subject.threshold - TOLERANCE
    return Judgement(passed, share, f"{share:.0%} of the letters are {wanted}, {subject.threshold:.0%} wanted")
