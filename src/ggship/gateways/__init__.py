"""Put a model behind a gateway."""

from ggship.gateways.model import Channel, Route
from ggship.gateways.one_api import GatewayStatus, OneApi
from ggship.gateways.routing import Applied, SwitchedOff, apply, off
from ggship.gateways.secrets import KEY, TOKEN, Secret, check_address, need_secret, read_secret

__all__ = [
    "KEY",
    "TOKEN",
    "Applied",
    "Channel",
    "GatewayStatus",
    "OneApi",
    "Route",
    "Secret",
    "SwitchedOff",
    "apply",
    "check_address",
    "need_secret",
    "off",
    "read_secret",
]
