"""The whole of the settings as values."""

from config.loader import loads
from config.schema import Backend, Config

FILE = """\
listen: [{address: 127.0.0.1:0}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}]
routes: [{name: only, backendRefs: [{name: v1}], seed: shared}]
"""


def backend(**more: object) -> Backend:
    return Backend.model_validate({"name": "v1", "endpoints": ("http://a:1",), **more})


def test_a_digest_is_a_version() -> None:
    """A new build would be judged by the evidence of the old one, or an old one lose its evidence without reason."""
    assert backend().digest() == backend(endpoints=("http://a:1/",)).digest()
    others = {backend(version="2").digest(), backend(name="v2").digest(), backend(endpoints=("http://a:2",)).digest()}
    assert len(others | {backend().digest()}) == 4
    assert len(backend().digest()) == 16
    assert backend(connectionPool={"maxConnections": 5}).digest() == backend().digest()


def test_a_seed_is_the_name_unless_it_is_given() -> None:
    """Two routes that share a seed would send a user to different sides."""
    assert loads(FILE, "FILE").config.routes[0].cohort_seed == "shared"
    assert loads(FILE.replace(", seed: shared", ""), "FILE").config.routes[0].cohort_seed == "only"


def test_settings_are_values() -> None:
    """What a generation was compiled from could change under it."""
    one, other = (loads(FILE, "FILE").config for _ in range(2))
    assert one == other
    assert Config.model_config["frozen"]
