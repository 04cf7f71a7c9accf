"""Clients that people really use, through the proxy: curl, NVIDIA's tritonclient and OpenAI's."""

from __future__ import annotations

import shutil
import subprocess
import time

import numpy as np
import openai
import pytest
import tritonclient.http as triton

from tests.support.standing import standing
from tests.support.system import models, process, wait_for

pytestmark = pytest.mark.system


def passing(port: int, prefix: str) -> dict:
    """A configuration with one backend."""
    return {
        "workers": 1,
        "backends": [{"name": "only", "endpoints": [f"http://127.0.0.1:{port}"]}],
        "routes": [{"name": "m", "match": [{"path": {"prefix": prefix}}], "backendRefs": [{"name": "only"}]}],
    }


def curl(*arguments: str) -> str:
    """What curl says."""
    found = shutil.which("curl")
    assert found, "curl is missing: apt-get install curl"
    return subprocess.run(
        [found, "-sS", "--max-time", "10", *arguments], capture_output=True, text=True, check=True
    ).stdout


def test_curl(tmp_path):
    """If this fails, the tool that everybody tries first does not get through, or is not told why."""
    with models("v1") as (v1,), standing(passing(v1.port, "/v2")) as system:
        base = f"http://127.0.0.1:{system.port}"
        answer = curl("-i", "-d", '{"inputs": []}', f"{base}/v2/models/m/infer")
        assert answer.startswith("HTTP/1.1 200 OK")
        assert "x-understudy-backend: only" in answer
        big = tmp_path / "big"
        big.write_bytes(b"x" * 3_000_000)
        code = ["-o", "/dev/null", "-w", "%{http_code}"]
        assert curl(*code, "--data-binary", f"@{big}", f"{base}/v2/models/m/infer") == "200"  # Expect: 100-continue
        chunked = ["-H", "transfer-encoding: chunked", "--data-binary", f"@{big}"]
        assert curl(*code, *chunked, f"{base}/v2/models/m/infer") == "200"
        assert curl(*code, "--http1.0", f"{base}/v2/models/m/ready") == "200"
        assert curl(*code, f"{base}/elsewhere") == "404"
        assert "no-route" in curl("-i", f"{base}/elsewhere")
        v1.stop()
        refused = curl("-i", "-d", "{}", f"{base}/v2/models/m/infer")
        assert refused.startswith("HTTP/1.1 503")
        assert "connect-failed" in refused
        assert "backend only" in refused


def test_tritonclient():
    """If this fails, NVIDIA's client for the Open Inference Protocol does not work through the proxy."""
    with models("v1") as (v1,), standing(passing(v1.port, "/v2")) as system:
        client = triton.InferenceServerClient(f"127.0.0.1:{system.port}", concurrency=4)
        assert client.is_server_ready() is True
        tensor = triton.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 4), dtype=np.float32), binary_data=False)
        wanted = [triton.InferRequestedOutput(name, binary_data=False) for name in ("label", "score")]
        answer = client.infer("m", [tensor], outputs=wanted, headers={"x-user-id": "u1"})
        assert answer.as_numpy("label").shape == (1,)
        pending = [client.async_infer("m", [tensor], outputs=wanted) for _ in range(20)]
        assert all(one.get_result().as_numpy("score").shape == (1,) for one in pending)
        client.close()


def test_openai_streams_tokens_as_they_come():
    """If this fails, a stream of tokens is gathered before it is passed on, or cut by a timeout."""
    with process("tests.support.token_server") as port:
        config = passing(port, "/v1")
        config["routes"][0]["timeouts"] = {"request": "300ms", "streamIdle": "5s"}
        with standing(config) as system:
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{system.port}/v1", api_key="none", max_retries=0)
            messages = [{"role": "user", "content": "Hamlet?"}]
            whole = client.chat.completions.create(model="m", messages=messages)
            text = whole.choices[0].message.content
            arrivals, pieces = [], []
            stream = client.chat.completions.create(
                model="m", messages=messages, stream=True, metadata={"gapMs": "120"}
            )
            for part in stream:
                arrivals.append(time.monotonic())
                pieces.append(part.choices[0].delta.content)
            assert "".join(pieces) == text
            # Seven tokens 120 ms apart last longer than the request timeout, which is for the first byte alone.
            assert arrivals[-1] - arrivals[0] > 0.5, "the tokens came in one piece"
            arm = wait_for("the count", lambda: a if (a := system.route()["arms"][0])["requests"] >= 2 else None)
            assert arm["failed"] == 0
