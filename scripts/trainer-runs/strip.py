"""Copy a run without pickles, pictures, paths of this machine, and what is long and says nothing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

# Where someone may have trained: a path of the kind that no package may ever show.
ELSEWHERE = "/home/petra/train"
DROPPED = (".bin", ".pt", ".pth", ".png")
IN_THE_RUN_ALONE = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "README.md", "debug.log")
LONGEST_LINE = 2_000


def strip(run: Path, kept: Path, work: Path) -> None:
    """`run` as `kept`, with the work folder called ELSEWHERE. Of several checkpoints the last is kept whole.

    Of the others, the adapter is kept: what they say of training stands in the last one too.
    """
    shutil.rmtree(kept, ignore_errors=True)
    checkpoints = sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    whole = {run, *checkpoints[-1:]}
    for file in sorted(run.rglob("*")):
        inside = file.relative_to(run)
        if not file.is_file() or file.suffix in DROPPED or any(part.is_symlink() for part in (file, file.parent)):
            continue
        if file.parent not in whole and not file.name.startswith(("adapter_", "trainer_state")):
            continue
        if file.parent != run and file.name in IN_THE_RUN_ALONE and (run / file.name).is_file():
            continue
        target = kept / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".safetensors":
            shutil.copyfile(file, target)
        else:
            target.write_text(cleaned(file.read_text("utf-8"), work), "utf-8")


def cleaned(text: str, work: Path) -> str:
    """The text without this machine's folders, process numbers and times of day; overlong values are cut."""
    text = text.replace(str(work), ELSEWHERE).replace(str(Path.home()), "/home/petra")
    text = re.sub(r"\S+/(site-packages/)", r"\1", text)
    text = re.sub(r"\[PID:\d+\]", "[PID:1]", text)
    return "\n".join(line if len(line) <= LONGEST_LINE else shorter(line) for line in text.split("\n"))


def shorter(line: str) -> str:
    """A line of JSON whose one text is a program's dump of its own objects (ms-swift: model_meta, training_args)."""
    match = re.fullmatch(r'(\s*"\w+": )(".*")(,?)', line)
    return f"{match[1]}{json.dumps(json.loads(match[2])[:200])}{match[3]}" if match else line
