"""Where state is kept, and for how long."""

from __future__ import annotations

from typing import Annotated

from config.values.addresses import StoreUrl
from config.values.durations import duration
from config.values.names import Name
from config.values.numbers import whole
from config.values.section import Section

KeptS = Annotated[float, duration(60.0, 87_600 * 3600.0)]


class Retention(Section):
    """How long what is past is kept. What a rollout that goes on stands on is no part of this."""

    journal: KeptS = 8760 * 3600.0
    """Entries of the journal, the verdicts behind them, and configurations. The newest 100 entries stay in any case,
    and a checkpoint entry stands for what is gone, so that the chain goes on."""

    evidence: KeptS = 2160 * 3600.0
    """What decisions were made on: `understudy why` derives their verdicts again for so long."""

    recordings: KeptS = 336 * 3600.0
    """What judges were given, slice by slice: `understudy backtest` has it for so long."""


class Store(Section):
    """Where the state of rollouts, the journal and the history of the file are kept, and for how long."""

    url: StoreUrl = "sqlite:///understudy.db"
    """sqlite:///PATH of a file; a relative path counts from the folder of this file. Or postgresql://user@host/name of
    a database that several share (`pip install 'understudy[postgresql]'`): `?ssl=require` or `?ssl=verify-full` makes
    sure of it, `?host=/run/postgresql` is its socket. The password comes from PGPASSWORD or PGPASSFILE. A change needs
    a restart."""

    instance: Name = "understudy"
    """Whose state it is. Those that share a database need a name of their own each, and keep it over restarts. A change
    needs a restart."""

    retention: Retention = Retention()
    """How long what is past is kept."""

    max_bytes: Annotated[int, whole(8 << 20, 1 << 44)] = 1 << 30
    """What the store may take on disk (PostgreSQL: what this instance has in it). Beyond it the oldest captured
    requests go first, then recordings, then the evidence of the oldest decisions, then configurations, then the oldest
    entries of the journal."""
