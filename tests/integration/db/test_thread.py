"""The thread in which asynchronous programs do their database work."""

from __future__ import annotations

import asyncio
from threading import current_thread

import pytest

from crawler.db.thread import DatabaseThread


def test_one_thread_in_order() -> None:
    """Work is done in one thread, in the order of the calls; what it raises is raised where it is awaited."""
    done: list[tuple[int, str]] = []

    def work(number: int, *, name: str = "") -> str:
        done.append((number, current_thread().name))
        if number == 3:
            raise ValueError("three")
        return name

    async def go() -> list[str]:
        with DatabaseThread() as in_thread:
            given = await asyncio.gather(*(in_thread(work, number, name=f"n{number}") for number in range(3)))
            with pytest.raises(ValueError, match="three"):
                await in_thread(work, 3)
        return given

    assert asyncio.run(go()) == ["n0", "n1", "n2"]
    assert [number for number, _ in done] == [0, 1, 2, 3]
    assert {name for _, name in done} == {"database_0"}
