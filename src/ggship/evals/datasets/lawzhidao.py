"""lawzhidao: CSV of `title,question,reply,is_best`, several replies a question (SophonPlus/ChineseNlpCorpus)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from ggship.evals.datasets.model import Broken, Example, Format, Item, Record, RowError, Values, text_of
from ggship.evals.datasets.turns import example, say

COLUMNS = {"title", "question", "reply", "is_best"}


def _fits(values: Values) -> bool:
    return set(values) >= COLUMNS


def _read(records: Iterable[Record | Broken]) -> Iterator[Item]:
    """One example of each run of rows with the same title and question: its best reply is the reference."""
    for _, rows in groupby(records, key=_question):
        yield from _examples(list(rows))


def _question(record: Record | Broken) -> object:
    if isinstance(record, Broken):
        return record
    return record.values.get("title"), record.values.get("question")


def _examples(rows: list[Record | Broken]) -> Iterator[Item]:
    records = [row for row in rows if isinstance(row, Record)]
    yield from (row for row in rows if isinstance(row, Broken))
    if not records:
        return
    first, last = records[0].line, records[-1].line
    best = [row for row in records if str(row.values.get("is_best", "")).strip() in ("1", "1.0", "true", "True")]
    try:
        yield _example(best[0] if best else None, records[0])
    except RowError as error:
        yield Broken(first, last, str(error))


def _example(best: Record | None, first: Record) -> Example:
    if best is None:
        raise RowError("no reply to this question is marked as the best (is_best = 1)")
    title, question = text_of(best.values, "title").strip(), text_of(best.values, "question").strip()
    asked = "\n".join(part for part in (title, question) if part)
    reply = text_of(best.values, "reply", needed=True)
    return example(first.line, [say("user", asked), say("assistant", reply)])


LAWZHIDAO = Format("lawzhidao", "CSV with title, question, reply, is_best", _fits, _read)
