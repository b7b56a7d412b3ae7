"""The order of answers within one run: what is asked again, how often, and which answer counts in the end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Engine, select

from crawler.db.engine import read
from crawler.db.schema import OutcomeSpan, Payload, TargetRow
from crawler.queries import status
from tests.support.diary import Answer, Diary, Refusal, document, target

HOME = target()
FOUR = {"uimage-a": "CentOS 7.6", "uimage-b": "Ubuntu 20.04", "uimage-c": "Anolis 8.6", "uimage-d": "Debian 12"}
GOOD: Answer = FOUR
#: Half of the images: asked again, then held.
LOSS: Answer = {"uimage-a": "CentOS 7.6", "uimage-b": "Ubuntu 20.04"}
#: Not believed at all.
ODD: Answer = {**document(FOUR), "Action": "GetRegionResponse"}
NONE: Answer = Refusal()


def play(diary: Diary, answers: Sequence[Answer]) -> tuple[int, str, str]:
    """Play a run in which HOME answers so; give how often it was asked, its outcome and what is said of it."""
    run_id, recorder = diary.start([HOME])
    again = recorder.judge([diary.item(HOME, answers[0])])
    asked = 1
    for answer in answers[1:]:
        assert again == [HOME], "another question is expected"
        again = recorder.judge([diary.item(HOME, answer, is_reask=True)])
        asked += 1
    assert bool(again) == bool(recorder.waiting)
    recorder.settle()
    recorder.commit()
    diary.finish(run_id, recorder)
    with read(diary.engine) as conn:
        (row,) = status.status(conn, now=diary.now)
    return asked + len(again), str(row.outcome), row.message or ""


def test_what_is_said_of_a_hold_goes_with_it(engine: Engine) -> None:
    """Of images that are listed again while others still wait nobody says that they are not; the span goes on."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    unreadable: list[dict[str, str]] = [{"Name": "no id"}] * 2
    told = []
    for ids in ("a", "abc", "ab"):
        listed = [{"ImageId": f"uimage-{letter}"} for letter in ids]
        diary.run({HOME: {"RetCode": 0, "ImageSet": [*listed, *unreadable]}})
        with read(engine) as conn:
            told.append(status.status(conn, now=diary.now)[0].message.partition(" images")[0])
        with read(engine) as conn:
            (span,) = conn.execute(select(OutcomeSpan.message)).all()
        assert span.message.startswith(told[-1])

    assert told == ["3 of 4", "1 of 4", "1 of 4"]


@pytest.mark.parametrize(
    ("answers", "asked", "outcome"),
    [
        ([ODD, GOOD], 2, "ok"),
        ([ODD, ODD], 2, "failed"),
        ([ODD, NONE], 2, "failed"),
        ([ODD], 2, "failed"),  # the second never comes
        ([ODD, LOSS, GOOD], 3, "ok"),
        ([ODD, LOSS, LOSS], 3, "held"),
        ([ODD, LOSS, ODD], 3, "held"),
        ([ODD, LOSS, NONE], 3, "held"),
        ([LOSS, ODD, GOOD], 3, "ok"),
        ([LOSS, ODD, LOSS], 3, "held"),
        ([LOSS, ODD, ODD], 3, "held"),
        ([LOSS, ODD, NONE], 3, "held"),
        ([LOSS, ODD], 3, "held"),
        ([LOSS, NONE], 2, "held"),
        ([NONE], 1, "failed"),
    ],
)
def test_orders(engine: Engine, answers: list[Answer], asked: int, outcome: str) -> None:
    """Each reason to doubt has a target asked again once; of what came, the last good answer counts."""
    diary = Diary(engine)
    diary.run({HOME: GOOD})
    questions, found, message = play(diary, answers)
    assert (questions, found) == (asked, outcome)
    assert ("Action is GetRegionResponse" in message) == (answers[0] is ODD and outcome == "failed")


def test_a_lasting_doubt_is_one_row_and_one_answer(engine: Engine) -> None:
    """While the reason stays nothing more is written; another reason, or a failure of another kind, is told anew."""
    diary = Diary(engine)
    diary.run({HOME: GOOD})
    other: Answer = {**document(FOUR), "Action": "GetProjectListResponse"}
    for answers in ([ODD, ODD], [ODD, ODD], [other, other], [NONE], [ODD, ODD], [GOOD]):
        play(diary, answers)

    with read(engine) as conn:
        spans = conn.execute(select(*OutcomeSpan.__table__.c).order_by(OutcomeSpan.id)).all()
        kept = conn.execute(select(Payload.id)).scalars().all()
    assert [(span.failure_class, span.payload_id is None, span.to_run_id) for span in spans] == [
        ("defect", False, 4), ("defect", False, 5), ("transient", True, 6), ("defect", False, 7)
    ]  # fmt: skip
    assert spans[0].payload_id == spans[3].payload_id
    assert len({span.since for span in spans}) == 1, "failed all the time"
    assert len(kept) == 3


def test_what_a_good_answer_left_unread_is_remembered(engine: Engine) -> None:
    """The counts of the last good answer are kept, also where it lists the same images as before, and was held."""

    def counts() -> tuple[int, int]:
        with read(engine) as conn:
            row = conn.execute(select(TargetRow.unreadable, TargetRow.excess)).one()
        return row.unreadable, row.excess

    def answer(images: Answer, unread: int, total: int) -> Answer:
        assert not isinstance(images, Refusal)
        whole = document(images)
        return {**whole, "ImageSet": [*whole["ImageSet"], *[{"Odd": 1}] * unread], "TotalCount": total}

    diary = Diary(engine)
    found = []
    # The third counts fewer than it lists, which says nothing about how many there should be.
    said = ((GOOD, 0, 6), (GOOD, 1, 7), (GOOD, 1, 3), (GOOD, 2, 6), (LOSS, 3, 5), (GOOD, 0, 4))
    for images, unread, total in said:
        play(diary, [answer(images, unread, total)] * (1 if images is GOOD else 2))
        found.append(counts())
    assert found == [(0, 2), (1, 2), (1, 2), (2, 0), (3, 0), (0, 0)]
