"""Lines on their way to a file or a pipe: nothing is mixed, nothing waits, nothing is lost unseen."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from proxy.data.logs.log_file import PIPE_BUF, LogFile


def until(holds: Callable[[], object]) -> None:
    end_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end_s, "the thread did not come to it"
        time.sleep(0.005)


def line(text: str) -> bytes:
    return text.encode() + b"\n"


def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    """A log would begin anew with each worker, or be out of order."""
    path = tmp_path / "log"
    path.write_bytes(line("before"))
    file = LogFile(str(path), 1 << 20)
    for number in range(3000):
        assert file.add(line(f"{number}"))
        if number % 700 == 0:
            file.flush()
    file.close(10)
    assert path.read_text().splitlines() == ["before", *map(str, range(3000))]
    assert file.news() == (3000, 0)
    assert file.news() == (0, 0)


def test_a_new_file_is_not_for_everybody(tmp_path: Path) -> None:
    """Anybody on the machine could read who asks for what."""
    file = LogFile(str(tmp_path / "log"), 1 << 20)
    file.add(line("a"))
    file.close(10)
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


def test_a_file_that_was_rotated_is_opened_again(tmp_path: Path) -> None:
    """Lines would go on into the file that logrotate has put aside, or into one that is deleted."""
    path, aside = tmp_path / "log", tmp_path / "log.1"
    file = LogFile(str(path), 1 << 20)
    for number, rotate in enumerate((lambda: path.rename(aside), path.unlink, lambda: os.truncate(path, 0))):
        file.add(line(f"{number}"))
        file.flush()
        until(lambda: path.exists() and path.stat().st_size)
        rotate()
    file.add(line("last"))
    file.close(10)
    assert (aside.read_bytes(), path.read_bytes()) == (line("0"), line("last"))


def test_a_stuck_reader_holds_nobody_up_and_what_has_no_room_is_refused(tmp_path: Path) -> None:
    """A reader of standard output that hangs would stop the worker, or fill its memory."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = LogFile(str(fifo), 200_000)
    long = b"x" * 999 + b"\n"
    began_s = time.monotonic()
    taken = 0
    for _ in range(2000):
        taken += file.add(long)
        file.flush()
    assert time.monotonic() - began_s < 5
    assert 200 <= taken < 2000
    os.set_blocking(reader, True)
    got = b""
    while got.count(b"\n") < taken:
        got += os.read(reader, 1 << 20)
    assert got == long * taken
    until(lambda: file.add(long))
    file.close(0)
    os.close(reader)


def test_lines_of_several_writers_never_mix(tmp_path: Path) -> None:
    """Two workers on one pipe would write lines that nobody can read."""
    reader, end = os.pipe()
    path = f"/proc/self/fd/{end}"
    files = [LogFile(path, 1 << 24) for _ in range(3)]
    lines = [bytes([97 + number]) * 700 + b"\n" for number in range(3)]
    for _ in range(200):
        for file, text in zip(files, lines, strict=True):
            file.add(text)
        for file in files:
            file.flush()
    got = b""
    while got.count(b"\n") < 600:
        got += os.read(reader, 1 << 20)
    for file in files:
        file.close(10)
    os.close(end)
    os.close(reader)
    assert sorted(got.splitlines(keepends=True)) == sorted(lines * 200)
    assert max(map(len, lines)) < PIPE_BUF


def test_a_place_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    """A folder that is missing at first would end the log for good, or in silence."""
    path = tmp_path / "later" / "log"
    file = LogFile(str(path), 1 << 20)
    file.add(line("a"))
    file.flush()
    until(lambda: file.problem)
    assert "No such file" in file.problem
    assert file.news() == (0, 1)
    path.parent.mkdir()
    file.add(line("b"))
    file.close(10)
    assert (path.read_bytes(), file.problem, file.news()) == (line("b"), "", (1, 0))
