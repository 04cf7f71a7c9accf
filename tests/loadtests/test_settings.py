"""The peers' configuration files."""

import json

import pytest
import yaml

from config.loader import loads
from loadtests import settings
from loadtests.cases import MODES, PLAIN, STREAMED, Mode
from loadtests.settings import Place
from proxy.snapshot import CIRCLE, decode, encode

PLACE = Place(port=8000, stable=9001, canary=9002, shadow=9003, folder="/nowhere", admin=8001)
MIRROR = MODES["mirror"]


def clusters_of(text: str) -> dict:
    listener = json.loads(text)["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]


@pytest.mark.parametrize("mode", MODES.values(), ids=lambda mode: mode.name)
def test_understudy_accepts_its_own_file(mode):
    """A comparison would leave Understudy out, because its file names a setting that is gone."""
    config = loads(yaml.safe_dump(settings.understudy(PLACE, mode)), "bench.yaml").config
    assert [ref.weight for ref in config.routes[0].backend_refs] == [100 - mode.canary_percent, mode.canary_percent]
    assert bool(config.routes[0].mirrors) is mode.mirror
    assert (config.routes[0].predictions is not None) is mode.predictions


@pytest.mark.parametrize("mode", MODES.values(), ids=lambda mode: mode.name)
def test_the_snapshot_of_a_worker_covers_the_circle(mode):
    """Some users of a worker that runs alone would meet no version, or more of them the canary than elsewhere."""
    route = decode(encode(settings.worker(PLACE, mode))).routes[0]
    bounds = [0, *(segment.upper for segment in route.segments)]
    shares = {segment.arm: segment.upper - lower for segment, lower in zip(route.segments, bounds, strict=False)}
    assert bounds[-1] == CIRCLE
    assert shares.get(1, 0) == CIRCLE * mode.canary_percent // 100
    assert [mirror.share for mirror in route.mirrors] == [CIRCLE] * mode.mirror


def test_envoy_splits_by_the_hash_of_the_user():
    """Envoy would split at random, which costs it less than what the others do."""
    route = clusters_of(settings.envoy(PLACE, PLAIN))
    assert route["weighted_clusters"]["use_hash_policy"] is True
    assert [one["weight"] for one in route["weighted_clusters"]["clusters"]] == [90, 10]
    assert route["hash_policy"] == [{"header": {"header_name": "x-user-id"}}]


def test_copies_are_made_only_in_the_mirroring_mode():
    """The plain mode would pay for copies, or the mirroring mode make none."""
    assert "request_mirror_policies" in clusters_of(settings.envoy(PLACE, MIRROR))
    assert "request_mirror_policies" not in clusters_of(settings.envoy(PLACE, PLAIN))
    assert "mirror /copy;" in settings.nginx(PLACE, MIRROR, superuser=False)
    assert "mirror" not in settings.nginx(PLACE, PLAIN, superuser=False)


def test_nginx_and_haproxy_send_the_same_share_to_the_canary():
    """Peers would be compared under different weights."""
    nginx = settings.nginx(PLACE, PLAIN, superuser=True)
    assert 'split_clients "$http_x_user_id" $version { 10% canary; * stable; }' in nginx
    assert nginx.startswith("user root;")
    haproxy = settings.haproxy(PLACE, PLAIN)
    assert "server stable 127.0.0.1:9001 weight 90\n" in haproxy
    assert "server canary 127.0.0.1:9002 weight 10\n" in haproxy


def test_large_bodies_are_passed_on_as_they_come():
    """nginx would write 1 GiB to a file, Envoy cut the transfer after 10 s, and neither be compared fairly."""
    assert "proxy_request_buffering off;" in settings.nginx(PLACE, STREAMED, superuser=False)
    assert "proxy_request_buffering on;" in settings.nginx(PLACE, PLAIN, superuser=False)
    assert clusters_of(settings.envoy(PLACE, STREAMED))["timeout"] == "0s"
    assert loads(yaml.safe_dump(settings.understudy(PLACE, STREAMED)), "bench.yaml").config.routes[0].timeouts.request


def test_every_proxy_takes_as_many_connections_as_are_opened():
    """Idle connections would be turned away, and the rest look cheap."""
    mode = Mode("idle", "idle", clients=10_000)
    assert "worker_connections 21024;" in settings.nginx(PLACE, mode, superuser=False)
    assert "maxconn 10256\n" in settings.haproxy(PLACE, mode)
    config = loads(yaml.safe_dump(settings.understudy(PLACE, mode)), "bench.yaml").config
    assert config.limits.max_connections == 10_256
