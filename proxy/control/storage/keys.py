"""The keys that workers get: made at random when they are first asked for, and kept in the store.

`feedback` seals the names of answers, `labels` is what labels and captured values are hashed with. Both outlive every
process, since names and hashes have to mean the same afterwards. A controller that does not reach its store goes on
with the keys that the workers have.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from proxy.answer_id import KEY_BYTES
from proxy.control.storage.keeper import Keeper
from proxy.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Keys:
    """Each is empty where it is not known."""

    feedback: bytes = b""
    labels: bytes = b""

    @classmethod
    def inherited(cls, snapshot: Snapshot | None) -> Keys:
        """Those that an earlier controller gave to its workers."""
        return cls() if snapshot is None else cls(snapshot.feedback_key, snapshot.label_key)

    @classmethod
    async def kept(cls, keeper: Keeper) -> Keys:
        """Those of the store.

        Raises:
            StoreError: it cannot be read.
        """
        feedback = await keeper.ask(lambda store: store.secret("feedback", KEY_BYTES))
        return cls(feedback, await keeper.ask(lambda store: store.secret("labels", KEY_BYTES)))

    @property
    def named(self) -> dict[str, bytes]:
        """Each by the name that the store has it under."""
        return {name: key for name, key in (("feedback", self.feedback), ("labels", self.labels)) if key}

    def given(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with those that its routes need, and no others."""
        read = [route.predictions.outputs for route in snapshot.routes if route.predictions is not None]
        hashes = any(output.privacy in ("hash", "mask") for outputs in read for output in outputs)
        hashes |= any(route.capture is not None and route.capture.digests for route in snapshot.routes)
        return replace(
            snapshot,
            feedback_key=self.feedback if any(route.feedback for route in snapshot.routes) else b"",
            label_key=self.labels if hashes else b"",
        )
