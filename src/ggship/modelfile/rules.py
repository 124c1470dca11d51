"""Every rule of `ggship modelfile lint`, with its words. Codes are stable, as those of docs/rules.md."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for in a Modelfile.

    level: an error is what Ollama refuses, or takes for something else than what stands there; a warning what is
    probably not meant, or works on some versions only.
    """

    code: str
    level: Level
    title: str
    consequence: str
    fix: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong or odd in a Modelfile. line counts from 1. evidence: what was seen there."""

    code: str
    level: Level
    line: int
    title: str
    evidence: str
    consequence: str
    fix: str

    def document(self) -> dict[str, str | int]:
        """The problem as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.line}: {self.level}: {self.code} {self.title}: {self.evidence}"


_QUOTE = 'Put three quotation marks around the value: """...""".'

_RULES = (
    Rule(
        "MF101",
        "error",
        "The file is not UTF-8",
        "Ollama puts U+FFFD in the place of what it cannot read, and goes on.",
        "Save the file as UTF-8. UTF-16 is read too, where it begins with its byte order mark.",
    ),
    Rule(
        "MF102",
        "error",
        "No such command",
        "Ollama refuses the file.",
        "Correct the word; the lines of a text stand between three quotation marks.",
    ),
    Rule("MF103", "error", "A command without a value", "Ollama refuses the file.", "Put the value on the same line."),
    Rule(
        "MF104",
        "error",
        "Quotation marks that are never closed",
        "Ollama reads to the end of the file, and refuses it.",
        'Close them at the end of a line. A value that begins with " itself stands between three: """"so" he said""".',
    ),
    Rule(
        "MF105",
        "error",
        "A message of nobody",
        "Ollama refuses the file.",
        "MESSAGE system, MESSAGE user or MESSAGE assistant, in lower case.",
    ),
    Rule(
        "MF106",
        "error",
        "No FROM",
        "Ollama refuses the file.",
        "Begin with FROM and a model's name, or the path of a GGUF file.",
    ),
    Rule(
        "MF107",
        "error",
        "A command that counts once stands twice",
        "Ollama takes the last one, without a word.",
        "Leave out all but one.",
    ),
    Rule(
        "MF108",
        "error",
        "A parameter with the name of a command",
        "Ollama takes the line for that command.",
        "Leave out the word PARAMETER, or correct the name.",
    ),
    Rule(
        "MF109",
        "warning",
        "Characters that Ollama drops",
        "The model is made without them: indentation of Chinese text, joined emoji, no-break spaces.",
        "Write them another way, or make the model through the API, which keeps them: ggship package does.",
    ),
    Rule(
        "MF110",
        "warning",
        "A quotation that goes on over several lines",
        "A value that begins with one quotation mark goes on to the first line that ends with one.",
        _QUOTE,
    ),
    Rule(
        "MF111",
        "warning",
        "Line ends of Windows within a text",
        "Each line keeps its carriage return, which the training text had not.",
        "Save the file with line ends of Unix (LF).",
    ),
    Rule(
        "MF112",
        "warning",
        "A comment behind a value",
        "It is part of the value: a comment is a line of its own.",
        "Put the comment on its own line.",
    ),
    Rule(
        "MF113",
        "warning",
        "An escape that is none",
        "A Modelfile has no escapes: the model sees a backslash and a letter.",
        "Write the line break itself, between three quotation marks.",
    ),
    Rule(
        "MF114",
        "note",
        "An empty value",
        "It says nothing: what comes with FROM stays.",
        "Leave the command out, or say what is meant.",
    ),
    Rule(
        "MF201",
        "error",
        "No such parameter",
        "Ollama refuses the file.",
        "Correct the name. Options of the server, as OLLAMA_KEEP_ALIVE, are set in its environment.",
    ),
    Rule(
        "MF202",
        "error",
        "A value of another type",
        "Ollama refuses the file.",
        "Write a value of the parameter's type.",
    ),
    Rule(
        "MF203",
        "warning",
        "A parameter that Ollama leaves out",
        "It is deprecated and changes nothing.",
        "Leave the line out.",
    ),
    Rule(
        "MF204",
        "warning",
        "A parameter is set twice",
        "The last one counts; only stop may stand several times.",
        "Leave out all but one.",
    ),
    Rule(
        "MF205",
        "warning",
        "A value out of its range",
        "Ollama takes it, and llama.cpp makes something else of it or nothing sensible.",
        "Write a value within the range.",
    ),
    Rule(
        "MF206",
        "warning",
        "typical_p",
        "Newer servers (seen: 0.34.4) refuse the whole model for it.",
        "Leave the line out.",
    ),
    Rule(
        "MF207",
        "warning",
        "A stop that is white space or nothing",
        "Answers end at the first blank or line break, or cannot be told from any other.",
        "Leave it out, or name the mark that ends a turn.",
    ),
    Rule(
        "MF208",
        "note",
        "A number that Ollama rounds",
        "Numbers with a fraction are kept as float32, whole ones are exact up to 2**53.",
        "Write the number that is kept.",
    ),
    Rule(
        "MF301",
        "warning",
        "An adapter",
        "Ollama refuses adapters since 0.34.1; older servers take GGUF files.",
        "Merge it into its base: ggship package RUN --name NAME",
    ),
    Rule(
        "MF302",
        "error",
        "A file that is not there",
        "Ollama refuses the file, or looks for a model of that name.",
        "Correct the path; it is relative to the Modelfile.",
    ),
    Rule(
        "MF303",
        "error",
        "What training wrote is no GGUF",
        "Ollama does not read it (`no Modelfile or safetensors files found`), or reads its scale wrong.",
        "Convert it first: ggship convert RUN --out adapter.gguf, or ggship package RUN --name NAME",
    ),
    Rule(
        "MF304",
        "warning",
        "A file has the model's name",
        "Ollama takes what lies beside the Modelfile for the model.",
        "Run `ollama create` from another folder with -f, or rename the file.",
    ),
    Rule(
        "MF305",
        "warning",
        "Several models in FROM",
        "Only files can stand side by side; of names the last counts, and it wins over files.",
        "Leave one FROM with a name.",
    ),
    Rule(
        "MF306",
        "error",
        "REQUIRES is no version",
        "Ollama refuses the file.",
        "Write it as 0.30.0.",
    ),
    Rule(
        "MF307",
        "error",
        "TEMPLATE is no Go template",
        "Ollama refuses the model (`template error`).",
        "Close every {{ with }}, and every if, range, with, block and define with {{ end }}.",
    ),
    Rule(
        "MF308",
        "warning",
        "TEMPLATE leaves SYSTEM out",
        "The model never sees the system text.",
        "Put {{ .System }} where training had it.",
    ),
    Rule(
        "MF309",
        "warning",
        "TEMPLATE begins with a BOS token",
        "The server puts one before every prompt where the model's file says so: there would be two.",
        "Leave it out of the template.",
    ),
    Rule(
        "MF310",
        "warning",
        "TEMPLATE is the bare prompt",
        "The model is asked without any mark of who speaks, and its own chat template is switched off.",
        "Leave the line out, or write the template of training. `ollama show --modelfile` shows this line for models"
        " that have none.",
    ),
    Rule(
        "MF311",
        "warning",
        "TEMPLATE beside RENDERER",
        "The renderer makes the prompt; the template is never used.",
        "Leave out one of the two.",
    ),
    Rule(
        "MF312",
        "warning",
        "A path with a pattern in it",
        "Newer servers (seen: 0.34.4) take *, ? and [ in FROM and DRAFT for a pattern, older ones for a name.",
        "Rename the file.",
    ),
)

RULES: dict[str, Rule] = {rule.code: rule for rule in _RULES}


def problem(code: str, line: int, evidence: str, *, fix: str = "") -> Problem:
    """A problem by that rule, in its words but for a fix that is known better."""
    rule = RULES[code]
    return Problem(code, rule.level, line, rule.title, evidence, rule.consequence, fix or rule.fix)
