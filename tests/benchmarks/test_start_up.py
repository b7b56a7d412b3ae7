"""What the command loads before it can answer, and how long that takes next to a Python that does nothing."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crawler import History
from crawler.db.engine import opened
from crawler.db.locks import take_locks
from tests.benchmarks.five_years import Made
from tests.benchmarks.load_server import Offer, load_server
from tests.benchmarks.own_process import python
from tests.support.diary import Diary, target
from tests.support.figures import Figures
from tests.support.modules import HEAVY, modules_of
from tests.support.processes import write_config

pytestmark = pytest.mark.prove

ROW = "start-up"
ROUNDS = 11
#: What any program loads that asks a database and has a command line of this kind.
LIBRARIES = ("-c", "import sqlalchemy, click")
NAME = "CentOS 7.6"
#: Of a question, against those libraries; of fifty questions, against one; of a warm answer, in milliseconds.
COLD, FIFTY, WARM = 1.5, 2.0, 5.0


def test_start_up(sqlite_url: str, tmp_path: Path, figures: Figures) -> None:
    """`--help` loads no heavy library, a run not Alembic; both figures of time are shown beside `python -c pass`."""
    config = tmp_path / "crawler.toml"
    with load_server(Offer(projects=1, zones=1)) as server:
        write_config(config, database=sqlite_url, endpoint=server.url)
        loaded = modules_of("--config", config, "run")
    heavy = HEAVY & modules_of("--help")
    times: dict[str, list[float]] = defaultdict(list)
    with take_locks(sqlite_url, ["prod"], clock=lambda: datetime.now(UTC)):
        for _ in range(ROUNDS):
            for case, code, words in (
                ("python -c pass", 0, ("-c", "pass")),
                ("crawler --help", 0, ("-m", "crawler", "--help")),
                ("run that finds the lock taken", 75, ("-m", "crawler", "--config", config, "run")),
            ):
                ended = python(*words)
                assert ended.code == code, ended
                times[case].append(ended.seconds)

    names = ", ".join(sorted(heavy))
    of = ", ".join(sorted(HEAVY))
    figures.exactly(ROW, "heavy libraries that `crawler --help` loads", len(heavy), 0, detail=names or f"of {of}")
    is_loaded = len({"alembic"} & loaded)
    figures.exactly(ROW, "Alembic in a run on a current schema", is_loaded, 0, minor=True)
    for case, taken in times.items():
        figures.shown(ROW, "wall time", 1000 * statistics.median(taken), "ms", case=case, detail=f"median of {ROUNDS}")


@pytest.fixture
def config(sqlite_url: str, tmp_path: Path) -> Path:
    """Return the configuration of a small history."""
    with opened(sqlite_url) as engine:
        Diary(engine).run({target(f"hk-{number:02}"): {f"uimage-{number}": NAME} for number in range(50)})
    config = write_config(tmp_path / "crawler.toml", database=sqlite_url, endpoint="http://127.0.0.1:1/")
    config.write_text('stale_after = "20y"\n' + config.read_text())
    (tmp_path / "rules.toml").write_text(f'[[require]]\nname = "{NAME}"\nzones = ["*"]\n')
    return config


def test_cold_answers(config: Path, figures: Figures) -> None:
    """A cold reader takes at most 1.5 times what loading its libraries takes, 50 lines less than two cold questions."""
    lines = "".join(f"hk-{number:02} {NAME}\n" for number in range(50))
    rules = config.parent / "rules.toml"
    one = ("resolve", "--zone", "hk-02", "--name", NAME)
    questions: dict[str, tuple[object, ...]] = {
        **{words[0]: words for words in (one, ("images",), ("status",), ("history", NAME), ("changes",))},
        "check": ("check", rules),
        "resolve -": ("resolve", "-"),
    }
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        times["libraries"].append(python(*LIBRARIES).seconds)
        for case, words in questions.items():
            ended = python("-m", "crawler", "--config", config, *words, stdin=lines)
            assert ended.code == 0, ended
            times[case].append(ended.seconds)

    def ratio(case: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(times[case], times[other], strict=True))

    for case in questions:
        if case != "resolve -":
            detail = f"{1000 * statistics.median(times[case]):.0f} ms; median of {ROUNDS} rounds"
            figures.at_most(ROW, "a cold question to loading SQLAlchemy and click", ratio(case, "libraries"), COLD, "×",
                            case=case, detail=detail)  # fmt: skip
    figures.at_most(ROW, "`resolve -` with 50 lines to a cold `resolve`", ratio("resolve -", "resolve"), FIFTY, "×")


def test_warm_answers(years: tuple[str, Made], figures: Figures) -> None:
    """A `History` that is open answers what scripts ask of five years in 5 ms."""
    url, made = years
    zone, name = made.zone(5), "System 7 v0"
    with History(url, clock=lambda: made.end) as history:
        for case, ask in (
            ("images of a target", lambda: history.images(zone=zone, project="org-1")),
            ("resolve", lambda: history.resolve(zone, name, project="org-1")),
            ("status of a zone", lambda: history.status(zone=zone)),
            ("changes of a day", lambda: history.changes(since=made.end - timedelta(days=1))),
        ):
            taken = []
            for _ in range(4 * ROUNDS):
                begun = time.perf_counter()
                assert ask()
                taken.append(1000 * (time.perf_counter() - begun))
            database = url.partition(":")[0].partition("+")[0]
            figures.at_most(ROW, f"a warm History: {case}", statistics.median(taken), WARM, "ms", case=database)
