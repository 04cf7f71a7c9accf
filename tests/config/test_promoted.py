"""The configuration file after a promotion."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.loader import loads
from config.promoted import CannotEditError, promoted
from config.reference import EXAMPLES

CANARY = (EXAMPLES / "canary.yaml").read_text("utf-8")
COMMENTED = """# Owned by team fraud — ünïcode
listen: [{address: "127.0.0.1:1"}]   # the door
admin: {address: '127.0.0.1:2'}
backends:
- name: v1     # old
  endpoints:
  - http://127.0.0.1:3
- {name: v2, endpoints: [http://127.0.0.1:4]}\t# new

routes:
# the route
- name: m
  backendRefs:   # who
  # stable one
  - name: v1
    role: stable
  # the new one
  - {name: v2, role: canary}  # canary!
  # how we roll out
  strategy:
    canary:
      steps: [{setWeight: 20},
              {analysis: {minSamples: 50}}]   # multi-line flow
  # how we judge
  analysis:
    minDuration: 1m
    metrics:
    - {name: errors, maxIncrease: 5pp}
"""


def test_the_candidate_is_stable_and_nothing_else_changes():
    """Broken: the file says something else than what is live, or has lost its comments and its order."""
    edited = promoted(CANARY, "fraud", "fraud-v2")
    route = loads(edited, "f").config.routes[0]
    assert [(ref.name, ref.role) for ref in route.backend_refs] == [("fraud-v2", "stable")]
    assert route.strategy is None
    lines = [line for line in difflib.ndiff(CANARY.splitlines(), edited.splitlines()) if line[0] in "+-"]
    added = [line for line in lines if line[0] == "+"]
    assert added == ["+       - {name: fraud-v2, role: stable}"]
    removed = {line[2:].strip() for line in lines if line[0] == "-"}
    start = CANARY.index("    strategy:")
    strategy = {line.strip() for line in CANARY[start : CANARY.index("    analysis:\n      minDuration")].splitlines()}
    assert removed == strategy | {"- {name: fraud-v1, role: stable}", "- {name: fraud-v2, role: canary}"}


@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_comments_leave_with_what_they_are_about(mark, end):
    """Broken: `how we roll out` heads the analysis, and `how we judge` is gone; or a list is written in another way."""
    start, stop = COMMENTED.index("  # stable one"), COMMENTED.index("  # the new one")
    expected = COMMENTED[:start] + COMMENTED[stop:].replace("role: canary", "role: stable")
    start, stop = expected.index("  # how we roll out"), expected.index("  # how we judge")
    expected = expected[:start] + expected[stop:]
    assert promoted(mark + COMMENTED.replace("\n", end), "m", "v2") == mark + expected.replace("\n", end)


def test_a_file_that_says_so_already_stays_as_it_is():
    """Broken: each promotion rewrites the file once more."""
    edited = promoted(CANARY, "fraud", "fraud-v2")
    assert promoted(edited, "fraud", "fraud-v2") == edited


@pytest.mark.parametrize(("route", "candidate", "said"), [("frod", "fraud-v2", "route"), ("fraud", "v9", "version")])
def test_what_is_not_in_the_file_is_named(route, candidate, said):
    """Broken: a file that has gone on meanwhile is edited into something else."""
    with pytest.raises(CannotEditError, match=said):
        promoted(CANARY, route, candidate)


def test_how_a_bake_is_copied_leaves_with_the_old_version():
    """Broken: what said how copies for the old version are made becomes a mirror of all traffic to it."""
    text = (EXAMPLES / "blue-green.yaml").read_text("utf-8")
    entries = "".join(f"      - {{backend: {name}, methods: [POST]}}\n" for name in ("fraud-blue", "fraud-green"))
    mirrors = f"    mirrors:\n{entries}"
    edited = promoted(text.replace("    predictions:\n", f"{mirrors}    predictions:\n"), "fraud", "fraud-green")
    route = loads(edited, "f").config.routes[0]
    assert ([ref.name for ref in route.backend_refs], route.mirrors) == (["fraud-green"], ())


SHARED = COMMENTED.replace("  backendRefs:", "  match: [{path: {prefix: /m}}]\n  backendRefs: &refs")
TWICE = (
    SHARED
    + """\
- name: other
  match: [{path: {prefix: /other}}]
  backendRefs: *refs   # as above
  strategy: {canary: {steps: [{setWeight: 20}, {analysis: {}}]}}
"""
)


def test_an_alias_is_written_out_for_the_route_that_is_promoted():
    """Broken: the other route is promoted along with it, or nobody is told why nothing can be."""
    edited = promoted(TWICE, "other", "v2")
    assert "\n  backendRefs: [{name: v2, role: stable}]   # as above\n" in edited
    first, second = loads(edited, "f").config.routes
    assert [(ref.name, ref.role) for ref in first.backend_refs] == [("v1", "stable"), ("v2", "canary")]
    assert [(ref.name, ref.role) for ref in second.backend_refs] == [("v2", "stable")]


def test_what_another_route_shares_is_refused_with_its_line():
    """Broken: the message speaks of a strategy that needs a canary, of which the file has one."""
    with pytest.raises(CannotEditError, match=r"write in line 32, in place of \*refs, what it stands for") as refused:
        promoted(TWICE, "m", "v2")
    assert "routes[0].backendRefs in line 14 is shared: routes[1].backendRefs in line 32" in str(refused.value)


def test_what_cannot_be_edited_is_told_by_hand():
    """Broken: a refusal leaves people with nothing to do."""
    strange = COMMENTED.replace("  strategy:\n", "  ? strategy\n  :\n")
    with pytest.raises(CannotEditError) as refused:
        promoted(strange, "m", "v2")
    assert "by hand, in the route in line 12: give v2 `role: stable`; take the other versions" in str(refused.value)
    taken_nowhere_else = COMMENTED.replace("    role: stable\n", "    role: stable\n      \t# below a plain scalar\n")
    with pytest.raises(
        CannotEditError, match=r"the edited file would be refused:\n(.*\n)+by hand, in the route in line 12"
    ):
        promoted(taken_nowhere_else, "m", "v2")
    with pytest.raises(CannotEditError, match="mend them first"):
        promoted(COMMENTED.replace("minDuration", "minDurations"), "m", "v2")


# --- any file


@dataclass
class Written:
    """A file as it is written, and as it is to be after the promotion."""

    text: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)

    def add(self, text: str, after: str | None = None) -> None:
        """Text that becomes another; or that stays."""
        self.text.append(text)
        self.after.append(text if after is None else after)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, str]:
    """A file with one route, and what it is after v2 was promoted."""
    out, chance = Written(), st.booleans()
    remarks = iter(range(1000))

    def remark() -> str:
        return draw(st.sampled_from(["# é", "#", "# - {name: v1,", "#\ta: |", "# *x &y"])) + f" {next(remarks)}"

    def above(column: int, gone: bool) -> None:
        if draw(chance):
            out.add("".join(f"{' ' * draw(st.sampled_from([0, 1, column]))}{remark()}\n" for _ in range(2)) + "\n")
        for _ in range(draw(st.integers(0, 2))):
            line = f"{' ' * column}{remark()}\n"
            out.add(line, "" if gone else line)

    def beside(gone: bool = False) -> None:
        text = draw(st.sampled_from(["", "  ", f"  {remark()}", f"\t{remark()}"])) + "\n"
        out.add(text, "" if gone else text)

    def below(column: int, gone: bool) -> None:
        if draw(chance):
            text = f"{' ' * (column + 3)}{remark()}\n"
            out.add(text, "" if gone else text)

    quote = draw(st.sampled_from(["", "'", '"']))
    others = draw(st.lists(st.sampled_from([("v1", "stable"), ("v3", "shadow")]), unique=True, min_size=2, max_size=2))
    place = draw(st.integers(0, 2))
    versions = [*others[:place], ("v2", "canary"), *others[place:]]

    def ref(name: str, role: str) -> tuple[str, str]:
        said = f"{quote}{role}{quote}"
        now = f"{quote}stable{quote}" if name == "v2" else said
        return f"{{name: {name}, role: {said}}}", "" if name == "v1" else f"{{name: {name}, role: {now}}}"

    def refs() -> None:
        style = draw(st.sampled_from(["block", "line", "lines"]))
        if style == "block":
            out.add("  backendRefs:")
            beside()
            dash = draw(st.sampled_from([2, 4]))
            for name, role in versions:
                gone = name == "v1"
                above(dash, gone)
                text, after = ref(name, role)
                if draw(chance):
                    said = text.split("role: ")[1][:-1]
                    now = said.replace("canary", "stable")
                    head, pad = f"{' ' * dash}- name: {name}", " " * (dash + 2)
                    text, after = f"{head}\n{pad}role: {said}", f"{head}\n{pad}role: {now}"
                else:
                    text, after = f"{' ' * dash}- {text}", f"{' ' * dash}- {after}"
                out.add(text, "" if gone else after)
                beside(gone)
                below(dash, gone)
        elif style == "line":
            pairs = [ref(*version) for version in versions]
            texts, afters = ", ".join(text for text, _ in pairs), ", ".join(after for _, after in pairs if after)
            out.add(f"  backendRefs: [{texts}]", f"  backendRefs: [{afters}]")
            beside()
        else:
            out.add("  backendRefs: [")
            beside()
            for number, (name, role) in enumerate(versions):
                gone, (text, after) = name == "v1", ref(name, role)
                last = number == 2 or (number == 1 and versions[2][0] == "v1")
                above(6, gone)
                out.add(f"      {text}", "" if gone else f"      {after}")
                out.add("" if number == 2 else ",", "" if gone or last else ",")
                beside(gone)
            out.add("    ]")
            beside()

    def strategy() -> None:
        above(2, True)
        out.add(
            draw(
                st.sampled_from(
                    [
                        "  strategy: {canary: {steps: [{setWeight: 20}, {analysis: {}}]}}",
                        "  strategy:  # how\n    canary:\n      steps:\n      - setWeight: 20\n\n      - analysis: {}",
                        '  "strategy": {\n  # odd\n canary: {steps: [{setWeight: 20},\n    {analysis: {}}]}}',
                    ]
                )
            ),
            "",
        )
        beside(True)
        below(2, True)

    def kept(text: str) -> None:
        above(2, False)
        out.add(text)
        beside()
        below(2, False)

    def analysis() -> None:
        kept("  analysis: {minDuration: '1m',\n      metrics: [ {name: errors, maxIncrease: 5pp} ]}")

    def seed() -> None:
        above(2, False)
        out.add("  seed: |-\n    # no comment\n\n    x\n")

    above(0, False)
    out.add('listen: [{address: "127.0.0.1:1"}]')
    beside()
    out.add("backends: [" + ", ".join(f"{{name: v{n}, endpoints: ['http://127.0.0.1:{n}']}}" for n in (1, 2, 3)) + "]")
    beside()
    out.add("routes:\n- name: m")
    beside()
    for part in draw(st.permutations([refs, strategy, analysis, seed])):
        part()
    end = draw(st.sampled_from(["\n", "\r\n"]))
    mark = draw(st.sampled_from(["", "\ufeff"]))
    return mark + "".join(out.text).replace("\n", end), mark + "".join(out.after).replace("\n", end)


@settings(max_examples=150, deadline=None)
@given(files())
def test_in_any_file_all_that_the_promotion_is_not_about_stays(file):
    """Broken: some comment, quote, blank or line end is lost or stays behind; or the file means something else."""
    text, after = file
    assert promoted(text, "m", "v2") == after
    route = loads(after, "f").config.routes[0]
    assert [(ref.name, ref.role) for ref in route.backend_refs if ref.role != "shadow"] == [("v2", "stable")]
    assert route.strategy is None
    assert route.seed == "# no comment\n\nx"
