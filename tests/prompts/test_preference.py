"""Which of two templates an Ollama since 0.30 takes is told before it takes it."""

from __future__ import annotations

import pytest

from ggship.errors import UsageError
from ggship.prompts import family, go_template, template_preference

PLAIN = go_template(family("chatml")).text
TOOLS = "{{ if .Tools }}t{{ end }}{{ range .Messages }}{{ .Content }}{{ end }}"
ROUND = '{{ .Tools }}{{ range .Messages }}{{ if eq .Role "tool" }}{{ end }}{{ range .ToolCalls }}x{{ end }}{{ end }}'
QWEN = "{% if tools %}...{% endif %}{% for tool_call in m.tool_calls %}<tool_response>{% endfor %}"


@pytest.mark.parametrize(
    ("go", "jinja", "chosen"),
    [
        (PLAIN, None, "go"),
        (PLAIN, "", "go"),
        (PLAIN, family("smollm2").text, "go"),
        (PLAIN, "{% if tools %}{{ tools }}{% endif %}", "jinja"),
        (PLAIN, "{{ '<think>' }}{{ '</think>' }}", "jinja"),
        (PLAIN, "{{ content.split('</think>')[-1] }}", "jinja"),
        (PLAIN, "{{ content.split('</think>')[-1] }}{{ reasoning_content }}", "go"),
        (TOOLS, "{% if tools %}{{ tools }}{% endif %}", "go"),
        (TOOLS, QWEN, "jinja"),
        (ROUND, QWEN, "go"),
        (ROUND, QWEN + "<think></think>", "jinja"),
        (ROUND, "{{ tools }}<think></think>", "go"),
    ],
)
def test_the_rule_of_ollama(go, jinja, chosen):
    assert template_preference(go, jinja) == chosen


def test_go_that_cannot_be_read_is_an_error():
    with pytest.raises(UsageError):
        template_preference("{{ if }}", QWEN)
