"""ChatGLM3's finetune_demo: `{"conversations": [{"role", "content"}], "tools": [...]}`, as JSON or JSON lines."""

from __future__ import annotations

import json

from ggship.evals.datasets.model import Example, Format, Record, RowError, Values, list_of, row_by_row, text_of
from ggship.evals.datasets.turns import answer, call, example, say, tools_of
from ggship.runtimes.model import Message

ROLES = ("system", "user", "assistant")


def _fits(values: Values) -> bool:
    turns = values.get("conversations")
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and "role" in turns[0]


def _make(record: Record) -> Example:
    turns: list[Message] = []
    for turn in list_of(record.values, "conversations"):
        if not isinstance(turn, dict):
            raise RowError("a turn is no object")
        role = turn.get("role")
        if role == "tool":
            parameters = json.dumps(turn.get("parameters") or {}, ensure_ascii=False)
            turns.append(call([(text_of(turn, "name", needed=True), parameters)], first=len(turns) + 1))
            observation = turn.get("observation")
            said = observation if isinstance(observation, str) else json.dumps(observation, ensure_ascii=False)
            turns.append(answer(said, turns))
        elif role in ROLES:
            turns.append(say(role, text_of(turn, "content")))
        else:
            raise RowError(f"unknown role {role!r}: known are system, user, assistant, tool")
    return example(record.line, turns, tools_of(record.values.get("tools")))


CHATGLM = Format("chatglm", "conversations of role and content (ChatGLM3)", _fits, row_by_row(_make))
