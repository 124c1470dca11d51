"""Modelfiles are read as Ollama's own parser reads them, and what is wrong in one is said with its line."""

from __future__ import annotations

import time

import pytest

from ggship.errors import UsageError
from ggship.modelfile import Modelfile, losses, not_carried, parse, render, to_request

# What the parser of Ollama 0.34.4 gave for these.
READ = {
    "from x": Modelfile("x"),
    "FROM ./a b.gguf\r\n": Modelfile("./a b.gguf"),
    'FROM "./a b.gguf"  \n': Modelfile("./a b.gguf"),
    "FROM x # kept\n": Modelfile("x # kept"),
    "\ufeffFROM x\nFROM ./mmproj.gguf\n": Modelfile("x", more_from=("./mmproj.gguf",)),
    "FROM x\nSYSTEM a\u3000b\u00a0c\u200dd\n": Modelfile("x", system="abcd"),
    'FROM x\nSYSTEM """\n one\n"two" """ three\n\t"""  \n': Modelfile("x", system='\n one\n"two" """ three\n\t'),
    'FROM x\nSYSTEM """a"""\n# gone\nLICENSE b\n': Modelfile("x", system="a", licenses=("b",)),
    'FROM x\nSYSTEM "one\ntwo"\n': Modelfile("x", system="one\ntwo"),
    "FROM x\nSYSTEM \n": Modelfile("x", system=""),
    'FROM x\nSYSTEM """"hi""""\n': Modelfile("x", system='"hi"'),
    'FROM x\nPARAMETER stop "<|im_end|>"\nPARAMETER stop   User:\n': Modelfile(
        "x", parameters=(("stop", "<|im_end|>"), ("stop", "User:"))
    ),
    "FROM x\nPARAMETER temperature 0.70\nPARAMETER num_ctx 4096\nPARAMETER use_mmap T\n": Modelfile(
        "x", parameters=(("temperature", 0.7), ("num_ctx", 4096), ("use_mmap", True))
    ),
    "FROM x\nMESSAGE user a: b\nMessage assistant c\n": Modelfile("x", messages=(("user", "a: b"), ("assistant", "c"))),
    "#!head\n# one\n\nFROM x\n# later\nADAPTER ./a.gguf\nREQUIRES v0.30.0\nRENDERER r\nPARSER p\n"
    "DRAFT ./d.gguf": Modelfile(
        "x",
        adapter="./a.gguf",
        requires="v0.30.0",
        renderer="r",
        parser="p",
        draft="./d.gguf",
        comments=("!head", "one"),
    ),
}


@pytest.mark.parametrize("text", READ)
def test_read_as_ollama_reads(text):
    assert parse(text) == READ[text]


@pytest.mark.parametrize(
    ("text", "line", "words", "hint"),
    [
        ("FROM x\n\nPARAMTER stop a\n", 3, "no command 'PARAMTER'", "did you mean parameter?"),
        ("FROM x\nSYSTEM\n", 2, "needs a value on the same line", ""),
        ('FROM x\nSYSTEM """a\nb\n', 2, "never closed", '"""'),
        ('FROM x\nPARAMETER stop "\nSYSTEM a\n', 2, "never closed", ""),
        ("FROM x\r\nMESSAGE tool a\r\n", 2, "not of 'tool'", ""),
        ("FROM x\nPARAMETER num_cxt 1\n", 2, "num_cxt", "did you mean num_ctx?"),
        ("FROM x\nPARAMETER num_ctx 1.5\n", 2, "whole number", ""),
        ("FROM x\nPARAMETER temperature hot\n", 2, "number", ""),
        ("FROM x\nPARAMETER temperature nan\n", 2, "number", ""),
        ("FROM x\nPARAMETER temperature 1e999\n", 2, "number", ""),
        ("FROM x\nPARAMETER use_mmap yes\n", 2, "true or false", ""),
        ("FROM x\nPARAMETER  stop a\n", 2, "one space", ""),
        ("FROM x\nPARAMETER stop\n", 2, "PARAMETER stop needs a value", ""),
        ("FROM x\nSYSTEM a\nSYSTEM b\n", 3, "second SYSTEM", ""),
        ("FROM x\nADAPTER ./a\nADAPTER ./b\n", 3, "second ADAPTER", ""),
        ("SYSTEM a\n", 1, "no FROM", ""),
        ("", 1, "no FROM", ""),
        ("FROM x\n*\n", 2, "no command '*'", "commands: "),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, line, words, hint):
    with pytest.raises(UsageError) as caught:
        parse(text, name="Modelfile.test")
    assert words in caught.value.message
    assert caught.value.where.startswith(f"Modelfile.test: line {line}")
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("modelfile", "words"),
    [
        (Modelfile("x", system="　　回答要简明。"), "SYSTEM: Ollama's Modelfile parser drops U+3000"),
        (Modelfile("x", messages=(("user", "👩\u200d⚖️"),)), "MESSAGE user: Ollama's Modelfile parser drops U+200D"),
        (Modelfile("x", template='a\nb"""\nc'), 'TEMPLATE: a line that ends in """ ends the value (its line 2)'),
        (Modelfile("x", parameters=(("stop", "\u00a0"),)), "PARAMETER stop: Ollama's Modelfile parser drops U+00A0"),
        (Modelfile("x", parameters=(("heat", 1),)), "PARAMETER heat: Ollama knows no such parameter"),
        (Modelfile("x", parameters=(("num_ctx", 1.5),)), "PARAMETER num_ctx: num_ctx takes a whole number"),
        (Modelfile("x", messages=(("tool", "a"),)), "MESSAGE tool: only system, user, assistant can speak"),
    ],
)
def test_what_a_modelfile_cannot_say_is_named_and_the_api_still_carries_it(modelfile, words):
    (problem,) = not_carried(modelfile)
    assert problem.startswith(words)
    if modelfile.system:
        assert to_request(modelfile)["system"] == modelfile.system


