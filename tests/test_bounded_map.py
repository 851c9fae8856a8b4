"""BoundedMap: which entries it keeps, and that its size is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosess._bounded_map import BoundedMap


def test_empty_map_has_nothing() -> None:
    """A new map is empty, and to remove an absent key is no error."""
    entries = BoundedMap[str, int](10)
    assert (entries.get("a"), entries.pop("a"), len(entries)) == (None, None, 0)


def test_value_is_replaced_in_both_generations() -> None:
    """A new value of a key replaces the earlier one in both generations."""
    entries = BoundedMap[str, int](4)
    for key, value in (("a", 1), ("a", 2), ("b", 1), ("c", 1)):  # a and b are old now
        entries.put(key, value)
    entries.put("a", 3)
    assert len(entries) == 3
    assert (entries.get("a"), entries.pop("a"), entries.get("a")) == (3, 3, None)


def test_falsy_values_are_kept() -> None:
    """A zero is a value like any other, in both generations."""
    entries = BoundedMap[str, object](4)
    for key in "abc":
        entries.put(key, 0)
    assert [entries.get(key) for key in "abc"] == [0, 0, 0]
    assert entries.pop("a") == 0


def test_old_entry_is_removed() -> None:
    """An entry of the old generation can be removed."""
    entries = BoundedMap[str, int](2)
    entries.put("a", 1)
    entries.put("b", 2)
    assert entries.pop("a") == 1
    assert (entries.get("a"), len(entries)) == (None, 1)


def test_least_used_is_dropped() -> None:
    """An entry that was used stays, one that was not used is dropped."""
    entries = BoundedMap[str, int](4)
    for key in "ab":
        entries.put(key, 1)
    for key in "cde":
        entries.put(key, 1)
        assert entries.get("a") == 1
    assert entries.get("b") is None


def test_clear_empties_both_generations() -> None:
    """After clear() the map is empty and can be used again."""
    entries = BoundedMap[int, int](4)
    for key in range(3):
        entries.put(key, key)
    entries.clear()
    assert (len(entries), [entries.get(key) for key in range(3)]) == (0, [None] * 3)
    entries.put(1, 1)
    assert entries.get(1) == 1


@pytest.mark.threat("DOS-01")
@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000])
def test_map_stays_within_its_size(size: int) -> None:
    """The map never has more entries than its size; the smallest map holds two."""
    entries = BoundedMap[int, int](size)
    for key in range(size * 3):
        entries.put(key, key)
        assert len(entries) <= max(2, size)
    assert entries.get(size * 3 - 1) == size * 3 - 1


actions = st.lists(
    st.tuples(st.sampled_from(["put", "put", "get", "get", "pop", "clear"]), st.integers(0, 12), st.integers()),
    max_size=80,
)


@pytest.mark.threat("DOS-01")
@given(size=st.integers(1, 12), steps=actions)
def test_map_is_a_dict_that_drops_entries(size: int, steps: list[tuple[str, int, int]]) -> None:
    """The map gives only values that were put, stays bounded, and has the size / 2 entries that were used last."""
    entries, model = BoundedMap[int, int](size), dict[int, int]()  # the model: most recently used last
    for action, key, value in steps:
        if action == "put":
            entries.put(key, value)
            model.pop(key, None)
            model[key] = value
        elif action == "get":
            found = entries.get(key)
            assert found is None or found == model[key]
            if found is not None:
                model[key] = model.pop(key)
        elif action == "pop":
            found, expected = entries.pop(key), model.pop(key, None)
            assert found is None or found == expected
        else:
            entries.clear()
            model.clear()
        assert len(entries) <= max(2, size)
    last = list(model)[-max(1, size // 2) :]
    assert [entries.get(key) for key in last] == [model[key] for key in last]
