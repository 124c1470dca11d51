"""Put a model behind a gateway."""

from ggship.gateways.gateway import Gateway, GatewayStatus, Said, Tested
from ggship.gateways.model import Channel, Route
from ggship.gateways.one_api import OneApi
from ggship.gateways.routing import Applied, Planned, apply, plan
from ggship.gateways.secrets import KEY, TOKEN, Secret, check_address, need_secret, read_secret
from ggship.gateways.switching import Removed, SwitchedOff, SwitchedOn, fall_back, off, on, remove

__all__ = [
    "KEY",
    "TOKEN",
    "Applied",
    "Channel",
    "Gateway",
    "GatewayStatus",
    "OneApi",
    "Planned",
    "Removed",
    "Route",
    "Said",
    "Secret",
    "SwitchedOff",
    "SwitchedOn",
    "Tested",
    "apply",
    "check_address",
    "fall_back",
    "need_secret",
    "off",
    "on",
    "plan",
    "read_secret",
    "remove",
]
