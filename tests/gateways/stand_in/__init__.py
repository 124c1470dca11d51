"""A One-API stand-in on a real socket: the admin and relay answers of the real gateway, channels kept in memory.

It is held to 59 recorded exchanges of a real One-API by test_stand_in.py. It has the quirks that hurt clients: errors
as 200 with `success: false`, no id after a create, names that are not unique, updates that skip zero values, updates
of nothing that succeed, an update's answer that carries the key in plain text, a prefix search.
"""

from .answers import Answer
from .gateway import Call, StandIn
from .upstream import Said, UpstreamFailed

__all__ = ["Answer", "Call", "Said", "StandIn", "UpstreamFailed"]
