"""How much the name of a model at hand is like the name that training wrote down."""

from __future__ import annotations

import re

# Words that tell variants of a family apart: they must be the same on both sides.
_VARIANTS = frozenset(
    ("instruct", "chat", "base", "it", "coder", "math", "vl", "thinking", "reasoning", "distill", "vision", "guard")
)
_NOISE = re.compile(
    r"^(?:gguf|ggml|hf|latest|f16|fp16|bf16|f32|fp32|i?q\d.*|[ksml]|xs|xxs|nl|unsloth|bnb|4bit|8bit|gptq|awq|int[48]|mlx|v)$"
)


def repository_of(named: str) -> tuple[str, str]:
    """(org/name, revision) that a base_model_name_or_path means, also where it is a path into a cache; "" unknown.

    Hugging Face: .../models--ORG--NAME/snapshots/REV. ModelScope: .../modelscope/hub/[models/]ORG/NAME, `.` as `___`.
    """
    path = named.replace("\\", "/").rstrip("/")
    cached = re.search(r"models--([^/]+?)--([^/]+?)/snapshots/([^/]+)", path)
    if cached:
        return f"{cached[1]}/{cached[2]}", cached[3]
    scope = re.search(r"modelscope/(?:hub/)?(?:models/)?([^/]+)/([^/]+)$", path)
    if scope:
        return f"{scope[1]}/{scope[2].replace('___', '.')}", ""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", path) and not path.startswith("."):
        return path, ""
    return "", ""


def unquantized(name: str) -> str:
    """The name without the mark of a 4-bit copy: Unsloth trains on `X-bnb-4bit`, made of `X`."""
    return re.sub(r"(?:-unsloth)?-bnb-[48]bit$", "", name, flags=re.IGNORECASE)


def likeness(named: str, candidate: str) -> float:
    """0 (nothing in common) to 1 (each word of `named` is in `candidate`); less where variants differ.

    Law: likeness(x, x) == 1 where x has any word that tells something.
    """
    last = unquantized((repository_of(named)[0] or named).replace("\\", "/").rstrip("/").rpartition("/")[2])
    ours, theirs = _words(last), _words(unquantized(candidate))
    if not ours:
        return 0.0
    run_together = "".join(re.findall(r"[a-z0-9.]+", candidate.lower()))
    common = [word for word in ours if word in theirs or (len(word) > 2 and word in run_together)]
    score = len(common) / len(ours)
    odd = ((set(theirs) & _VARIANTS) - set(ours)) | ((set(ours) & _VARIANTS) - set(common))
    return max(0.0, score - 0.6 * len(odd))


def tells_a_model(named: str) -> bool:
    """Whether a name says which model it is (`Qwen2.5-7B`), rather than where someone put it (`/data/model`)."""
    last = (repository_of(named)[0] or named).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return any(any(char.isdecimal() for char in word) for word in _words(unquantized(last)))


def _words(name: str) -> list[str]:
    words = re.findall(r"[a-z0-9.]+", name.lower().removesuffix(".gguf"))
    return [word for word in dict.fromkeys(word.strip(".") for word in words) if word and not _NOISE.match(word)]
