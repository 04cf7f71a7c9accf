"""The model behind the proxies."""

import json

import pytest

from loadtests.upstream import Connection, answer

HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


class Transport:
    def __init__(self):
        self.sent = []

    def write(self, data):
        self.sent.append(data)


def play(*chunks):
    counts = {"stable": 0}
    connection, transport = Connection("stable", counts), Transport()
    connection.connection_made(transport)
    for chunk in chunks:
        connection.data_received(chunk)
    return counts["stable"], transport.sent


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_any_cut_gives_the_same_answers(size):
    """A proxy that writes head and body apart would find another upstream than one that joins them."""
    data = (HEAD % 100 + b"x" * 100) * 3 + HEAD % 0
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert play(*chunks) == (4, [answer(100)] * 3 + [answer(0)])


def test_an_answer_waits_for_the_whole_body():
    """The upstream would answer early, and proxies would be measured in that unusual case."""
    assert play(HEAD % 10 + b"x" * 9) == (0, [])


@pytest.mark.parametrize(("request_bytes", "answer_bytes"), [(0, 150), (100, 150), (64 << 10, 64 << 10)])
def test_answers_are_valid_and_as_long_as_promised(request_bytes, answer_bytes):
    """The large mode would measure large bodies in one direction alone, or predictions could not be read."""
    head, _, body = answer(request_bytes).partition(b"\r\n\r\n")
    assert abs(len(body) - answer_bytes) <= 5
    assert head.endswith(b"content-length: %d" % len(body))
    assert json.loads(body)["outputs"][0]["data"] == [3]
