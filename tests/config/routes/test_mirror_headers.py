"""What is changed in the header of a copy."""

import pytest

from config.loader import loads
from config.values.problems import ConfigError

FILE = """\
listen: [{address: 127.0.0.1:0}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}, {name: v2, endpoints: [http://127.0.0.1:9001]}]
routes: [{name: only, backendRefs: [{name: v1}], mirrors: [{backend: v2, headers: %s}]}]
"""


def test_fields_are_set_and_removed() -> None:
    """A shadow would be given what the file says it is to go without."""
    text = FILE % "{set: {x-tenant: shadow}, remove: [authorization]}"
    headers = loads(text, "FILE").config.routes[0].mirrors[0].headers
    assert (dict(headers.set), headers.remove) == ({"x-tenant": "shadow"}, ("authorization",))


@pytest.mark.parametrize(
    "headers",
    ['{set: {x: "a\\r\\nb: c"}}', "{set: {x: ü}}", '{set: {x: " a"}}', "{remove: [host]}", "{set: {Expect: x}}"],
)
def test_what_would_break_the_framing_is_refused(headers: str) -> None:
    """A line of settings could smuggle a field, or a second request, into a copy."""
    with pytest.raises(ConfigError):
        loads(FILE % headers, "FILE")
