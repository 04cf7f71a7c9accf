"""What a client may do to its connection: how much of what it sends is taken at a time, and what it is waited for."""

from __future__ import annotations

from typing import Final

READ_BYTES: Final = 256 << 10
"""The most that one read brings: how much of what came with a head may not be of it."""
MAX_WAITING: Final = 64
"""How many requests of one connection are parsed ahead of their turn. A long read may bring ten thousand, which take
ten times its bytes once they are parsed: the rest of it waits. A read below 16 KiB is parsed whole."""
QUIET_S: Final = 1.0
"""A connection that was made or used more recently may have its next request on the way: a drain waits for it, answers
it and says that it was the last. Closing it at once lost 24 of 29,000 requests of busy clients in ten drains."""
LINGER_BYTES: Final = 64 << 20
LINGER_S: Final = 5.0
"""A client that is answered before it has sent everything may go on for this much: a connection that is closed while
bytes arrive is reset, and the client loses the answer (RFC 9112, section 9.6). nginx waits as long for each piece."""
