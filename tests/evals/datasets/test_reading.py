from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ggship.errors import BadFile, UsageError
from ggship.evals.datasets import Broken, Dataset, Example, open_dataset
from ggship.evals.datasets.csv_rows import LONGEST_FIELD
from ggship.evals.datasets.text import LONGEST_LINE

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str | bytes | list[Any], encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        if isinstance(content, list):
            content = "\n".join(json.dumps(row, ensure_ascii=False) for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def good(dataset: Dataset) -> list[Example]:
    return [item for item in dataset if isinstance(item, Example)]


def said(example: Example) -> tuple[list[tuple[str, str]], str]:
    return [(turn["role"], turn["content"]) for turn in example.messages], example.reference


LAW = (
    "title,question,reply,is_best\n"
    '押金怎么要回？,"房东不退，\n怎么办",先协商,0\n'
    '押金怎么要回？,"房东不退，\n怎么办",书面催告后起诉。,1\n'
    "结婚年龄,,男二十二女二十。,1\n"
    "没有答案,,不知道,0\n"
)


def test_lawzhidao_takes_the_best_reply_of_each_question(write: Write) -> None:
    dataset = open_dataset(write("law.csv", LAW))
    assert dataset.format.name == "lawzhidao"
    first, second, third = dataset
    assert isinstance(first, Example)
    assert said(first) == ([("user", "押金怎么要回？\n房东不退，\n怎么办")], "书面催告后起诉。")
    assert isinstance(second, Example)
    assert (second.line, said(second)) == (6, ([("user", "结婚年龄")], "男二十二女二十。"))
    assert str(third) == "line 7: no reply to this question is marked as the best (is_best = 1)"


CHAT = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")]
TURNS = [*CHAT, ("assistant", " See you. ")]
FORMATS: dict[str, list[dict[str, Any]]] = {
    "chatglm": [{"conversations": [{"role": role, "content": words} for role, words in TURNS]}],
    "openai": [{"messages": [{"role": role, "content": words} for role, words in TURNS]}],
    "alpaca": [
        {"instruction": "Bye", "input": "", "output": " See you. ", "history": [["Hi", "Hello"]], "system": "Be kind."}
    ],
    "sharegpt": [
        {
            "system": "Be kind.",
            "conversations": [
                {"from": {"user": "human", "assistant": "gpt"}[role], "value": words} for role, words in TURNS[1:]
            ],
        }
    ],
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", ["lines", "array", "pretty"])
def test_every_chat_format_is_detected_and_gives_the_same_conversation(write: Write, name: str, shape: str) -> None:
    rows = FORMATS[name]
    content = {"lines": rows, "array": json.dumps(rows), "pretty": json.dumps(rows, indent=2)}[shape]
    dataset = open_dataset(write("data.json", content))
    assert dataset.format.name == name
    assert [said(example) for example in good(dataset)] == [(CHAT, "See you.")]


def test_alpaca_input_is_a_line_of_its_own(write: Write) -> None:
    row = {"instruction": "Translate", "input": "Haus", "output": "house"}
    assert said(good(open_dataset(write("a.jsonl", [row])))[0]) == ([("user", "Translate\nHaus")], "house")


def test_swift_pairs_are_a_conversation(write: Write) -> None:
    row = {"system": "S", "conversation": [{"human": "a", "assistant": "b"}, {"human": "c", "assistant": "d"}]}
    dataset = open_dataset(write("swift.jsonl", [row]))
    assert said(good(dataset)[0])[1] == "d"
    assert len(good(dataset)[0].messages) == 4


@pytest.mark.parametrize(
    ("row", "question"),
    [
        ({"query": "q", "response": "r"}, "q"),
        ({"prompt": "q", "completion": "r"}, "q"),
        ({"question": "q", "answer": "r"}, "q"),
        ({"system_prompt": "s", "question": "q", "response": "r"}, "q"),
    ],
)
def test_plain_rows_are_known_by_the_usual_names(write: Write, row: dict[str, str], question: str) -> None:
    dataset = open_dataset(write("plain.jsonl", [row]))
    assert dataset.format.name == "columns"
    example = good(dataset)[0]
    assert (example.questions, example.reference) == ((question,), "r")
    assert (example.messages[0]["role"] == "system") is ("system_prompt" in row)


def test_columns_are_what_the_user_says(write: Write) -> None:
    path = write("plain.csv", "Frage;Antwort;Nr\nWer?;Ich.;1\n")
    assert said(good(open_dataset(path, columns="prompt=Frage, response=Antwort"))[0]) == ([("user", "Wer?")], "Ich.")
    with pytest.raises(UsageError, match="a column that --columns names is not there"):
        open_dataset(path, columns="prompt=Frage,response=Antwrt")
    with pytest.raises(UsageError, match="the format of the data is not known") as caught:
        open_dataset(path)
    assert "it has Frage, Antwort, Nr" in caught.value.where
    with pytest.raises(UsageError, match="not named like that"):
        open_dataset(path, columns="ask=Frage,response=Antwort")


CALL = {"id": "c1", "type": "function", "function": {"name": "law", "arguments": '{"nr": 5}'}}
TOOL = {"type": "function", "function": {"name": "law", "parameters": {"type": "object"}}}


def test_tools_are_kept_and_called(write: Write) -> None:
    asked = {"role": "user", "content": "§ 5?"}
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    answered = [{"role": "tool", "tool_call_id": "c1", "content": "text"}, {"role": "assistant", "content": "It says."}]
    rows = [{"messages": [asked, called], "tools": [TOOL]}, {"messages": [asked, called, *answered], "tools": [TOOL]}]
    first, second = good(open_dataset(write("tools.jsonl", rows)))
    assert (first.reference, first.calls, first.tools) == ("", ("law",), (TOOL,))
    assert [turn["role"] for turn in second.messages] == ["user", "assistant", "tool"]
    assert second.messages[1]["tool_calls"][0]["function"]["arguments"] == '{"nr": 5}'
    assert second.messages[2]["tool_call_id"] == second.messages[1]["tool_calls"][0]["id"]


def test_tools_of_chatglm_and_sharegpt_come_out_alike(write: Write) -> None:
    glm = {
        "tools": [TOOL["function"]],
        "conversations": [
            {"role": "user", "content": "§ 5?"},
            {"role": "tool", "name": "law", "parameters": {"nr": 5}, "observation": "text"},
            {"role": "assistant", "content": "It says."},
        ],
    }
    gpt = {
        "tools": json.dumps([TOOL["function"]]),
        "conversations": [
            {"from": "human", "value": "§ 5?"},
            {"from": "function_call", "value": json.dumps({"name": "law", "arguments": {"nr": 5}})},
            {"from": "observation", "value": "text"},
            {"from": "gpt", "value": "It says."},
        ],
    }
    one = good(open_dataset(write("glm.jsonl", [glm])))[0]
    other = good(open_dataset(write("gpt.jsonl", [gpt])))[0]
    assert (one.messages, one.tools, one.reference) == (other.messages, other.tools, other.reference)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_every_encoding_is_read_the_same(write: Write, encoding: str) -> None:
    dataset = open_dataset(write("law.csv", LAW, encoding))
    assert [example.reference for example in good(dataset)] == ["书面催告后起诉。", "男二十二女二十。"]
    lines = [{"question": "押金？", "answer": "书面催告。"}] * 3
    rows = open_dataset(write("rows.jsonl", "\n".join(json.dumps(r, ensure_ascii=False) for r in lines), encoding))
    assert [example.reference for example in good(rows)] == ["书面催告。"] * 3


def test_one_broken_byte_does_not_turn_utf8_into_nonsense(write: Write) -> None:
    lines = LAW.encode().splitlines(keepends=True)
    lines[3:3] = ["坏行,".encode() + b"\xff\xfe" + ",回答,1\n".encode()]
    dataset = open_dataset(write("law.csv", b"".join(lines)))
    items = list(dataset)
    assert dataset.encoding == "utf-8"
    assert "书面催告后起诉。" in [item.reference for item in items if isinstance(item, Example)]
    assert any("no text in the file's encoding" in str(item) for item in items)


def test_utf8_that_would_pass_for_gb18030_stays_utf8(write: Write) -> None:
    row = "押金怎么,书面催告\n"
    assert row.encode().decode("gb18030"), "each of these lines is nonsense in GB18030, and no error"
    path = write("law.csv", b"question,answer\n" + row.encode() * 20 + "坏".encode()[:2] + b",x\n")
    dataset = open_dataset(path)
    assert dataset.encoding == "utf-8"
    assert {item.reference for item in dataset if isinstance(item, Example)} == {"书面催告"}


def test_broken_rows_are_told_with_their_lines_and_the_rest_is_read(write: Write) -> None:
    content = (
        '{"question": "a", "answer": "b"}\n{"question": \n[1]\n\n{"question": "c"}\n{"question": {}, "answer": "x"}\n'
    )
    content += '{"question": "d", "answer": "e"}'
    found = [str(item) for item in open_dataset(write("rows.jsonl", content)) if isinstance(item, Broken)]
    assert [line.split(":")[0] for line in found] == ["line 2", "line 3", "line 5", "line 6"]
    assert "not JSON" in found[0]
    assert "`answer` is missing" in found[2]
    assert "`question` is an object, not text" in found[3]
    assert len(good(open_dataset(write("rows.jsonl", content)))) == 2


def test_half_a_character_breaks_its_row_alone(write: Write) -> None:
    path = write("rows.jsonl", '{"question": "a \\ud83d", "answer": "b"}\n{"question": "c", "answer": "d"}\n')
    first, second = open_dataset(path)
    assert "half a character" in str(first)
    assert isinstance(second, Example)


def test_broken_csv_rows_are_told_with_their_lines(write: Write) -> None:
    content = 'question,answer\na,b\none\na,"b"x\n"multi\nline",ok\nlast,"never closed\nx\n'
    found = [str(item) for item in open_dataset(write("rows.csv", content)) if isinstance(item, Broken)]
    assert found == [
        "line 3: 1 columns where the header has 2",
        "line 4: not CSV: ',' expected after '\"'",
        "line 7 to 8: a quote is not closed before the file ends",
    ]


def test_a_quote_that_never_closes_swallows_no_more_than_a_field(write: Write) -> None:
    row = f"q,{'a' * 5000}\n"
    items = list(open_dataset(write("rows.csv", 'question,answer\nbad,"open\n' + row * (LONGEST_FIELD // 5000 + 50))))
    broken = [item for item in items if isinstance(item, Broken)]
    assert "is a quote not closed" in broken[0].reason
    assert broken[0].line == 2
    assert len(items) > 30


def test_a_line_that_never_ends_is_passed_over(write: Write) -> None:
    row = '{"question": "a", "answer": "b"}\n'
    items = list(open_dataset(write("rows.jsonl", row + '{"question": "' + "x" * (LONGEST_LINE + 5) + "\n" + row)))
    assert [isinstance(item, Example) for item in items] == [True, False, True]
    assert str(items[1]).startswith("line 2: longer than")


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ('[\n{"question": "a", "answer": "b"},\n{"question" "c"}\n]', 3, "delimiter"),
        ('[\n{"question": "a", "answer": "b"},\n', 3, "ends without a ]"),
        ('[\n{"question": "a", "answer": "b"}\n{"question": "c", "answer": "d"}]', 3, "a comma or a ]"),
        ('[{"question": "a", "answer": "b"},\n{"question": "c', 2, "string"),
    ],
)
def test_a_broken_array_is_an_error_with_its_line(write: Write, content: str, line: int, said: str) -> None:
    with pytest.raises(BadFile, match="the JSON array breaks") as caught:
        list(open_dataset(write("rows.json", content)))
    assert f"line {line}" in caught.value.where
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no.csv", None, "no such file"),
        ("data.parquet", b"PAR1", "ggship reads text"),
        ("program.csv", b"\x7fELF\0\1", "this is no text"),
        ("empty.jsonl", b"", "no rows"),
        ("empty.csv", b"", "no header"),
        ("twice.csv", b"a,a\n1,2\n", "two columns have the same name"),
        ("bad.jsonl", b"{\n" * 30, "no row of the file can be read"),
        ("none.jsonl", b'{"x": 1}\n', "format of the data is not known"),
    ],
)
def test_what_cannot_be_read_is_said(write: Write, tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    path = write(name, content) if content is not None else tmp_path / name
    with pytest.raises((UsageError, BadFile), match=said):
        open_dataset(path)


def test_another_format_than_the_one_named_is_said(write: Write) -> None:
    path = write("a.jsonl", FORMATS["alpaca"])
    with pytest.raises(UsageError, match="this is no sharegpt"):
        open_dataset(path, format="sharegpt")
    with pytest.raises(UsageError, match="unknown format") as caught:
        open_dataset(path, format="alpacca")
    assert caught.value.hint == "did you mean `alpaca`?"


def test_dataset_info_is_read_as_llama_factory_does(write: Write, tmp_path: Path) -> None:
    write("qa.json", [{"frage": "q", "extra": "x", "antwort": "a", "input": "not asked for"}])
    write("chat.json", [{"talk": [{"who": "U", "said": "hi"}, {"who": "A", "said": "ho"}]}])
    write("rank.json", [{"instruction": "q", "chosen": "good", "rejected": "bad"}])
    info = {
        "law": {"file_name": "qa.json", "columns": {"prompt": "frage", "response": "antwort"}},
        "chat": {
            "file_name": "chat.json",
            "formatting": "sharegpt",
            "columns": {"messages": "talk"},
            "tags": {"role_tag": "who", "content_tag": "said", "user_tag": "U", "assistant_tag": "A"},
        },
        "rank": {"file_name": "rank.json", "ranking": True},
        "far": {"hf_hub_url": "org/data"},
    }
    path = write("dataset_info.json", json.dumps(info))
    assert said(good(open_dataset(path, name="law"))[0]) == ([("user", "q")], "a")  # `input` is not named: not there
    assert said(good(open_dataset(path, name="chat"))[0]) == ([("user", "hi")], "ho")
    assert said(good(open_dataset(path, name="rank"))[0]) == ([("user", "q")], "good")
    with pytest.raises(UsageError, match="not on this machine"):
        open_dataset(path, name="far")
    with pytest.raises(UsageError, match="no data set `lww`") as caught:
        open_dataset(path, name="lww")
    assert "did you mean `law`?" in caught.value.hint
    with pytest.raises(UsageError, match="several data sets"):
        open_dataset(path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.{kind}"
        answer = "书面催告后可以起诉。" * 10
        with path.open("w", encoding="utf-8") as file:
            file.write({"csv": "question,answer\n", "jsonl": "", "json": "[\n"}[kind])
            for number in range(rows):
                row = json.dumps({"question": f"q{number}", "answer": answer}, ensure_ascii=False)
                end = ",\n" if kind == "json" and number + 1 < rows else "\n"
                file.write(f"q{number},{answer}\n" if kind == "csv" else row + end)
            file.write("]" if kind == "json" else "")
        tracemalloc.start()
        try:
            assert sum(isinstance(item, Example) for item in open_dataset(path)) == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = peak(2_500), peak(7_500)
    assert large < small * 1.2 + 200_000
