"""What goes back over the socket, in the words of One-API."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What goes back over the socket. `body` is sent as JSON, or as it is where it is text."""

    status: int
    body: Any
    content_type: str | None = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def ok(data: Any) -> Answer:
    """The envelope of success."""
    return Answer(200, {"success": True, "message": "", "data": data})


def failed(message: str, status: int = 200) -> Answer:
    """The envelope of failure, which is mostly a 200."""
    return Answer(status, {"success": False, "message": message})


def openai_error(status: int, message: str, kind: str, **more: str) -> Answer:
    """An error as OpenAI words it."""
    return Answer(status, {"error": {"message": message, "type": kind, **more}})


def relay_error(status: int, message: str, kind: str = "one_api_error", **more: str) -> Answer:
    """An error of the relay, with the id of the request."""
    return openai_error(status, f"{message} (request id: {time.time_ns()})", kind, **more)
