"""The peers' configuration files, as equal as they can be made: a tenth of the users to the canary, always the same
users, connections kept open on both sides, one worker, no access log, whole bodies in memory.

With mirroring all live traffic goes to stable, since Understudy copies the requests of stable alone: those are what it
compares with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from loadtests.cases import KEY_HEADER, Mode
from proxy import snapshot

ROWS: Final = {"stable": snapshot.RowRef(0, 1), "canary": snapshot.RowRef(1, 2), "shadow": snapshot.RowRef(2, 3)}
"""Rows of the ledger where a worker alone counts."""
MAX_BODY_BYTES: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer listens, where its upstreams are (ports of the loopback address), and its folder."""

    port: int
    stable: int
    canary: int
    shadow: int
    folder: str
    admin: int = 0


def nginx(place: Place, mode: Mode, *, superuser: bool) -> str:
    """The configuration of nginx: `split_clients` by the user's header, `mirror` for copies."""
    pools = "\n".join(
        f"  upstream {role} {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 100000000; }}"
        for role, port in (("stable", place.stable), ("canary", place.canary), ("shadow", place.shadow))
    )
    forward = 'proxy_http_version 1.1; proxy_set_header Connection "";'
    copy = f"location = /copy {{ internal; proxy_pass http://shadow$request_uri; {forward} }}" if mode.mirror else ""
    canary = f"{mode.canary_percent}% canary;" if mode.canary_percent else ""
    temporary = "\n".join(
        f"  {kind}_temp_path {place.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = "off" if mode.streamed else "on"
    return f"""\
{"user root;" if superuser else ""}
daemon off;
worker_processes 1;
pid {place.folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {_connections(mode)}; }}
http {{
  access_log off;
{temporary}
  client_max_body_size 0;
  proxy_request_buffering {whole};
  client_body_buffer_size {MAX_BODY_BYTES};
  proxy_buffers 128 16k;
  proxy_max_temp_file_size 0;
  split_clients "$http_{KEY_HEADER.replace("-", "_")}" $version {{ {canary} * stable; }}
{pools}
  server {{
    listen 127.0.0.1:{place.port} backlog=4096;
    keepalive_requests 100000000;
    location / {{ {"mirror /copy;" if mode.mirror else ""} proxy_pass http://$version; {forward} }}
    {copy}
  }}
}}
"""


def haproxy(place: Place, mode: Mode) -> str:
    """The configuration of haproxy: weights under a hash of the user's header."""
    return f"""\
global
  nbthread 1
  maxconn {max(4096, mode.clients + 256)}
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 10s
  option http-keep-alive
  http-reuse always
frontend clients
  bind 127.0.0.1:{place.port} backlog 4096
  default_backend versions
backend versions
  balance hdr({KEY_HEADER})
  hash-type consistent sdbm avalanche
  server stable 127.0.0.1:{place.stable} weight {100 - mode.canary_percent}
  server canary 127.0.0.1:{place.canary} weight {mode.canary_percent}
"""


def envoy(place: Place, mode: Mode) -> str:
    """The configuration of Envoy (JSON): weighted clusters under a hash policy, request_mirror_policies for copies."""
    route: dict[str, Any] = {
        "weighted_clusters": {
            "clusters": [
                {"name": "stable", "weight": 100 - mode.canary_percent},
                {"name": "canary", "weight": mode.canary_percent},
            ],
            "use_hash_policy": True,
        },
        "hash_policy": [{"header": {"header_name": KEY_HEADER}}],
        "timeout": "0s" if mode.streamed else "10s",
    }
    if mode.mirror:
        route["request_mirror_policies"] = [{"cluster": "shadow"}]
    manager = {
        "@type": _envoy_type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "clients",
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
        },
        "http_filters": [
            {"name": "router", "typed_config": {"@type": _envoy_type("filters.http.router.v3.Router")}},
        ],
    }
    listener = {
        "name": "clients",
        "address": _envoy_address(place.port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    clusters = [
        _envoy_cluster("stable", place.stable),
        _envoy_cluster("canary", place.canary),
        _envoy_cluster("shadow", place.shadow),
    ]
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}, indent=1)


def understudy(place: Place, mode: Mode) -> dict[str, Any]:
    """The configuration of Understudy as the file says it."""
    ports = {"stable": place.stable, "canary": place.canary, "shadow": place.shadow}
    route: dict[str, Any] = {
        "name": "m",
        "match": [{"path": {"prefix": "/v2"}}],
        "backendRefs": [
            {"name": "stable", "role": "stable", "weight": 100 - mode.canary_percent},
            {"name": "canary", "role": "stable", "weight": mode.canary_percent},
        ],
        "sessionAffinity": {"header": KEY_HEADER},
    }
    if mode.streamed:
        route["timeouts"] = {"request": "10m"}
    if mode.mirror:
        route["mirrors"] = [{"backend": "shadow", "maxBodyBytes": MAX_BODY_BYTES}]
    if mode.predictions:
        route["predictions"] = {
            "protocol": "open-inference",
            "outputs": [
                {"name": "label", "kind": "category"},
                {"name": "score", "kind": "number", "range": [0, 1]},
            ],
        }
    limits = {"maxConnections": mode.clients + 256, "keepAliveIdle": "10m"} if mode.clients else {}
    return {
        "listen": [{"address": f"127.0.0.1:{place.port}"}],
        "admin": {"address": f"127.0.0.1:{place.admin}"},
        "store": {"url": f"sqlite:///{place.folder}/understudy.db"},
        "workers": mode.workers,
        "limits": limits,
        "backends": [{"name": name, "endpoints": [f"http://127.0.0.1:{port}"]} for name, port in ports.items()],
        "routes": [route],
    }


def worker(place: Place, mode: Mode) -> snapshot.Snapshot:
    """What the same file compiles to, for a worker without its control plane."""
    ports = (("stable", place.stable), ("canary", place.canary), ("shadow", place.shadow))
    outputs = (
        snapshot.Output("label", "category", table=snapshot.TableRef(0, 1)),
        snapshot.Output("score", "number", table=snapshot.TableRef()),
    )
    shadow = snapshot.Mirror(2, snapshot.CIRCLE, ROWS["shadow"], max_body_bytes=MAX_BODY_BYTES)
    bounds = {snapshot.CIRCLE * mode.canary_percent // 100: 1, snapshot.CIRCLE: 0}
    route = snapshot.Route(
        name="m",
        matches=(snapshot.Match(snapshot.StringMatch("prefix", "/v2")),),
        arms=(snapshot.Arm(0, ROWS["stable"]), snapshot.Arm(1, ROWS["canary"])),
        segments=tuple(snapshot.Segment(upper, arm) for upper, arm in bounds.items() if upper),
        seed=7,
        keys=(snapshot.Key("header", KEY_HEADER),),
        mirrors=(shadow,) if mode.mirror else (),
        predictions=snapshot.Predictions("open-inference", outputs) if mode.predictions else None,
    )
    backends = tuple(snapshot.Backend(name, (snapshot.Endpoint("127.0.0.1", port),)) for name, port in ports)
    return snapshot.Snapshot(1, backends, (route,))


def _connections(mode: Mode) -> int:
    """On both sides together, with some to spare."""
    return max(4096, 2 * mode.clients + 1024)


def _envoy_type(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{name}"


def _envoy_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _envoy_address(port)}}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment}
