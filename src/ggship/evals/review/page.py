"""The page's files as one document, with the policy that lets nothing else run in it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from ggship.settings import templates_dir


@dataclass(frozen=True, slots=True)
class Page:
    """html: the document, which holds no data; policy: its Content-Security-Policy."""

    html: bytes
    policy: str


def load_page() -> Page:
    """The review page: its style and its script stand in the document, and only they may act."""
    folder = templates_dir() / "review"
    html, style, script = ((folder / f"review.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    policy = [
        "default-src 'none'",
        f"style-src '{_hash(style)}'",
        f"script-src '{_hash(script)}'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    page = html.replace("/* style */", style).replace("/* script */", script)
    return Page(page.encode(), "; ".join(policy))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
