"""A model server: one scikit-learn classifier behind the Open Inference Protocol V2 over REST, in a process of its own.

    python -m proxy.demo.server --model FILE --version v2 [--delay-ms MS] [--fail-share SHARE] [--port PORT]

It says `listening on PORT` on standard output once it is ready. `--delay-ms` and `--fail-share` make it slow, or fail
a share of its requests with status 500. Every answer carries `x-model-version`, so that a client can tell what the
model itself said from what a proxy said in its place.

Source: Open Inference Protocol, `specification/protocol/inference_rest.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import uvloop
from aiohttp import web
from numpy.typing import NDArray

MODEL = "digits"
INPUT = "pixels"
FEATURES = 64
VERSION_HEADER = "x-model-version"
DATATYPES = frozenset({"FP64", "FP32", "INT64", "INT32", "INT16", "INT8", "UINT8"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class InputError(ValueError):
    """An inference request that cannot be answered; the text says why."""


class Model:
    """A classifier and how badly it behaves."""

    def __init__(
        self,
        classifier: Any,
        version: str,
        delay_s: float = 0.0,
        fail_share: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.version = version
        self._classifier = classifier
        self._labels = [str(label) for label in classifier.classes_]
        self._delay_s = delay_s
        self._fail_share = fail_share
        self._sleep = sleep
        self._random = random.Random(version)  # noqa: S311  not a secret: which requests fail

    async def infer(self, request: web.Request) -> web.Response:
        """POST /v2/models/digits/infer."""
        try:
            document = await request.json()
            rows = read_rows(document)
        except InputError as error:
            return problem(400, str(error))
        except ValueError as error:
            return problem(400, f"the body is not JSON: {error}")
        if self._delay_s:
            await self._sleep(self._delay_s)
        if self._random.random() < self._fail_share:
            return problem(500, f"model version {self.version} failed on purpose")
        return web.json_response(self.answer(document.get("id"), rows))

    def answer(self, request_id: object, rows: NDArray[np.float64]) -> dict[str, Any]:
        """The inference response: `label` (BYTES) and `score` (FP32, the probability of that label), one per row."""
        chances = self._classifier.predict_proba(rows)
        best = chances.argmax(axis=1)
        answer: dict[str, Any] = {"model_name": MODEL, "model_version": self.version}
        if isinstance(request_id, str):
            answer["id"] = request_id
        answer["outputs"] = [
            {"name": "label", "shape": [len(rows)], "datatype": "BYTES", "data": [self._labels[i] for i in best]},
            {
                "name": "score",
                "shape": [len(rows)],
                "datatype": "FP32",
                "data": [round(float(chance), 6) for chance in chances.max(axis=1)],
            },
        ]
        return answer

    async def metadata(self, _: web.Request) -> web.Response:
        """GET /v2/models/digits."""
        return web.json_response(
            {
                "name": MODEL,
                "versions": [self.version],
                "platform": "sklearn_joblib",
                "inputs": [{"name": INPUT, "datatype": "FP64", "shape": [-1, FEATURES]}],
                "outputs": [
                    {"name": "label", "datatype": "BYTES", "shape": [-1]},
                    {"name": "score", "datatype": "FP32", "shape": [-1]},
                ],
            }
        )


def read_rows(document: Any) -> NDArray[np.float64]:
    """The (n, FEATURES) rows of an inference request.

    Raises:
        InputError: the request has no such input, or its data do not fit its shape.
    """
    inputs = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(inputs, list) or not inputs or not isinstance(inputs[0], dict):
        raise InputError(f'inputs: missing; give [{{"name": "{INPUT}", "shape": [n, {FEATURES}], …}}]')
    tensor = inputs[0]
    if tensor.get("datatype") not in DATATYPES:
        raise InputError(f"inputs[0].datatype: {tensor.get('datatype')!r} is not one of {', '.join(sorted(DATATYPES))}")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or len(shape) != 2 or shape[1] != FEATURES:
        raise InputError(f"inputs[0].shape: {shape!r} is not [n, {FEATURES}]")
    try:
        return np.asarray(tensor.get("data"), dtype=np.float64).reshape(shape)
    except (TypeError, ValueError) as error:
        raise InputError(f"inputs[0].data: does not fit the shape {shape}: {error}") from error


def application(model: Model) -> web.Application:
    """The REST endpoints of the protocol for one model."""

    @web.middleware
    async def sign(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = problem(error.status, f"{request.method} {request.path}: {error.reason}")
        response.headers[VERSION_HEADER] = model.version
        return response

    app = web.Application(middlewares=[sign])
    app.router.add_get("/v2", server_metadata)
    app.router.add_get("/v2/health/live", live)
    app.router.add_get("/v2/health/ready", ready)
    for path in (f"/v2/models/{MODEL}", f"/v2/models/{MODEL}/versions/{model.version}"):
        app.router.add_get(path, model.metadata)
        app.router.add_get(f"{path}/ready", ready)
        app.router.add_post(f"{path}/infer", model.infer)
    return app


async def server_metadata(_: web.Request) -> web.Response:
    """GET /v2."""
    return web.json_response({"name": "understudy-demo", "version": "1", "extensions": []})


async def live(_: web.Request) -> web.Response:
    """GET /v2/health/live."""
    return web.json_response({"live": True})


async def ready(_: web.Request) -> web.Response:
    """GET /v2/health/ready and /v2/models/digits/ready: the model is loaded before the socket opens."""
    return web.json_response({"ready": True})


def problem(status: int, text: str) -> web.Response:
    """An error in the form of the protocol."""
    return web.json_response({"error": text}, status=status)


async def serve(model: Model, port: int) -> None:
    """Serve the model on loopback until SIGTERM or SIGINT. Port 0 takes a free one."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(application(model), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    sys.stdout.write(f"listening on {runner.addresses[0][1]}\n")
    sys.stdout.flush()
    # What was loaded stays: a full collection would stop this version for longer than it takes to answer.
    gc.collect()
    gc.freeze()
    await stop.wait()
    await runner.cleanup()


def main(argv: list[str]) -> int:
    """Run one model server."""
    parser = argparse.ArgumentParser(prog="python -m proxy.demo.server", description="serve one model over V2 REST")
    parser.add_argument("--model", type=Path, required=True, help="a joblib file with a scikit-learn classifier")
    parser.add_argument("--version", required=True, help="what the answers call it")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="added to each answer")
    parser.add_argument("--fail-share", type=float, default=0.0, help="of requests answered with 500, from 0 to 1")
    options = parser.parse_args(argv)
    classifier = joblib.load(options.model)
    model = Model(classifier, options.version, options.delay_ms / 1000, options.fail_share)
    uvloop.run(serve(model, options.port))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
