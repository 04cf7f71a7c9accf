"""Messages that are not HTTP/1.1, or could be read in two ways."""

from __future__ import annotations

from proxy.snapshot import Limits

LIMITS = Limits()
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"

REQUESTS = {
    "no version": (b"GET /\r\n\r\n", 400),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "unknown method": (b"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "lower case method": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space in target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "NUL in target": (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "fragment in target": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target of no kind": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target of another scheme": (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target with no host": (b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target with a user": (b"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (HEAD + b"Host: b\r\n\r\n", 400),
    "space before colon": (HEAD + b"X : a\r\n\r\n", 400),
    "field without a name": (HEAD + b": a\r\n\r\n", 400),
    "folded field": (HEAD + b"X: a\r\n b\r\n\r\n", 400),
    "NUL in a field": (HEAD + b"X: a\0b\r\n\r\n", 400),
    "CR in a field": (HEAD + b"X: a\rb\r\n\r\n", 400),
    "two lengths": (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "the same length twice": (HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "list of lengths": (HEAD + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "signed length": (HEAD + b"Content-Length: +3\r\n\r\nabc", 400),
    "negative length": (HEAD + b"Content-Length: -3\r\n\r\nabc", 400),
    "hexadecimal length": (HEAD + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "empty length": (HEAD + b"Content-Length: \r\n\r\n", 400),
    "endless length": (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "length, then chunks": (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks, then length": (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "chunks twice": (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "two transfer codings": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "another transfer coding": (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "chunks not last": (HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    "almost chunked": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "vertical tab before chunked": (HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunk size of no number": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size over 64 bits": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", 400),
    "chunk longer than said": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk size with bare LF": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400),
    "target over the limit": (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * LIMITS.max_target_bytes), 414),
    "fields over the limit": (HEAD + b"X: %b\r\n\r\n" % (b"a" * LIMITS.max_head_bytes), 431),
    "too many fields": (HEAD + b"X: a\r\n" * LIMITS.max_headers + b"\r\n", 431),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
    "upgrade": (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
    "upgrade with a body": (HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab", 501),
}
"""Requests, each with the status that it is refused with."""

ANSWERS = {
    "no status line": b"garbage\r\n\r\n",
    "status of four digits": b"HTTP/1.1 1000 X\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "another coding under chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "NUL in a field": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "folded field": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "unasked switch": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "fields over the limit": b"HTTP/1.1 200 OK\r\n" + b"X: %b\r\n" % (b"x" * 60_000) * 5 + b"\r\n",
}
