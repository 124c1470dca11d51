"""From a staging name to the public one: the only place that changes what is live."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ggship.errors import ServerError
from ggship.runtimes.model import Runtime

STAGING_TAG = "ggship-staging"
BASE_TAG = "ggship-base"
PREVIOUS_TAG = "previous"


def with_tag(name: str, tag: str) -> str:
    """The same model name with another tag: law-helper, or law-helper:v2, becomes law-helper:TAG."""
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}:{tag}"


def staging_name(name: str) -> str:
    """Where a model waits for its proof."""
    return with_tag(name, STAGING_TAG)


def base_name(name: str) -> str:
    """Where the base stands for comparison, with the tuned model's template and parameters."""
    return with_tag(name, BASE_TAG)


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
    """Put the proven model under its public name. The one that was there keeps the tag `previous`.

    Law: at every moment the public name answers with the old or the new model, since a copy replaces it at once.
    Raises ServerError where the server does not hold, afterwards, exactly what was proven.
    """
    before = runtime.digest(public)
    previous = ""
    if before and before != digest:
        previous = with_tag(public, PREVIOUS_TAG)
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
