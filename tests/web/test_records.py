"""Session records and what comes with them: they can be copied, kept and written down, and do not change."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import aiosess
from tests.world.browser import Browser
from tests.world.site import Site


async def record_of(browser: Browser) -> aiosess.Session:
    """Return the current session's record, with data."""

    async def current(sessions: aiosess.SessionManager) -> aiosess.Session:
        await sessions.set("cart", [{"id": 1}])
        assert sessions.current is not None
        return sessions.current

    record: aiosess.Session = await browser.run(current)
    return record


def pickled(record: object) -> object:
    """Return what comes out of a pickle."""
    return pickle.loads(pickle.dumps(record))  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, pickled],
    ids=["copy", "deep", "pickle"],
)
async def test_copies_are_equal(site: Site, ada: Browser, again: Callable[[Any], Any]) -> None:
    """A copied or pickled record, page, tally or event equals the first one, and so does its hash."""
    record = await record_of(ada)
    page = await site.store.page_for_user("ada")
    for each in (record, page, page.tally):
        twin = again(each)
        assert (twin, hash(twin), repr(twin)) == (each, hash(each), repr(each))
    with pytest.raises(TypeError):
        again(record).data["x"] = 1


async def test_record_as_dict_and_json(ada: Browser) -> None:
    """A record becomes a dict, and its data JSON."""
    record = await record_of(ada)
    assert dataclasses.asdict(record)["data"] == json.loads(json.dumps(record.data)) == {"cart": [{"id": 1}]}


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.__setitem__("x", 1),
        lambda data: data.__delitem__("cart"),
        lambda data: data.__ior__({"x": 1}),
        lambda data: data.clear(),
        lambda data: data.pop("cart"),
        lambda data: data.popitem(),
        lambda data: data.setdefault("x", 1),
        lambda data: data.update(x=1),
    ],
)
async def test_data_refuses_changes(ada: Browser, change: Callable[[Any], object]) -> None:
    """Who changes the data in place, which nobody would store, is told what to do; a copy of it can be changed."""
    data = (await record_of(ada)).data
    with pytest.raises(TypeError, match=r"sessions\.set"):
        change(data)
    assert {**data, "x": 1} == {"cart": [{"id": 1}], "x": 1}
