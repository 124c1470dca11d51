"""From a staging name to the public one: the only place that changes what is live."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ggship.errors import ServerError, UsageError
from ggship.runtimes.model import Runtime
from ggship.runtimes.names import MODEL_LENGTH, check_model_name

STAGING_TAG = "ggship-staging"
BASE_TAG = "ggship-base"
PREVIOUS_TAG = "previous"
LATEST_TAG = "latest"


def check_public_name(name: str) -> None:
    """Raise UsageError unless people can use this name: Ollama takes it, and its tag is none that ggship needs itself.

    A model of such a tag would be deleted, or replaced, by the next job on the same name.
    """
    check_model_name(name)
    tag = _tag(name).casefold()
    if tag in (STAGING_TAG, BASE_TAG, PREVIOUS_TAG) or tag.startswith(f"{PREVIOUS_TAG}-"):
        raise UsageError(
            f"the tag {_tag(name)!r} is one that ggship itself uses while it works",
            where=name,
            hint=f"for example: {bare_name(name)}, or {bare_name(name)}:prod",
        )


def bare_name(name: str) -> str:
    """The model name without its tag."""
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def with_tag(name: str, tag: str) -> str:
    """The same model name with another tag: law-helper, or law-helper:v2, becomes law-helper:TAG."""
    return f"{bare_name(name)}:{tag}"


def staging_name(name: str) -> str:
    """Where a model waits for its proof."""
    return with_tag(name, STAGING_TAG)


def base_name(name: str) -> str:
    """Where the base stands for comparison, with the tuned model's template and parameters."""
    return with_tag(name, BASE_TAG)


def previous_name(name: str) -> str:
    """Where the model before waits: law:previous for law, law:previous-v1 for law:v1, so that no two share a place."""
    tag = _tag(name)
    return with_tag(name, PREVIOUS_TAG if tag in ("", LATEST_TAG) else f"{PREVIOUS_TAG}-{tag}"[:MODEL_LENGTH])


def version_stem(name: str) -> str:
    """What the names of its versions begin with: law:v for law, law:prod-v for law:prod."""
    tag = _tag(name)
    return with_tag(name, "v" if tag in ("", LATEST_TAG) else f"{tag[: MODEL_LENGTH - 8]}-v")


def version_name(name: str, number: int) -> str:
    """The name of one version: law:v3 for law, law:prod-v3 for law:prod, so that no two share a place."""
    return f"{version_stem(name)}{number}"


def _tag(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[2]


@contextmanager
def temporary(runtime: Runtime, *names: str) -> Iterator[None]:
    """Take these names away at the end, whatever happens; a server that is down by then is no second error."""
    try:
        yield
    finally:
        for name in names:
            try:
                runtime.delete(name)
            except ServerError:
                continue


@dataclass(frozen=True, slots=True)
class Promotion:
    """What promotion did: the public name, its digest now, and the name that the model before it keeps (or "")."""

    name: str
    digest: str
    previous: str


def promote(runtime: Runtime, staging: str, public: str, digest: str) -> Promotion:
    """Put the proven model under its public name. The one that was there keeps another, see `previous_name`.

    Law: at every moment the public name answers with the old or the new model, since a copy replaces it at once.
    Raises ServerError where the server does not hold, afterwards, exactly what was proven.
    """
    before = runtime.digest(public)
    previous = ""
    if before and before != digest:
        previous = previous_name(public)
        runtime.copy(public, previous)
    if before != digest:
        if runtime.digest(staging) != digest:
            raise ServerError(
                "the proven model is gone from the server, or was changed by someone else",
                where=staging,
                hint="run the same command again",
            )
        runtime.copy(staging, public)
    now = runtime.digest(public)
    if now != digest:
        raise ServerError(
            "after promotion the server holds another model than the proven one",
            where=f"{public}: {now}, proven: {digest}",
            hint=f"the model before it is kept as {previous}" if previous else "run the same command again",
        )
    return Promotion(public, digest, previous)
