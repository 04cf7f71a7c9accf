"""Users hashed in bulk: the same slots and groups that a live worker draws one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.data.requests.router import place
from proxy.simulation.users import ANONYMOUS, drawn

texts = st.text(st.characters(), max_size=20)
users = st.one_of(texts, texts, st.integers(), st.none())


def alone(seed: int, user: str | int | None) -> tuple[int, int]:
    if user is None or user == "":
        return ANONYMOUS, ANONYMOUS
    draw = place(seed, str(user).encode("utf-8", "surrogatepass"))
    return draw.user, draw.group


@given(st.integers(0, 2**64 - 1), st.lists(users, max_size=30))
def test_users_are_drawn_as_live(seed: int, given: list[str | int | None]) -> None:
    """Broken: a simulation counts other users, or puts them into other groups, than live traffic of them."""
    slots, groups = drawn(seed, given)
    assert [*zip(slots.tolist(), groups.tolist(), strict=True)] == [alone(seed, user) for user in given]


def test_half_a_character_is_a_user_too() -> None:
    """Broken: what JSON may have and UTF-8 has not ends a simulation."""
    slots, groups = drawn(7, ["u1", "\ud800"])
    assert [*zip(slots.tolist(), groups.tolist(), strict=True)] == [alone(7, "u1"), alone(7, "\ud800")]
