"""Characters that cannot be seen, or act on a terminal, made visible."""

from __future__ import annotations

import re

# Controls other than line feed and tab, marks that turn the direction of writing or are never seen, tag characters.
# Joiners (U+200C, U+200D) stay: Persian and emoji need them.
ODD = re.compile(
    "([\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f])(?:\\1{3,})?"  # a long run of the same one is told once, with its length
)


def visible(characters: str) -> str:
    """What stands for a character that cannot be seen: U+202E. In letters, since few fonts have the pictures.

    Of a run of the same one: U+0000×512.
    """
    return f"U+{ord(characters[0]):04X}" + (f"×{len(characters)}" if len(characters) > 1 else "")


def escape_odd(text: str) -> str:
    """The text with every such character replaced by what stands for it; safe for a terminal or a table."""
    return ODD.sub(lambda match: visible(match.group()), text)