def test_what_would_end_a_text_early_is_refused_and_what_is_lost_is_told():
    with pytest.raises(UsageError) as caught:
        losses(Modelfile("x", system='Say """\nFROM evil'))
    assert caught.value.message.startswith("SYSTEM: a line of it ends in")
    assert caught.value.where == 'its line 1: Say """'
    with pytest.raises(UsageError, match="ends in"):
        losses(Modelfile("x", system='a\n"""\u3000 \nb'))  # the parser drops the space, and then sees the quotes
    with pytest.raises(UsageError, match="no text"):
        losses(Modelfile("x", system="\ud800"))
    assert losses(Modelfile("x", system="\u3000法")) == ("SYSTEM: Ollama's Modelfile parser drops U+3000",)
    assert losses(Modelfile("x", system='"""a""" b\n"" ""\n"')) == ()


def test_long_texts_take_no_longer_than_their_length():
    # A text that is walked again from each of its lines would take far longer; this takes a second.
    modelfile = Modelfile("x", system="a\n" * 30_000, template='"" "\n' * 30_000)
    began = time.process_time()
    assert losses(modelfile) == ()
    assert parse(render(modelfile)) == modelfile
    assert time.process_time() - began < 20


@pytest.mark.parametrize("digits", ["9" * 5000, "-" + "0" * 5000 + "9" * 20, "1" * 20])
def test_a_number_of_thousands_of_digits_is_refused_in_our_words(digits):
    with pytest.raises(UsageError, match="seed takes a whole number"):
        parse(f"FROM x\nPARAMETER seed {digits}\n")
    assert parse(f"FROM x\nPARAMETER seed {'0' * 5000}7\n").parameters == (("seed", 7),)


def test_paths_of_every_kind_come_back():
    for path in (
        "./model.gguf",
        "/a b/c.gguf",
        " lead.gguf",
        'qu"ote.gguf',
        '"quoted"',
        "#x.gguf",
        "~/m.gguf",
        "模型.gguf",
    ):
        modelfile = Modelfile(path, adapter=path)
        assert not_carried(modelfile) == ()
        assert parse(render(modelfile)) == modelfile


def test_a_package_reads_like_one():
    modelfile = Modelfile(
        "./model.Q8_0.gguf",
        template="{{ .Content }}",
        system="Be brief.",
        parameters=(("stop", "<|im_end|>"), ("temperature", 0.2), ("num_ctx", 2048)),
        comments=("law-helper, made by ggship",),
    )
    assert render(modelfile) == (
        "# law-helper, made by ggship\n"
        "FROM ./model.Q8_0.gguf\n"
        'TEMPLATE """{{ .Content }}"""\n'
        'SYSTEM """Be brief."""\n'
        'PARAMETER stop "<|im_end|>"\n'
        "PARAMETER temperature 0.2\n"
        "PARAMETER num_ctx 2048\n"
    )


def test_the_request_has_types_and_only_what_was_said():
    assert to_request(Modelfile("x")) == {}
    modelfile = Modelfile(
        "x",
        system="",
        parameters=(
            ("stop", "a"),
            ("num_ctx", 1),
            ("stop", "b"),
            ("num_ctx", 2),
            ("use_mmap", False),
            ("mirostat", "1"),
        ),
        messages=(("user", "q"),),
        requires="v0.30.0",
        licenses=("MIT",),
    )
    assert to_request(modelfile) == {
        "system": "",
        "parameters": {"stop": ["a", "b"], "num_ctx": 2, "use_mmap": False},
        "messages": [{"role": "user", "content": "q"}],
        "requires": "0.30.0",
        "license": ["MIT"],
    }


def test_stops_are_at_hand():
    assert Modelfile("x", parameters=(("stop", "a"), ("seed", 1), ("stop", "b"))).stops == ("a", "b")


def test_characters_newer_than_this_python_are_kept_as_ollama_keeps_them():
    kept = Modelfile("x", system="\U00031350\U000323af\u0870\U0001fae8")  # Unicode 14.0 and 15.0
    assert parse(render(kept)) == kept
    assert not_carried(kept) == ()
    assert not_carried(Modelfile("x", system="\U0002ebf0")) != ()  # 15.1, which Ollama's Go does not know
    assert not_carried(Modelfile("x", system="\U0010ffff")) != ()
