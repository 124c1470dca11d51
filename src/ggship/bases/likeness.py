"""How much the name of a model at hand is like the name that training wrote down."""

from __future__ import annotations

import re

# Words that tell variants of a family apart. Ollama's names leave the first ones out: qwen2.5:7b is the instruct model.
ASSISTANTS = frozenset(("instruct", "chat", "it"))
OTHERS = frozenset(("base", "coder", "math", "vl", "thinking", "reasoning", "distill", "vision", "guard"))
_PART = re.compile(r"-\d{5}-of-\d{5}$")
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


def likeness(named: str, *candidate: str) -> float:
    """0 (nothing in common) to 1 (each word of `named` is in a name of the candidate); near 0 where variants differ.

    candidate: all names that one model has. Laws: likeness(x, x) == 1 where x has any word that tells something;
    an instruct model is never like a base that training named without that word, nor a coder model like a plain one.
    """
    ours = words_of(_last(named))
    theirs = {word for name in candidate for word in words_of(unquantized(name))}
    if not ours:
        return 0.0
    run_together = " ".join("".join(re.findall(r"[a-z0-9.]+", name.lower())) for name in candidate)
    there = [word for word in ours if word in theirs or (len(word) > 2 and word in run_together)]
    said = theirs & (ASSISTANTS | OTHERS)
    wanted = set(ours) & (ASSISTANTS | OTHERS)
    silent = (wanted & ASSISTANTS) - set(there) if not said else set()
    if (said - wanted) or (wanted - set(there) - silent):
        return 0.1 * len(there) / len(ours)
    counted = [word for word in ours if word not in silent]
    return len(there) / len(counted) - 0.05 * len(silent) if counted else 0.0


def tells_a_model(named: str) -> bool:
    """Whether a name says which model it is (`Qwen2.5-7B`), rather than where someone put it (`/data/model`)."""
    return any(any(char.isdecimal() for char in word) for word in words_of(_last(named)))


def _last(named: str) -> str:
    """The part of a path or repository that names the model."""
    return unquantized((repository_of(named)[0] or named).replace("\\", "/").rstrip("/").rpartition("/")[2])


def words_of(name: str) -> list[str]:
    """The words of a name that tell something, in order: `Qwen2.5-7B-Instruct-Q4_K_M.gguf` is qwen2.5, 7b, instruct."""
    stem = _PART.sub("", name.lower().removesuffix(".gguf")).replace("___", ".")
    words = re.findall(r"[a-z0-9.]+", stem)
    return [word for word in dict.fromkeys(word.strip(".") for word in words) if word and not _NOISE.match(word)]
