"""What waits between asking and recording: bounded in bytes, and not judged long after the deadline."""

from __future__ import annotations

import asyncio

import pytest

from crawler.crawl.worker import ByteRoom

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def waits(room: ByteRoom, size: int) -> asyncio.Task[None]:
    """Ask for room; give the task, which has had every chance to get it."""
    task = asyncio.create_task(room.take(size))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_answers_wait_for_room() -> None:
    """What does not fit beside the others waits until enough of them were let go."""
    room = ByteRoom(100)
    await room.take(60)
    second, third = await waits(room, 41), await waits(room, 40)
    assert (second.done(), third.done()) == (False, True)
    await room.give_back(60)
    await asyncio.wait_for(second, 1)


async def test_a_larger_answer_passes_alone() -> None:
    """An answer larger than the room passes when nothing else is in it, and then nothing else passes."""
    room = ByteRoom(100)
    await room.take(1)
    large = await waits(room, 5_000)
    assert not large.done()
    await room.give_back(1)
    await asyncio.wait_for(large, 1)
    small = await waits(room, 1)
    assert not small.done()
    await room.give_back(5_000)
    await asyncio.wait_for(small, 1)


async def test_failures_need_no_room() -> None:
    """What brings no bytes never waits for some."""
    room = ByteRoom(100)
    await room.take(100)
    assert (await waits(room, 0)).done()
