"""What a fleet has to have recorded: the simulation's oracle over what the server was asked, whoever asked."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from crawler.db.engine import opened, read
from crawler.emulator import EmulatorServer, World
from crawler.queries.changes import changes
from tests.simulation.checks import Plain, as_plain, plain
from tests.simulation.cloud import Question, Said
from tests.simulation.model import Key, Model, Spot
from tests.simulation.oracle import Oracle
from tests.simulation.past import Past
from tests.support.driving import asked

#: Of a change in plain words: all but when it was observed.
_TIME = 5


def expected_changes(cloud: EmulatorServer) -> Counter[Plain]:
    """
    Return the changes that a perfect observer of all answers of *cloud* knows, without their times.

    A run that was killed may have heard answers that it did not record. They count here, and the answers to the run
    after it say the same, as long as the cloud changed no more than once in between.
    """
    oracle = Oracle()
    models = [_model_of(world) for world in cloud.timeline.worlds]
    for number, line in enumerate(asked(cloud)):
        spot, at = Spot(line.project, line.region, line.zone), datetime.fromtimestamp(number, UTC)
        offered = models[line.step - 1].offers(spot.project, spot.zone)
        said = Said(
            question=Question(line.action, *spot),
            at=at,
            meaning="good",
            listed=models[line.step - 1].states(offered),
            offered=frozenset(offered),
        )
        oracle.pasts.setdefault(spot, Past())
        oracle.observed({spot: [said]}, [spot], at, planned=1, is_restricted=True)
    return Counter(_timeless(plain(change)) for change in oracle.changes)


def recorded_changes(url: str) -> Counter[Plain]:
    """Return the changes that the history at *url* has, without their times."""
    with opened(url, read_only=True) as engine, read(engine) as conn:
        return Counter(_timeless(as_plain(row)) for row in changes(conn))


def _model_of(world: World) -> Model:
    return Model(
        projects={project.project_id: project.name for project in world.projects},
        zones={zone.zone: zone.zone_id or 0 for zone in world.zones},
        images={
            zone: {Key(name, record["ImageId"]): record for name, records in sets.items() for record in records}
            for zone, sets in world.images.items()
        },
    )


def _timeless(change: Plain) -> Plain:
    return (*change[:_TIME], *change[_TIME + 1 :])
