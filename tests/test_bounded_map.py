"""The bounded map: what it keeps, and that it is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosess._bounded_map import Memory


def test_empty_memory_knows_nothing() -> None:
    """Nothing is remembered at first, and forgetting what is not there is no error."""
    memory = Memory[str, int](10)
    assert (memory.get("a"), memory.pop("a"), len(memory)) == (None, None, 0)


def test_value_is_replaced_in_both_generations() -> None:
    """A value that is put again replaces the earlier one, wherever that was."""
    memory = Memory[str, int](4)
    for key, value in (("a", 1), ("a", 2), ("b", 1), ("c", 1)):  # a and b are old now
        memory.put(key, value)
    memory.put("a", 3)
    assert len(memory) == 3
    assert (memory.get("a"), memory.pop("a"), memory.get("a")) == (3, 3, None)


def test_falsy_values_are_remembered() -> None:
    """A zero or an empty text is a value like another, in both generations."""
    memory = Memory[str, object](4)
    for key in "abc":
        memory.put(key, 0)
    assert [memory.get(key) for key in "abc"] == [0, 0, 0]
    assert memory.pop("a") == 0


def test_old_entry_is_popped() -> None:
    """An entry of the old generation can be popped, and is gone."""
    memory = Memory[str, int](2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.pop("a") == 1
    assert (memory.get("a"), len(memory)) == (None, 1)


def test_least_used_is_forgotten() -> None:
    """What was used goes on, what was not is forgotten."""
    memory = Memory[str, int](4)
    for key in "ab":
        memory.put(key, 1)
    for key in "cde":
        memory.put(key, 1)
        assert memory.get("a") == 1
    assert memory.get("b") is None


def test_clear_forgets_both_generations() -> None:
    """After clear() nothing is there, and the memory is usable."""
    memory = Memory[int, int](4)
    for key in range(3):
        memory.put(key, key)
    memory.clear()
    assert (len(memory), [memory.get(key) for key in range(3)]) == (0, [None] * 3)
    memory.put(1, 1)
    assert memory.get(1) == 1


@pytest.mark.threat("DOS-01")
@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000])
def test_memory_stays_within_its_size(size: int) -> None:
    """However many entries are put, no more than the size are kept; the smallest memory holds two."""
    memory = Memory[int, int](size)
    for key in range(size * 3):
        memory.put(key, key)
        assert len(memory) <= max(2, size)
    assert memory.get(size * 3 - 1) == size * 3 - 1


actions = st.lists(
    st.tuples(st.sampled_from(["put", "put", "get", "get", "pop", "clear"]), st.integers(0, 12), st.integers()),
    max_size=80,
)


@pytest.mark.threat("DOS-01")
@given(size=st.integers(1, 12), steps=actions)
def test_memory_is_a_map_that_forgets(size: int, steps: list[tuple[str, int, int]]) -> None:
    """It never invents or mixes up, is bounded, and has the size / 2 entries that were used last."""
    memory, model = Memory[int, int](size), dict[int, int]()  # the model: most recently used last
    for action, key, value in steps:
        if action == "put":
            memory.put(key, value)
            model.pop(key, None)
            model[key] = value
        elif action == "get":
            found = memory.get(key)
            assert found is None or found == model[key]
            if found is not None:
                model[key] = model.pop(key)
        elif action == "pop":
            found, expected = memory.pop(key), model.pop(key, None)
            assert found is None or found == expected
        else:
            memory.clear()
            model.clear()
        assert len(memory) <= max(2, size)
    last = list(model)[-max(1, size // 2) :]
    assert [memory.get(key) for key in last] == [model[key] for key in last]
