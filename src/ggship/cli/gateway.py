"""ggship gateway: put a model behind a gateway, take it off, look at what is there."""

from __future__ import annotations

import click

from ggship.cli.gateway_canary import canary, promote, rollback
from ggship.cli.gateway_look import add, probe, status
from ggship.cli.gateway_route import apply, plan
from ggship.cli.gateway_switch import off, on, remove


@click.group()
def gateway() -> None:
    """Put a model behind One-API, new-api or LiteLLM; take it off; see what clients get.

    NAME is a package's name or folder, NAME@VERSION the model of that tag (law-helper@v3 is law-helper:v3).

    The admin's access token is read from GGSHIP_GATEWAY_TOKEN, or from the file (mode 600) that
    GGSHIP_GATEWAY_TOKEN_FILE names, or from the keyring's entry that GGSHIP_GATEWAY_TOKEN_KEYRING names
    (SERVICE/USER); a client's key, to ask the model as users do, from GGSHIP_GATEWAY_KEY in the same ways. For a
    gateway named office, GGSHIP_GATEWAY_TOKEN_OFFICE and GGSHIP_GATEWAY_KEY_OFFICE come first.

    \b
    ggship gateway add office --url http://127.0.0.1:3000
    ggship gateway plan law-helper
    ggship gateway apply law-helper
    """


for command in (add, plan, apply, probe, off, on, canary, promote, rollback, status, remove):
    gateway.add_command(command)
