"""YAML text to values, each with its place."""

import pytest

from config.document import read
from config.values.problems import ConfigError


def test_scalars_are_those_of_yaml_1_2() -> None:
    """A version `1:30`, a country `no` or a date would become a number, false or a date."""
    text = "a: no\nb: 1:30\nc: 2026-11-20\nd: 010\ne: 0x1F\nf: 1e3\ng: ~\nh: 'true'\ni: True\nj: 1_000\nk: 0o17\nl:\n"
    assert read(text, "FILE").data == {
        "a": "no",
        "b": "1:30",
        "c": "2026-11-20",
        "d": 10,
        "e": 31,
        "f": 1000.0,
        "g": None,
        "h": "true",
        "i": True,
        "j": "1_000",
        "k": 15,
        "l": None,
    }


def test_every_value_knows_its_place() -> None:
    """Problems would point at the wrong line of the file."""
    document = read("a:\n  - b: x\n    c: [1, 2]\n", "FILE")
    assert document.place(("a", 0, "c", 1)).value == (3, 12)
    assert document.place(("a", 0, "c")).key == (3, 5)
    assert document.place(("a", 0, "missing")).value == (2, 5)
    assert document.place(("missing",)).value == (1, 1)


def test_aliases_are_values() -> None:
    """Two routes could not share their timeouts."""
    assert read("a: &t {x: 1}\nb: *t\n", "FILE").data == {"a": {"x": 1}, "b": {"x": 1}}


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]),
        "a: &a [*a]",
        "[" * 100_000,
        "{a: " * 100_000,
        "a: " + "9" * 100_000 + "\nb: &b [*b]",
    ],
)
def test_no_text_can_ask_for_more_than_a_person_writes(text: str) -> None:
    """A file of a few lines would eat all memory, or overflow the stack, of the process that holds the rollouts."""
    with pytest.raises(ConfigError):
        read(text, "FILE")
