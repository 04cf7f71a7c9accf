"""How a problem is written."""

import doctest

from config.values import problems
from config.values.problems import ConfigError, Problem


def test_a_file_as_a_whole_has_no_line() -> None:
    """A missing file would be said to have its mistake in line 0."""
    assert (
        str(Problem("a.yaml", 0, 0, "", "cannot be read", "check the path")) == "a.yaml: cannot be read; check the path"
    )


def test_an_error_is_all_of_its_problems() -> None:
    """A log line of the error would hide some of the problems."""
    later, sooner = (Problem("a.yaml", line, 1, "x", "is bad", "mend it") for line in (9, 2))
    assert str(ConfigError([later, sooner])) == f"{sooner}\n{later}"


def test_examples_in_docstrings() -> None:
    """The documentation of this module would show what it does not do."""
    assert doctest.testmod(problems).failed == 0
