"""What the hub and its library say, in our words: where, and what to type next. No token, no signed address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ggship.errors import GgshipError, ServerError, UsageError
from ggship.publish.target import HubPlace
from ggship.secrets import Secret

TOKENS = "https://huggingface.co/settings/tokens"
_LONGEST = 300
_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")


@contextmanager
def explained(place: HubPlace, what: str, token: Secret | None) -> Iterator[None]:
    """Turn whatever the hub's library raises into a ServerError. what: what was being done, for people."""
    from huggingface_hub import errors
    from huggingface_hub.utils import logging

    # It logs what it tries again, with addresses that are signed for the upload: who has one can write there.
    loud = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    except GgshipError:
        raise
    except errors.HFValidationError as error:
        raise UsageError(f"this is no repository on the Hugging Face hub: {place}", where=_line(error, token)) from None
    except Exception as error:
        if not _of_hub(error):
            raise
        # The chain of causes holds addresses that are signed for the upload, and headers: it ends here.
        raise _told(error, place, what, token) from None
    finally:
        logging.set_verbosity(loud)


def _of_hub(error: BaseException) -> bool:
    """OSError covers most; the library also raises ValueError and RuntimeError for what a server sends."""
    modules = ("httpx", "httpx2", "requests", "huggingface_hub", "hf_xet")
    return isinstance(error, OSError | ValueError | RuntimeError) or type(error).__module__.partition(".")[0] in modules


def _told(error: BaseException, place: HubPlace, what: str, token: Secret | None) -> ServerError:
    where = _line(_root(error), token)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if error.__cause__ is not None and "uploading" in str(error):
        status = None  # what the storage says of a signed address is no word about the token
    if status == 401:
        return ServerError(
            "the hub does not take the token: it is expired, revoked, or not whole",
            where=f"{what}: {where}",
            hint=f"make a new one with write access at {TOKENS} and put it into HF_TOKEN",
            status=status,
        )
    if status == 403:
        return ServerError(
            f"the token may not write to {place}",
            where=f"{what}: {where}",
            hint=f"its rights are at {TOKENS}; is {place.user} you, or an organization of yours?",
            status=status,
        )
    if status in (409, 412):
        return ServerError(
            f"someone else changed {place} at the same moment: nothing was committed",
            where=f"{what}: {where}",
            hint="look at what changed there, then run the same command again",
            status=status,
        )
    hint = "run the same command again: large files that arrived whole are not sent twice"
    if "xet-" in where and status is None:
        hint = f"{hint}; for a hub without Xet storage set HF_HUB_DISABLE_XET=1"
    return ServerError(
        f"{what} failed: nothing was committed",
        where=where,
        hint=hint,
        status=status,
    )


def _root(error: BaseException) -> BaseException:
    """The cause that tells most: the library wraps it in "Error while uploading"."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _line(error: BaseException, token: Secret | None) -> str:
    told = getattr(error, "server_message", None) or str(error).partition("For more information")[0]
    text = _QUERY.sub(r"\1", " ".join(str(told).split())[:_LONGEST]) or type(error).__name__
    return token.hide_in(text) if token else text
