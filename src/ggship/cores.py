"""How many cores this process may use: of a machine's 64, a container or a batch system may have given it two."""

from __future__ import annotations

import os


def cores() -> int:
    """The cores that the scheduler lets us have, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
