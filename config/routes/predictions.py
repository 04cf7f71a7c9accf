"""What is read from the answers of a model, so that versions can be compared by what they predict."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.values.margins import Bound, points
from config.values.names import Name, Text
from config.values.numbers import number, whole
from config.values.problems import Finding
from config.values.section import Section, refusals

Privacy = Literal["keep", "hash", "mask", "drop"]
Number = Annotated[float, number(-1e15, 1e15)]


class Output(Section):
    """One prediction in every answer."""

    name: Name = Field(examples=["label"])
    """Its name in metrics; with the protocol open-inference also the name of the output tensor."""

    kind: Literal["category", "number"] = Field(examples=["category"])
    """A category is counted by label, a number by its mean and spread."""

    range: tuple[Number, Number] | None = Field(default=None, examples=["[0, 1]"])
    """The lowest and highest value of a number (required). What lies beyond is counted at the end, as clipped."""

    path: Text | None = Field(default=None, examples=["result.scores.0"])
    """Where the value stands in a JSON answer (required with the protocol json): keys and list indexes with dots."""

    tolerance: Annotated[float, number(0, 1e15)] = 0.0
    """Two numbers of a pair agree if they are this close."""

    privacy: Privacy = "keep"
    """What becomes of the labels of a category before a worker writes anything down, and so in every report, metric,
    store and log. keep: nothing, they are told as the model gives them. hash: 12 hex digits of a keyed hash, which is
    the same for the same label everywhere and at all times, so that versions are compared as well as by the labels.
    mask: the first and the last letter and 6 hex digits of such a hash (`c…r#5f21c9`), of labels up to three letters
    the digits alone. drop: no label is counted, and all that is known is which pairs disagree (`pair.OUTPUT`). The key
    is made at random and stays in the store; as long as the store was never reached nothing is counted. A change begins
    a new rollout, and leaves what was stored before as it is."""

    max_invalid: Annotated[Bound, points()] = Bound(2.0, "pp")
    """How much more often than stable's the candidate's answers may lack it: missing, or not of its kind (NaN, say).
    For a number, and where only pairs are compared, the metric `prediction.OUTPUT.invalid` watches that, in the role of
    the metric that compares the output and with a tenth of its weight. In the shares of labels what has no label is one
    of them, and needs no watch."""

    @property
    def path_parts(self) -> tuple[str | int, ...]:
        """The path as keys and list indexes; digits alone are an index."""
        parts = self.path.split(".") if self.path else []
        return tuple(int(part) if part.isascii() and part.isdigit() else part for part in parts)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        findings = []
        if self.kind == "number" and self.range is None:
            findings.append(
                Finding(("range",), "is missing: a number needs one", "add it, for example `range: [0, 1]`")
            )
        if self.range is not None and not self.range[0] < self.range[1]:
            findings.append(Finding(("range",), "does not rise", "write the lower end first: [lowest, highest]"))
        if self.kind == "number" and self.privacy != "keep":
            remedy = "take it away, or write `kind: category`"
            findings.append(Finding(("privacy",), "has no meaning for a number: sums alone are kept of it", remedy))
        if self.kind == "category":
            findings += [
                Finding((key,), "has no meaning for a category", "take it away, or write `kind: number`")
                for key, given in (("range", self.range is not None), ("tolerance", self.tolerance != 0))
                if given
            ]
        if self.path is not None and "" in self.path.split("."):
            findings.append(
                Finding(("path",), f'"{self.path}" has an empty part', "write keys and indexes with one dot between")
            )
        if findings:
            raise refusals(*findings)
        return self


class Predictions(Section):
    """How predictions are read from the answers of a route. Answers are read after the client has them."""

    protocol: Literal["open-inference", "json"] = Field(examples=["open-inference"])
    """open-inference: the Open Inference Protocol V2 over REST. json: any JSON answer, by path."""

    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=8)]
    """What is read, at most eight values."""

    max_body_bytes: Annotated[int, whole(1 << 10, 1 << 26)] = 1 << 20
    """Answers that are longer, as sent or once their gzip is undone, are passed on and not read, and are counted as
    invalid. Up to here a worker keeps each while it comes, and reads it in one piece while all others wait: 1 MiB takes
    5 ms of a model's numbers, and a quarter of a second of brackets in brackets."""

    @model_validator(mode="after")
    def _paths_fit_the_protocol(self) -> Self:
        findings = []
        for place, output in enumerate(self.outputs):
            loc = ("outputs", place, "path")
            if self.protocol == "json" and output.path is None:
                remedy = f"say where the value stands in the answer, for example `path: result.{output.name}`"
                findings.append(Finding(loc, "is missing: the protocol json needs one", remedy))
            if self.protocol == "open-inference" and output.path is not None:
                remedy = "take it away: outputs are found by name; or write `protocol: json`"
                findings.append(Finding(loc, "has no meaning with the protocol open-inference", remedy))
        names = [output.name for output in self.outputs]
        findings += [
            Finding(("outputs", place, "name"), f'"{name}" is the name of an earlier output', "give each its own name")
            for place, name in enumerate(names)
            if name in names[:place]
        ]
        findings += [
            Finding(("outputs", place, "name"), f'"{name}" is what the watch over "{watched}" is called', "rename it")
            for place, name in enumerate(names)
            if (watched := name.removesuffix(".invalid")) != name and watched in names
        ]
        if findings:
            raise refusals(*findings)
        return self
