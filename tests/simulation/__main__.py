"""`python -m tests.simulation`: play any number of seeds on all cores, or one of them with its trace."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.seeds import Game, play_on_all_cores, play_seeds, told, total


def main() -> int:
    """Play what the command line says; give 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one and print its trace")
    parser.add_argument("--seeds", type=int, default=10_000, help="play so many (default: %(default)s, a night's work)")
    parser.add_argument("--first", type=int, default=0, help="begin with this seed")
    parser.add_argument("--runs", type=int, default=50, help="runs per seed (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=10, help="questions per seed (default: %(default)s)")
    parser.add_argument("--readers", type=int, default=0, help="questions to the other readers (default: %(default)s)")
    options = parser.parse_args()
    game = Game(runs=options.runs, questions=options.questions, readers=options.readers)
    began = time.monotonic()
    if options.seed is not None:
        played = play_seeds([options.seed], game)
        print("\n".join(played[0].trace), played[0].failure, sep="\n")  # noqa: T201
    else:
        played = play_on_all_cores(range(options.first, options.first + options.seeds), game)
        print(told(played, game))  # noqa: T201
    failed = sum(bool(one.failure) for one in played)
    print(f"{len(played)} seeds, {failed} failed, {time.monotonic() - began:.0f} s: {total(played)}")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
