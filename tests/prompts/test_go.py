"""What Ollama renders from a Go TEMPLATE is worked out right, and what cannot be said as one is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggship.errors import BadFile, UsageError
from ggship.modelfile import Modelfile, not_carried
from ggship.prompts import ChatTemplate, GoTemplate, NotInGo, go_template, simulate
from ggship.prompts.gotemplate import literal
from ggship.prompts.stops import pieces_stops

TALK = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U"},
    {"role": "assistant", "content": "A"},
    {"role": "user", "content": "V"},
    {"role": "user", "content": "W"},
]
ALL = "{{ range .Messages }}"

# What real Go gave for these (text/template of Go 1.26 under Ollama 0.34.4's template package).
GO = {
    ALL + "[{{ .Role }} {{ .Content }}]{{ end }}": "[system S][user U][assistant A][user V\n\nW]",
    ALL + '{{ if eq .Role "user" "system" }}{{- continue }}{{ end }}{{ .Content }}{{ end }}': "A",
    '{{- /* c */ -}} x {{ "a\\u3000}}" }}{{ `raw}}` }}' + ALL + "{{ end }}": "x a\u3000}}raw}}",
    '{{ $a := "1" }}{{ range $i, $_ := .Messages }}{{ $a = .Role }}{{ if gt $i 0 }}{{ break }}{{ end }}{{ end }}'
    "{{ $a }}": "user",
    "{{ with .System }}S={{ . }}{{ else }}none{{ end }}" + ALL + "{{ end }}": "S=S",
    "{{ if .Nope }}a{{ else if and .System (eq (len .Messages) 4) }}b{{ else }}c{{ end }}" + ALL + "{{ end }}": "b",
    '{{ (index .Messages 0).Role }}{{ .System | print "p" }}{{ not .Tools }}' + ALL + "{{ end }}": "systempStrue",
    'a {{-  1 -}} b {{- 2}} c {{ 3 -}} \n d{{ range .Nope }}q{{ else }}e{{ end }}{{ len "é" }}' + ALL + "{{ end }}": (
        "a1b2 c 3de2"
    ),
    ALL + '{{ $x := .Role }}{{ if $x }}{{ $x := "in" }}{{ $x }}{{ end }}{{ $x }};{{ end }}': (
        "insystem;inuser;inassistant;inuser;"
    ),
    r'{{ "\a\b\f\v\101\x41\xe6\xb3\x95\u6cd5\U0001f4dc" }}' + ALL + "{{ end }}": "\a\b\f\vAA法法📜",
    "{{ range $i, $m := .Messages }}{{ if eq (len (slice $.Messages $i)) 1 }}{{ $m.Content }}{{ end }}{{ end }}": (
        "V\n\nW"
    ),
}


@pytest.mark.parametrize("text", GO)
def test_simulation_is_what_go_renders(text):
    assert simulate(text, TALK) == GO[text]


def test_system_of_the_model_stands_in_front_unless_the_conversation_has_its_own():
    text = ALL + "[{{ .Role }} {{ .Content }}]{{ end }}"
    assert simulate(text, TALK[1:2], system="M") == "[system M][user U]"
    assert simulate(text, TALK[:2], system="M") == "[system S][user U]"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (ALL, 1),
        ("a\n{{ end }}", 2),
        ("a\nb {{ if .X }}", 2),
        ("\n\n{{ .X", 3),
        ("\n{{ range .Messages }}{{ .A ! }}{{ end }}", 2),
        ('{{ define "x" }}{{ end }}', 1),
        ("{{ if (.X }}{{ end }}", 1),
        ("\n{{/* never closed", 2),
        ("{{ .X /* }}", 1),
        (r'{{ "\q" }}', 1),
        (r'{{ "\ud800" }}', 1),
        (r'{{ "\xff" }}', 1),
        (r'{{ "\400" }}', 1),
        (r"""{{ "it\'s" }}""", 1),
        ("{{ 010 }}", 1),
        ("{{ 1.5 }}", 1),
        ("{{ " + "9" * 5000 + " }}", 1),
    ],
)
def test_broken_go_is_refused_with_its_line(text, line):
    with pytest.raises(UsageError) as caught:
        simulate(text, TALK)
    assert caught.value.where == f"TEMPLATE: line {line}"


def test_blocks_nested_without_end_are_refused():
    with pytest.raises(UsageError, match="nested too deeply"):
        simulate("{{ if .X }}" * 5000 + "{{ end }}" * 5000, TALK)


@pytest.mark.parametrize("text", ["{{ .Prompt }}", ALL + "{{ currentDate }}{{ end }}", ALL + "{{ .Nope }}{{ end }}"])
def test_what_is_not_known_is_never_guessed(text):
    with pytest.raises(UsageError):
        simulate(text, TALK)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from('{{{}}""\\\n\u3000\u200d-a法'), max_size=8) | st.text(max_size=12))
def test_literal_text_comes_out_as_it_is_and_the_modelfile_carries_it(text):
    written = literal(text)
    assert simulate(ALL + "{{ end }}" + written, TALK) == text
    assert not_carried(Modelfile("m", template="x" + written + "x")) == ()


def chat(user: str, answer: str = "{{ m.content }}<e>", *, start: str = "", end: str = "<a>") -> ChatTemplate:
    body = (
        "{% if m.role == 'user' %}"
        + user
        + "{% elif m.role == 'assistant' %}"
        + answer
        + "{% else %}<s>{{ m.content }}{% endif %}"
    )
    loop = start + "{% for m in messages %}" + body + "{% endfor %}"
    return ChatTemplate(loop + "{% if add_generation_prompt %}" + end + "{% endif %}")


def test_a_template_with_the_day_in_it_is_not_said_in_go():
    found = go_template(chat("<u>{{ m.content }}", start="{{ strftime_now('%d %b %Y') }}"))
    assert isinstance(found, NotInGo)
    assert "date" in found.reason


def test_a_template_that_numbers_its_turns_is_not_said_in_go():
    found = go_template(chat("<u{{ loop.index }}>{{ m.content }}"))
    assert isinstance(found, NotInGo)
    assert found.probe
    assert found.expected != found.got


def test_a_template_that_changes_texts_is_not_said_in_go():
    found = go_template(chat("<u>{{ m.content | upper }}"))
    assert isinstance(found, NotInGo)
    assert "not in the prompt as it stands" in found.reason
    quoted = go_template(chat("<u>{{ m.content | replace('\"', '') }}"))
    assert isinstance(quoted, NotInGo)
    assert quoted.probe == "quotes and backslashes"


def test_a_template_that_strips_says_what_is_lost():
    found = go_template(chat("<u>{{ m.content | trim }}"))
    assert isinstance(found, GoTemplate)
    assert any("white space" in limit for limit in found.limits)


def test_braces_and_odd_characters_of_the_format_itself_are_kept():
    template = chat("{{ '{{user}}\u3000\"\"\"' }}\n\n{{ m.content }}{{ '\\r\\n' }}")
    found = go_template(template)
    assert isinstance(found, GoTemplate), found
    assert "\u3000" not in found.text
    assert not_carried(Modelfile("m", template=found.text)) == ()


def test_a_template_that_does_not_render_one_question_is_an_error():
    with pytest.raises(BadFile):
        go_template(ChatTemplate("{{ raise_exception('never') }}"))


@pytest.mark.parametrize("default", ["", "<s>D"], ids=["no default", "default"])
def test_an_empty_system_text_may_count_as_none(default):
    system = "{% set s = messages[0].content if messages[0].role == 'system' else '' %}"
    start = system + "{% if s %}<s>{{ s }}{% else %}" + default + "{% endif %}"
    turns = "{% for m in messages if m.role != 'system' %}{{ '<' + m.role + '>' + m.content }}{% endfor %}"
    template = ChatTemplate(start + turns + "<assistant>")
    found = go_template(template)
    assert isinstance(found, GoTemplate), found
    empty = [{"role": "system", "content": ""}, TALK[1]]
    assert simulate(found.text, empty) == default + "<user>U<assistant>" == simulate(found.text, TALK[1:2])
    assert simulate(found.text, TALK[:2]) == "<s>S<user>U<assistant>"


@pytest.mark.parametrize(
    ("close", "opened", "stops"),
    [
        ("<seed:eos>", "<seed:bos>user\n", ("<seed:eos>", "<seed:bos>")),
        ("<turn|>\n", "<|turn>user\n", ("<turn|>", "<|turn>")),
        ("<|end|>\n", "### Question:\n", ("<|end|>", "### Question:")),
        (" </s>", "[INST] ", ("</s>", "[INST]")),
        ("\n", "Q: ", ()),
        ("", "", ()),
    ],
)
def test_marks_of_any_shape_are_stops_and_short_headings_are_not(close, opened, stops):
    found = go_template(chat(f"{{{{ {opened!r} }}}}{{{{ m.content }}}}", f"{{{{ m.content + {close!r} }}}}"))
    assert isinstance(found, GoTemplate), found
    assert pieces_stops(found.pieces, None) == stops
