"""What a Python child of ours is started with, so that it imports nothing from the folder the user stands in."""

from __future__ import annotations

import os
from pathlib import Path


def child_environment() -> dict[str, str]:
    """Our environment for a child that runs in a folder of its own, as `python -m` must: it imports from where it is.

    Relative entries of PYTHONPATH keep their meaning. Empty ones, which mean the current folder to Python, are left
    out: a run that somebody downloaded may lie there, with a jinja2.py beside it.
    """
    env = dict(os.environ)
    parts = [part for part in env.pop("PYTHONPATH", "").split(os.pathsep) if part]
    if parts:
        env["PYTHONPATH"] = os.pathsep.join(str(Path(part).resolve()) for part in parts)
    return env
