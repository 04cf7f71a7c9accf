"""The composition root: starts one role of a process, and imports only what that role needs.

`understudy …` and `python -m proxy …` are the same. The roles `supervise`, `controller` and `worker` are what the
command `serve` starts; everything else is a command for people.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the role or the command of the command line; returns the exit status."""
    role, options = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    match role:
        case "supervise":
            from proxy.control.process import supervisor

            return supervisor.main(options)
        case "worker":
            from proxy.data import worker

            return worker.main(options)
        case "controller":
            return _controller(options)
        case _:
            from proxy.cli import app

            app(prog_name="understudy")
            return 0


def _controller(options: list[str]) -> int:
    """The control plane and the admin API, which knows it only by its shape."""
    import asyncio
    import gc
    import signal
    import socket

    # What is imported stays: to look for garbage in it takes a sixth of the time in which this starts, and would take
    # its time at every full collection later.
    gc.disable()
    from proxy.admin import app
    from proxy.control.controller import Controller
    from proxy.control.process import role

    gc.freeze()
    gc.enable()
    given = role.parse(options)
    role.log_as_json(given.launch.log_level)

    async def run() -> None:
        controller = Controller(given.launch, given.ledger_fd, given.slot_fd)
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.add_signal_handler(signal.SIGTERM, controller.stop)
        reloads: set[asyncio.Task[object]] = set()

        def reload() -> None:
            task = loop.create_task(controller.reload("SIGHUP"))
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
        admin = await app.start(controller, socket.socket(fileno=given.admin_fd))
        try:
            await controller.start(socket.socket(fileno=given.channel_fd))
            await controller.run()
        finally:
            await admin.cleanup()
            await controller.close()

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
