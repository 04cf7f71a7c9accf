"""The model server's answers have the shapes of the Open Inference Protocol V2."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.demo.server import FEATURES, INPUT, VERSION_HEADER, InputError, Model, application, read_rows

INFER = "/v2/models/digits/infer"


class Brightest:
    """A classifier whose label is the first pixel times ten."""

    classes_ = np.arange(10)

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        chances = np.full((len(rows), 10), 0.01)
        chances[np.arange(len(rows)), (rows[:, 0] * 10).astype(int)] = 0.91
        return chances


def document(*first_pixels: float, **changes: Any) -> dict[str, Any]:
    rows = [[first] + [0.0] * (FEATURES - 1) for first in first_pixels]
    tensor = {"name": INPUT, "shape": [len(rows), FEATURES], "datatype": "FP64", "data": rows}
    return {"id": "r-1", "inputs": [tensor | changes]}


@pytest.fixture
async def client() -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(application(Model(Brightest(), "v2")))) as client:
        yield client


async def test_infer_answers_one_label_and_one_score_for_each_row(client: TestClient) -> None:
    """Broken: the proxy would read no predictions from the demo's models."""
    response = await client.post(INFER, json=document(0.3, 0.7))
    assert response.status == 200
    assert response.headers[VERSION_HEADER] == "v2"
    assert await response.json() == {
        "model_name": "digits",
        "model_version": "v2",
        "id": "r-1",
        "outputs": [
            {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["3", "7"]},
            {"name": "score", "shape": [2], "datatype": "FP32", "data": [0.91, 0.91]},
        ],
    }


async def test_a_flat_tensor_is_the_same_as_a_nested_one(client: TestClient) -> None:
    """Broken: clients that send tensors in row-major order, as the protocol allows, would be refused."""
    flat = document(0.3, 0.7)
    flat["inputs"][0]["data"] = [pixel for row in flat["inputs"][0]["data"] for pixel in row]
    response = await client.post(INFER, json=flat)
    assert (await response.json())["outputs"][0]["data"] == ["3", "7"]


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/digits/ready", {"ready": True}),
        ("/v2/models/digits/versions/v2/ready", {"ready": True}),
    ],
)
async def test_health(client: TestClient, path: str, answer: dict[str, bool]) -> None:
    """Broken: health checks of the protocol would call a good model dead."""
    response = await client.get(path)
    assert (response.status, await response.json()) == (200, answer)


async def test_metadata_names_inputs_and_outputs(client: TestClient) -> None:
    """Broken: a client could not learn what to send."""
    metadata = await (await client.get("/v2/models/digits")).json()
    assert metadata["name"] == "digits"
    assert metadata["versions"] == ["v2"]
    assert metadata["inputs"] == [{"name": INPUT, "datatype": "FP64", "shape": [-1, FEATURES]}]
    assert [output["name"] for output in metadata["outputs"]] == ["label", "score"]


async def test_unknown_model_is_404_in_the_form_of_the_protocol(client: TestClient) -> None:
    """Broken: clients would have to read an error that is no JSON."""
    response = await client.post("/v2/models/other/infer", json={})
    assert response.status == 404
    assert set(await response.json()) == {"error"}


@pytest.mark.parametrize("body", ["{", "[1]", "{}", '{"inputs": []}', '{"inputs": [1]}'])
async def test_malformed_requests_are_400(client: TestClient, body: str) -> None:
    """Broken: a client's mistake would look like the model's fault."""
    response = await client.post(INFER, data=body)
    assert response.status == 400
    assert set(await response.json()) == {"error"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"datatype": "BYTES"}, "datatype"),
        ({"shape": [1, 3]}, "shape"),
        ({"shape": "64"}, "shape"),
        ({"data": [1, 2]}, "data"),
        ({"data": None}, "data"),
    ],
)
def test_a_bad_tensor_is_named(changes: dict[str, Any], named: str) -> None:
    """Broken: a client would be told that something is wrong, and not what."""
    with pytest.raises(InputError, match=f"inputs\\[0\\].{named}"):
        read_rows(document(0.5, **changes))


async def test_fail_share_fails_about_that_share_with_500() -> None:
    """Broken: v3 would not be the faulty version that the demo says it is."""
    async with TestClient(TestServer(application(Model(Brightest(), "v3", fail_share=0.2)))) as client:
        statuses = [(await client.post(INFER, json=document(0.1))).status for _ in range(200)]
    assert set(statuses) == {200, 500}
    assert 20 <= statuses.count(500) <= 60


async def test_delay_is_added() -> None:
    """Broken: v3 would not be slow."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    async with TestClient(TestServer(application(Model(Brightest(), "v3", delay_s=0.008, sleep=note)))) as client:
        await client.post(INFER, json=document(0.1))
    assert waited == [0.008]
