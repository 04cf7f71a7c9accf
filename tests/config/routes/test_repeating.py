"""How often stable is asked the same again."""

import pytest

from config.loader import loads
from config.values.problems import ConfigError

FILE = """\
listen: [{address: 127.0.0.1:0}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}, {name: v2, endpoints: [http://127.0.0.1:9001]}]
routes:
  - name: only
    backendRefs: [{name: v1}]
    mirrors: [{backend: v2, repeat: %s}]
    predictions: {protocol: open-inference, outputs: [{name: label, kind: category}]}
"""


def test_a_share_of_the_copies_is_repeated() -> None:
    """The noise of the model would never be known."""
    mirror = loads(FILE % "{percent: 2.5}", "FILE").config.routes[0].mirrors[0]
    assert mirror.repeat is not None
    assert mirror.repeat.percent == 2.5


@pytest.mark.parametrize("repeat", ["{}", "10", "{percent: 101}", "{percent: 10%}", "{share: 10}"])
def test_what_is_no_share_is_refused(repeat: str) -> None:
    """A slip of the pen would ask stable twice for everything, or for nothing."""
    with pytest.raises(ConfigError):
        loads(FILE % repeat, "FILE")


def test_answers_that_nobody_reads_are_not_asked_for() -> None:
    """Stable would have the load of second requests, of which nothing is ever compared."""
    text = (FILE % "{percent: 10}").replace("    predictions:", "    # predictions:")
    with pytest.raises(ConfigError, match=r"mirrors\[0\]\.repeat: asks stable twice .* add `predictions`"):
        loads(text, "FILE")
