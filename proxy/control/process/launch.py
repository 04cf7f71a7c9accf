"""What the supervisor has to know, worked out from the configuration.

The ledger's size is fixed for the life of the supervisor: it is made large enough for several stages of every version
at once, and for routes that are added later. Pages that are never used cost nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from config import loader, schema
from config.values.addresses import Address
from proxy.control.process.listening import is_path
from proxy.control.process.supervisor import Launch

ROWS_PER_VERSION: Final = 4
"""Of a version in a route: its row, that of the last stage at rest beside it, and both again for its copies."""
ROWS_PER_RUNG: Final = 2
"""Of a weight of a ramp: long requests may be under way at each, and their rows are not free before they end."""
ROWS_MORE: Final = 64
TABLES_PER_OUTPUT: Final = 4
TABLES_MORE: Final = 64


def plan_launch(config_path: str | Path) -> Launch:
    """The facts of a configuration file.

    Raises:
        ConfigError: the file has problems.
    """
    path = Path(config_path).absolute()  # not resolved: a link on the way may be made to point elsewhere
    return launch_of(loader.load(path).config, path)


def default_runtime_dir() -> str:
    """Where releases find each other: what systemd or the session gives, else a folder of this user alone."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return given.partition(":")[0]
    if os.getuid() == 0:
        return "/run/understudy"
    session = os.environ.get("XDG_RUNTIME_DIR")
    return f"{session}/understudy" if session else str(Path.home() / ".understudy")


def launch_of(config: schema.Config, path: Path) -> Launch:
    """The facts of a configuration. `path` is where it came from: relative names count from its folder."""
    versions = sum(len(route.backend_refs) + len(route.mirrors) for route in config.routes)
    outputs = sum(len(route.predictions.outputs) for route in config.routes if route.predictions)
    ramps = (route.strategy.ramp for route in config.routes if route.strategy is not None)
    rungs = sum(len(ramp.rungs) for ramp in ramps if ramp is not None)
    return Launch(
        config_path=str(path),
        listen=tuple(listen.opened_by for listen in config.listen),
        admin=(config.admin.address.host, config.admin.address.port),
        workers=_usable_cores() if config.workers == "auto" else config.workers,
        rows=ROWS_PER_VERSION * versions + ROWS_PER_RUNG * rungs + ROWS_MORE,
        tables=TABLES_PER_OUTPUT * outputs + TABLES_MORE,
        store_url=store_url(config.store.url, path.parent),
        instance=config.store.instance,
        drain_timeout_s=config.drain_timeout,
        drain_delay_s=config.drain_delay,
    )


def store_url(url: str, folder: Path) -> str:
    """The store's URL with its path made absolute; a database that is reached by a network has none.

    >>> store_url("sqlite:///state/u.db", Path("/etc/understudy")), store_url("sqlite:////var/u.db", Path("/etc"))
    ('sqlite:////etc/understudy/state/u.db', 'sqlite:////var/u.db')
    """
    scheme, _, path = url.partition(":///")
    if scheme != "sqlite":
        return url
    return f"{scheme}:///{folder / path}"


def places(launch: Launch) -> tuple[str, ...]:
    """The addresses of the listening sockets, in their order, as the file writes them."""
    return tuple(host if is_path(host) else str(Address(host, port)) for host, port in launch.listen)


def restart_needed(launch: Launch, config: schema.Config) -> tuple[str, ...]:
    """The keys whose value in the configuration is not what this process was started with."""
    wanted = launch_of(config, Path(launch.config_path))
    pairs = {
        "listen": (launch.listen, wanted.listen),
        "admin": (launch.admin, wanted.admin),
        "workers": (launch.workers, wanted.workers),
        "store": ((launch.store_url, launch.instance), (wanted.store_url, wanted.instance)),
        "drainDelay": (launch.drain_delay_s, wanted.drain_delay_s),
        "drainTimeout": (launch.drain_timeout_s, wanted.drain_timeout_s),
    }
    return tuple(key for key, (now, then) in pairs.items() if now != then)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0))
