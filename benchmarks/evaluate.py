"""What `ggship eval` costs beside the questions themselves: whole processes, in turns with a bare loop.

    python benchmarks/evaluate.py --host http://127.0.0.1:11434 --model smollm2:135m [--rounds 5] [--promptfoo PROGRAM]

Each process asks the same questions in the same words, one after the other, of the same server; the answers are
compared before a figure is printed. The bare loop is the least that a Python program can do: one connection, a request,
the lines of its answer. ggship also asks for the model's digest, warms it up and judges. Two suites: a short one, where
starting up is what costs (asked: 0.5 s beside a loop of 3 s), and a long one, where only what each case costs counts
(asked: 3 %). --promptfoo names promptfoo's program (npm install promptfoo), which then asks the short suite too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BARE = """
import http.client, json, sys
from urllib.parse import urlsplit
asked = json.load(open(sys.argv[1]))
connection = http.client.HTTPConnection(urlsplit(asked["host"]).netloc)
answers = []
for question in asked["questions"]:
    body = {"model": asked["model"], "messages": [{"role": "user", "content": question}], "options": asked["options"],
            "stream": True}
    connection.request("POST", "/api/chat", json.dumps(body), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    answers.append("".join(json.loads(line)["message"]["content"] for line in reply))
json.dump(answers, sys.stdout)
"""
CHECKS = [{"type": "icontains", "value": "a"}, {"type": "regex", "value": "[a-z]"}]
THINGS = ("a contract", "a lease", "copyright", "a trademark", "a will", "mediation", "a deposit", "a warranty")


@dataclass(frozen=True)
class Suite:
    """Questions with as many tokens of an answer. budget: the most that ggship may take beside the bare loop."""

    name: str
    questions: list[str]
    tokens: int


def questions(count: int) -> list[str]:
    """Different ones, of a few words each."""
    return [f"Say in one sentence what {THINGS[n % len(THINGS)]} is, version {n}." for n in range(count)]


class Field:
    """The server, a folder for what is written, and the programs that are measured."""

    def __init__(self, folder: Path, host: str, model: str, promptfoo: str | None) -> None:
        self.folder = folder
        self.host = host.rstrip("/")
        self.model = model
        self.promptfoo = promptfoo
        self.environment = {**os.environ, "GGSHIP_CACHE_DIR": f"{folder}/cache", "GGSHIP_STATE_DIR": f"{folder}/state"}

    def bare(self, suite: Suite) -> list[str]:
        """The loop's command line."""
        options = {"temperature": 0, "seed": 42, "num_predict": suite.tokens, "repeat_penalty": 1.0, "top_k": 1}
        asked = {"host": self.host, "model": self.model, "questions": suite.questions, "options": options}
        path = self.folder / f"{suite.name}.json"
        path.write_text(json.dumps(asked))
        return [sys.executable, "-c", BARE, str(path)]

    def ggship(self, suite: Suite) -> list[str]:
        """ggship's."""
        tests = [{"prompt": question, "assert": CHECKS} for question in suite.questions]
        # A model that is cut after a few tokens is no failure here: only time is measured.
        smoke = dict.fromkeys(("answers", "stops", "no-leaks", "no-loops"), 1)
        document = {"version": 1, "defaults": {"options": {"num_predict": suite.tokens}}, "gates": ["pass_rate >= 0"]}
        path = self.folder / f"{suite.name}.yaml"
        path.write_text(json.dumps({**document, "smoke": smoke, "tests": tests}))
        return [sys.executable, "-m", "ggship", "eval", f"{self.host}#{self.model}", "--suite", str(path), "--json"]

    def others(self, suite: Suite) -> list[str]:
        """promptfoo's, without its cache, one at a time."""
        options = {"temperature": 0, "seed": 42, "num_predict": suite.tokens, "repeat_penalty": 1.0, "top_k": 1}
        tests = [{"vars": {"q": question}, "assert": CHECKS} for question in suite.questions]
        provider = {"id": f"ollama:chat:{self.model}", "config": options}
        path = self.folder / "promptfooconfig.json"
        path.write_text(json.dumps({"prompts": ["{{q}}"], "providers": [provider], "tests": tests}))
        more = {"OLLAMA_BASE_URL": self.host, "PROMPTFOO_CONFIG_DIR": f"{self.folder}/promptfoo"}
        quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1"}
        self.environment |= {**more, **quiet, "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1"}
        assert self.promptfoo
        return [self.promptfoo, "eval", "-c", str(path), "--no-cache", "--no-table", "--no-progress-bar", "-j", "1"]

    def run(self, command: list[str]) -> tuple[float, str]:
        """(Seconds of wall clock, what it printed)."""
        began = time.perf_counter()
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        took = time.perf_counter() - began
        if done.returncode not in (0, 100):  # promptfoo's for an assertion that failed
            sys.exit(f"{' '.join(command[:4])}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return took, done.stdout


def programs_of(field: Field, suite: Suite) -> dict[str, list[str]]:
    """The command line of each program that is measured."""
    programs = {"bare loop": field.bare(suite), "ggship eval": field.ggship(suite)}
    return programs | ({"promptfoo": field.others(suite)} if field.promptfoo and suite.name != "long" else {})


def measured(field: Field, suite: Suite, rounds: int) -> None:
    """Print the rounds, the medians and their ratio."""
    for command in programs_of(field, Suite("warm", suite.questions[:1], suite.tokens)).values():
        field.run(command)  # not counted: files and the model get warm
    programs = programs_of(field, suite)
    print(f"\n{suite.name}: {len(suite.questions)} questions, {suite.tokens} tokens each at most", flush=True)
    times: dict[str, list[float]] = {name: [] for name in programs}
    said: dict[str, str] = {}
    for number in range(rounds):
        for name in list(programs)[:: 1 if number % 2 else -1]:
            took, said[name] = field.run(programs[name])
            times[name].append(took)
    loop = json.loads(said["bare loop"])
    ours = [case["tuned"]["text"] for case in json.loads(said["ggship eval"])["cases"]]
    if loop != ours:
        sys.exit(f"the answers differ: {next(pair for pair in zip(loop, ours, strict=True) if pair[0] != pair[1])}")
    for name, taken in times.items():
        print(f"  {name:12} {' '.join(f'{each:7.2f}' for each in taken)}   median {statistics.median(taken):7.2f} s")
    pairs = list(zip(times["ggship eval"], times["bare loop"], strict=True))
    more, share = statistics.median(a - b for a, b in pairs), statistics.median(a / b - 1 for a, b in pairs)
    print(f"  ggship over the loop, round by round: median {more:+.2f} s, {100 * share:+.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", required=True, help="an Ollama server")
    parser.add_argument("--model", required=True, help="a model that it holds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", type=int, default=30, help="questions of the short suite (0: leave it out)")
    parser.add_argument("--short-tokens", type=int, default=8)
    parser.add_argument("--long", type=int, default=60, help="questions of the long suite (0: leave it out)")
    parser.add_argument("--long-tokens", type=int, default=64)
    parser.add_argument("--promptfoo", help="promptfoo's program")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        field = Field(Path(folder), asked.host, asked.model, asked.promptfoo)
        if asked.short:
            measured(field, Suite("short", questions(asked.short), asked.short_tokens), asked.rounds)
        if asked.long:
            measured(field, Suite("long", questions(asked.long), asked.long_tokens), max(1, asked.rounds // 2))


if __name__ == "__main__":
    main()
