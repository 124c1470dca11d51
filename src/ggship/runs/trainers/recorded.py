"""Settings as trainers write them, in our words: only what is named here is taken, and only what may be shown anywhere.

No path of the machine that trained and no secret may reach a package, so nothing is taken whole: each reader names the
fields that it wants, numbers and flags are taken as they are, words only where they look like a word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ggship.runs.training import Setting, Value

# Numbers that YAML 1.1 reads as text (2e-4 has no dot), and that forms keep as text.
_NUMBER = re.compile(r"[+-]?(?:\d{1,18}\.?\d{0,18}|\.\d{1,18})(?:[eE][+-]?\d{1,3})?")
_WORD = re.compile(r"[\w .,:+=()%#@-]{1,80}")
_SECRETS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}|gh[pousr]_\w{16,}|xox[a-z]-[\w-]{10,}|AKIA[A-Z0-9]{12,})"
    r"|\b[0-9a-fA-F]{32,}\b"
)
_REPOSITORY = re.compile(r"(?:(?:hf|ms)::)?[\w.-]+/[\w.-]+(?::[\w.,-]+)*(?:#\d+)?", re.IGNORECASE)
_DATA_FILE = re.compile(r"\.(?:jsonl?|csv|tsv|parquet|arrow|txt)(?:\.\w+)?(?:#\d+)?", re.IGNORECASE)
_TEXTS = ("system",)
_LISTS = ("datasets", "eval_datasets", "frameworks")
_WORDS = frozenset(
    ("optimizer", "scheduler", "precision", "template", "loss_scale", "quantization", "trained_on", "method")
)
_COMPARED = ("learning_rate", "seed")
_TEXT_LIMIT = 20_000
_LIST_LIMIT = 50


def pick(values: Mapping[str, Any], names: Mapping[str, str], source: str) -> Iterator[Setting]:
    """The settings of `values` that `names` knows (theirs -> ours); what is null, empty or of another type is none."""
    for theirs, ours in names.items():
        value = clean(ours, values.get(theirs))
        if value is not None:
            yield Setting(ours, value, source)


def clean(name: str, value: Any) -> Value | None:
    """The value of a setting of ours, as it may be shown anywhere; None where it is none."""
    if name in _LISTS:
        items = value if isinstance(value, list | tuple) else str(value).split(",") if isinstance(value, str) else ()
        named = tuple(filter(None, (_listed(name, item) for item in items[:_LIST_LIMIT])))
        return named or None
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < 1e300 else None  # NaN and infinity too
    if not isinstance(value, str):
        return None
    if name in _TEXTS:
        return without_secrets(value[:_TEXT_LIMIT]) or None
    if _NUMBER.fullmatch(value):
        number = float(value)
        return int(value) if value.isdigit() else number if math.isfinite(number) else None
    word = value.strip()
    known = name in _WORDS and _WORD.fullmatch(word) and word.lower() not in ("none", "null", "auto")
    return without_secrets(word) if known else None


def precision(values: Mapping[str, Any]) -> Mapping[str, str]:
    """{"precision": "bf16"} where that flag is set, as transformers, Axolotl and LLaMA-Factory have it."""
    return next(({"precision": name} for name in ("bf16", "fp16") if values.get(name) is True), {})


def without_secrets(text: str) -> str:
    """The text, with what looks like a token of a hub or service left out."""
    return _SECRETS.sub("***", text)


def _listed(name: str, item: Any) -> str:
    if not isinstance(item, str) or not item.strip():
        return ""
    text = " ".join(without_secrets(item).split())[:200]
    return text if name == "frameworks" else _dataset(text)


def _dataset(text: str) -> str:
    """A dataset by its name, or by its repository on a hub; by the last part of its path where it is a file."""
    text = re.sub(r"\?.*", "", text)
    if _REPOSITORY.fullmatch(text) and not _DATA_FILE.search(text) and not text.startswith("."):
        return text
    return re.split(r"[\\/]", text.rstrip("\\/"))[-1]


def merged(groups: Iterable[Iterable[Setting]]) -> tuple[tuple[Setting, ...], tuple[str, ...]]:
    """(settings by name, doubts): the first group that knows a setting says it; doubts tell where a later one differs.

    Compared are those that mean the same in every file. A batch size may be that of one device or of all, and the
    Trainer rounds epochs up.
    """
    found: dict[str, Setting] = {}
    doubts: list[str] = []
    for setting in (setting for group in groups for setting in group):
        first = found.setdefault(setting.name, setting)
        if setting.name in _COMPARED and first.source != setting.source and _differ(first.value, setting.value):
            doubts.append(f"{setting.name} is {first.value} in {first.source}, and {setting.value} in {setting.source}")
    return tuple(found[name] for name in sorted(found)), tuple(doubts)


def _differ(one: Value, other: Value) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return numbers and not math.isclose(float(one), float(other), rel_tol=1e-6)  # type: ignore[arg-type]
