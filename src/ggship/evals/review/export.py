"""What people said, as data for the next training: pairs of a chosen and a rejected answer, or all of it as a table."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggship.evals.humans import Item, Judgement, Side
from ggship.runtimes.model import Message

FORMATS = ("dpo", "llama-factory", "csv")
_ROLES: Mapping[str, str] = {"user": "human", "assistant": "gpt", "tool": "observation"}
_COLUMNS = (
    "case",
    "reviewer",
    "at",
    "preferred",
    "stood_first",
    "tuned_mark",
    "base_mark",
    "question",
    "tuned",
    "base",
    "tuned_edit",
    "base_edit",
    "comment",
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One answer that people prefer to another, after the same conversation. Law: they are not the same."""

    messages: tuple[Message, ...]
    chosen: str
    rejected: str


def pairs_of(items: Sequence[Item], judgements: Sequence[Judgement]) -> tuple[Pair, ...]:
    """Every pair that the judgements of these very answers give, in the order of the suite, none of them twice.

    An answer that was edited gives the edited text over itself. The answer that more readers prefer is chosen over the
    other one; as it was edited, where nobody accepted it as it is. What as many people reject as take is never chosen.
    """
    found: dict[tuple[str, str, str], Pair] = {}
    for item in items:
        latest = {one.reviewer: one for one in judgements if one.of_pair(item)}
        for pair in (*_edits(item, latest.values()), *_preferred(item, latest.values())):
            if pair.chosen.strip() and pair.chosen.strip() != pair.rejected.strip():
                found.setdefault((item.question, pair.chosen, pair.rejected), pair)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file; count: of the pairs in it, for csv of the judgements; left_out: pairs that the format cannot say."""

    text: str
    count: int
    left_out: int = 0


def render(form: str, items: Sequence[Item], judgements: Sequence[Judgement]) -> Rendered:
    """The file. form: one of `FORMATS`.

    dpo: JSON lines as TRL's trainers take them (prompt, chosen and rejected are lists of messages). llama-factory: a
    JSON list in its ShareGPT layout with `ranking`; `dataset_info` says how it is declared. csv: a line a judgement.
    """
    if form == "csv":
        return _table(items, judgements)
    pairs = pairs_of(items, judgements)
    if form == "dpo":
        return Rendered("".join(json.dumps(_trl(pair), ensure_ascii=False) + "\n" for pair in pairs), len(pairs))
    rows = [row for row in map(_llama_factory, pairs) if _takes_turns(row["conversations"])]
    text = json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
    return Rendered(text, len(rows), len(pairs) - len(rows))


def dataset_info(file: Path) -> dict[str, Any]:
    """The entry of LLaMA-Factory's dataset_info.json for such a file.

    Source: LLaMA-Factory, data/README.md, preference dataset in ShareGPT format.
    """
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "system": "system"}
    return {file.stem: {"file_name": file.name, "formatting": "sharegpt", "ranking": True, "columns": columns}}


def _edits(item: Item, latest: Collection[Judgement]) -> list[Pair]:
    pairs = []
    for one in latest:
        for edit, text in ((one.tuned_edit, item.tuned), (one.base_edit, item.base)):
            if edit and text is not None:
                pairs.append(Pair(item.messages, edit, text))
    return pairs


def _preferred(item: Item, latest: Collection[Judgement]) -> list[Pair]:
    if item.sides == 1 or item.base is None:
        return []
    votes = Counter(one.prefer for one in latest)
    if votes["tuned"] == votes["base"]:
        return []
    winner: Side = "tuned" if votes["tuned"] > votes["base"] else "base"
    marks = Counter(one.tuned_mark if winner == "tuned" else one.base_mark for one in latest)
    if marks["reject"] >= max(1, marks["accept"] + marks["edit"]):
        return []
    answers = {"tuned": item.tuned, "base": item.base}
    edits = [one.tuned_edit if winner == "tuned" else one.base_edit for one in latest]
    chosen = next((edit for edit in edits if edit), answers[winner]) if not marks["accept"] else answers[winner]
    return [Pair(item.messages, chosen, answers["base" if winner == "tuned" else "tuned"])]


def _trl(pair: Pair) -> dict[str, Any]:
    """Source: TRL, dataset formats, preference with explicit prompt, conversational."""
    return {
        "prompt": [dict(message) for message in pair.messages],
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }


def _llama_factory(pair: Pair) -> dict[str, Any]:
    system = [turn["content"] for turn in pair.messages if turn["role"] == "system"]
    turns = [turn for turn in pair.messages if turn["role"] != "system"]
    return {
        "conversations": [_turn(turn) for turn in turns],
        "chosen": {"from": "gpt", "value": pair.chosen},
        "rejected": {"from": "gpt", "value": pair.rejected},
        "system": "\n".join(system),
    }


def _takes_turns(turns: Sequence[Mapping[str, str]]) -> bool:
    """Whether people and model take turns and people have the last word: LLaMA-Factory skips all else.

    Source: LLaMA-Factory, data/converter.py, SharegptDatasetConverter.
    """
    asking = [turn["from"] in ("human", "observation") for turn in turns]
    return bool(asking) and len(asking) % 2 == 1 and all(ask is (n % 2 == 0) for n, ask in enumerate(asking))


def _turn(turn: Message) -> dict[str, str]:
    calls = turn.get("tool_calls", ())
    if not calls:
        return {"from": _ROLES[turn["role"]], "value": turn["content"]}
    called = [
        {"name": call["function"]["name"], "arguments": _arguments(call["function"]["arguments"])} for call in calls
    ]
    return {"from": "function_call", "value": json.dumps(called[0] if len(called) == 1 else called, ensure_ascii=False)}


def _arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _table(items: Sequence[Item], judgements: Sequence[Judgement]) -> Rendered:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    count = 0
    for item in items:
        latest = {one.reviewer: one for one in judgements if one.of_pair(item)}
        for one in latest.values():
            count += 1
            question = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in item.messages)
            row = (
                item.id,
                one.reviewer,
                one.at,
                one.prefer or "",
                one.left,
                one.tuned_mark or "",
                one.base_mark or "",
                question,
                item.tuned,
                item.base or "",
                one.tuned_edit,
                one.base_edit,
                one.comment,
            )
            writer.writerow([_inert(cell) for cell in row])
    return Rendered(file.getvalue(), count)


def _inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: what a model said may begin like one."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
