"""Where clients come in."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from config.listeners.listening import DEFAULT_MODE, Listen
from config.loader import loads
from config.reload import Plan, plan
from config.schema import Config


def listen(**keys: object) -> Listen:
    return Listen.model_validate(keys)


def test_what_a_socket_is_opened_by() -> None:
    """The proxy would listen elsewhere, or let in others, than the file says."""
    assert listen(address="[::1]:80").opened_by == ("::1", 80)
    assert listen(address="unix:/run/u.sock").opened_by == ("unix:/run/u.sock", DEFAULT_MODE)
    assert listen(address="unix:/run/u.sock", mode="0600").opened_by == ("unix:/run/u.sock", 0o600)
    assert listen(address="unix:/run/u.sock", mode="666").opened_by == ("unix:/run/u.sock", 0o666)


@pytest.mark.parametrize(
    ("mode", "remedy"), [(660, '"0660"'), ("rw", '"0660"'), ("0999", '"0660"'), (432, '"0432"'), ("000", '"0660"')]
)
def test_what_is_no_mode(mode: object, remedy: str) -> None:
    """0660 is the number 660 in YAML, and as a number something else than as octal digits."""
    with pytest.raises(ValidationError) as caught:
        listen(address="unix:/run/u.sock", mode=mode)
    assert remedy in caught.value.errors()[0]["ctx"]["remedy"]


def test_a_port_has_no_mode() -> None:
    """Somebody would think that a port is kept from others."""
    with pytest.raises(ValidationError, match="is for Unix-domain sockets"):
        listen(address="127.0.0.1:80", mode="0660")


def config(listeners: str) -> Config:
    text = "backends: [{name: a, endpoints: [http://a:1]}]\nroutes: [{name: r, backendRefs: [{name: a}]}]\n"
    return loads(f"listen: [{listeners}]\n{text}", "FILE").config


def test_what_of_a_listener_needs_a_restart() -> None:
    """An edit that cannot take effect would be called live, or one that can would ask for a restart."""
    one = config("{address: 127.0.0.1:1}, {address: unix:/run/u.sock}")
    trusting = config("{address: 127.0.0.1:1, trustedProxies: [10.0.0.1]}, {address: unix:/run/u.sock}")
    assert plan(one, trusting) == Plan(listeners_changed=("127.0.0.1:1",))
    assert str(plan(one, trusting)) == "listeners changed: 127.0.0.1:1"
    moded = config('{address: 127.0.0.1:1}, {address: unix:/run/u.sock, mode: "0600"}')
    assert plan(one, moded).restart_needed == ("listen",)
