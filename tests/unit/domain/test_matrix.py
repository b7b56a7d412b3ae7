"""Machines × versions: what is asked about, what it is called, and what is in turn."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from crawler.domain.matrix import (
    Combination,
    Machine,
    MatrixChoice,
    Offer,
    OfferedMatrix,
    Rotation,
    boots,
    in_turn,
    is_of_matrix,
    machines_of,
    names_of,
    question_of,
    rotation,
    told_variants,
    version_key,
    versions_of,
)
from crawler.domain.models import Target

VERSIONS = frozenset({"1.26.7", "1.28.15", "1.30.14"})
OFFER = Offer(frozenset({Machine("O"), Machine("G", "V100"), Machine("G", "A100")}), VERSIONS)


def asked(**choice: object) -> set[str]:
    """Return the names of what is asked of OFFER."""
    wanted = MatrixChoice(**choice)  # type: ignore[arg-type] # its keyword fields
    return set(names_of(wanted.questions(OFFER), {}).values())


def target(variant: str, zone: str = "hk-01") -> Target:
    return Target("prod", "org-a", "hk", zone, "uk8s-image", variant)


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({}, {"o-1.28", "g-v100-1.28", "g-a100-1.28"}),
        ({"versions": ("1.30",)}, {"o-1.30", "g-v100-1.30", "g-a100-1.30"}),
        ({"versions": ("1.3",)}, set()),
        ({"versions": ("1.30.14", "1.26"), "gpu_types": ("v*",)}, {"o-1.30", "g-v100-1.30", "o-1.26", "g-v100-1.26"}),
        ({"gpu_types": ("!A*",)}, {"o-1.28", "g-v100-1.28"}),
        ({"gpu_types": ("none",)}, {"o-1.28"}),
    ],
)
def test_choice(choice: dict[str, object], names: set[str]) -> None:
    """Versions are named or the one before the newest; GPU types are globs in any case; others are always asked."""
    assert asked(**choice) == names


def test_all_versions_and_a_single_one() -> None:
    """`all` is every one; where one alone is offered it is the one before the newest as well."""
    assert len(asked(versions=("all",))) == 9
    assert {one.version for one in MatrixChoice().questions(Offer(OFFER.machines, frozenset({"1.30.14"})))} == {
        "1.30.14"
    }
    assert {one.version for one in MatrixChoice().questions(Offer(OFFER.machines, frozenset({"1.8.1", "1.10.1"})))} == {
        "1.8.1"
    }


def test_machines() -> None:
    """GPU types are told by parent or class; spot capacity and what is sold out is the same machine; G is none."""
    records: dict[str, dict[str, str | None]] = {
        "O": {"status": "Soldout", "instance_type": "uhost"},
        "V100": {"parent_type": "G"},
        "V100/spot": {"parent_type": "G", "instance_type": "spot"},
        "T4": {"machine_class": "GPU"},
        "G": {"machine_class": "GPU"},
        "x" * 200: {},
        "a\nb": {},
        "Q/": {"instance_type": "", "machine_class": None},
    }
    assert machines_of(records.items()) == {Machine("O"), Machine("G", "V100"), Machine("G", "T4"), Machine("Q/")}


def test_parameters_are_read_back() -> None:
    """A question is known again by its parameters; those of other variants are none of the matrix."""
    for question in (Combination("O", "", "1.30.14"), Combination("G", "V100", "1.30")):
        assert question_of(question.parameters) == question
    for other in ({}, {"MachineType": "G", "GPUType": "V100"}, {"K8sVersion": "1.30"}, {"MachineType": "O", "X": "y"}):
        assert question_of(other) is None


def test_names() -> None:
    """Names are made from the values; one that is taken by another question goes on to a longer one, and all stay."""
    first = names_of([Combination("G", "V100", "1.30.14"), Combination("G", "RTX 4090/48G", "1.30.14")], {})
    assert set(first.values()) == {"g-v100-1.30", "g-rtx-4090-48g-1.30"}
    known = {name: question.parameters for question, name in first.items()} | {"o-1.30": {"MachineType": "OM"}}
    more = [Combination("G", "V100", "1.30.15"), Combination("G", "v100", "1.30.14"), Combination("O", "", "1.30.1")]
    later = names_of(more, known)
    assert later == names_of(reversed(more), known)
    assert {question: later[question] for question in first} == first
    assert later[more[0]] == "g-v100-1.30.15"
    assert later[more[1]] == "g-v100-1.30.14"
    assert later[more[2]] == "o-1.30.1"
    assert len(set(later.values())) == 5


def test_names_of_odd_values() -> None:
    """Whatever the values hold, every question has a name of its own without a slash, and the same each time."""
    random = Random(24)
    words = ["", "G", "g", "V/1", "V-1", "v 1", "日本", "…", "a" * 60, "1.30.1", "1.30", "-"]
    questions = {
        Combination(random.choice(words[1:]), random.choice(words), random.choice(words[1:])) for _ in range(500)
    }
    named = names_of(questions, {})
    assert len(set(named.values())) == len(questions)
    assert all(name and "/" not in name and name == name.strip() and len(name) <= 80 for name in named.values())
    assert named == names_of(questions, {name: question.parameters for question, name in named.items()})


def test_told_variants() -> None:
    """A machine with all its versions is one word, and so is a version on all machines; what is left is named."""
    everything = [f"{machine}-{version}" for machine in ("o", "g-v100", "g-a100") for version in ("1.28", "1.30")]
    among = ["default", *everything]
    assert told_variants(["g-v100-1.28", "g-v100-1.30"], among) == ("g-v100-*",)
    assert told_variants([one for one in everything if one.endswith("1.28")], among) == ("*-1.28",)
    assert told_variants(["default", "o-1.28"], among) == ("default", "o-1.28")
    assert told_variants(["blue"], ["blue", "red"]) == ("blue",)


def test_told_variants_in_the_fewest_words() -> None:
    """What stands for more comes first, then by its words; what would stand for one alone stands for none."""
    uneven = ["g-1.26", "g-1.28", "g-1.30", "o-1.28"]
    assert told_variants(uneven, uneven) == ("o-1.28", "g-*")
    even = ["g-1.28", "g-1.30", "o-1.28", "o-1.30"]
    assert told_variants(even, even) == ("*-1.28", "*-1.30")
    assert told_variants(["o-1.20"], ["o-1.20", "o-1.30", "g-1.30"]) == ("o-1.20",)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        (("O", "", "1.30"), "o-1.30"),
        (("G", "(V100)", "1.30."), "g-v100-1.30"),
        (("O", "", "…"), "o"),
        (("a" * 40, "b" * 34, "1.30"), f"{'a' * 40}-{'b' * 34}-1.30"),
        (("a" * 40, "b" * 35, "1.30"), "matrix-62b4d1db"),
        (("日本", "", "…"), "matrix-fd90f2da"),
    ],
)
def test_name_of_a_question(question: tuple[str, str, str], name: str) -> None:
    """A name is what is plain in the values, up to 80 characters; without any, or a longer one, it is a digest."""
    assert names_of([Combination(*question)], {}) == {Combination(*question): name}


def test_names_with_a_digest_that_are_taken() -> None:
    """Where another question has the name with the digest already, numbers follow, from 2 on."""
    question = Combination("日本", "", "…")
    taken = ["matrix-fd90f2da", "matrix-fd90f2da-2", *(f"matrix-fd90f2da-{number}" for number in range(3, 1200))]
    for length, name in ((1, "matrix-fd90f2da-2"), (2, "matrix-fd90f2da-3"), (1199, "matrix-fd90f2da-1200")):
        assert names_of([question], {one: {"X": "y"} for one in taken[:length]}) == {question: name}


def test_short_name_of_the_newest() -> None:
    """Of versions that one short name would fit, the newest by its numbers gets it."""
    questions = [Combination("O", "", version) for version in ("1.30.9", "1.30.14", "1.30.2")]
    assert names_of(questions, {}) == dict(zip(questions, ("o-1.30.9", "o-1.30", "o-1.30.2"), strict=True))


def test_two_names_of_one_question() -> None:
    """A question that the history knows by two names goes by the shorter one; the other is asked no more."""
    question = Combination("O", "", "1.28.15")
    known = {"a-longer-one": question.parameters, "o-1.28": question.parameters}
    assert names_of([question], known) == {question: "o-1.28"}
    matrix = OfferedMatrix.of(MatrixChoice(), {("hk", "hk-01"): OFFER}, known)
    assert matrix.question(target("a-longer-one")) == matrix.question(target("o-1.28")) == question
    assert (matrix.standing(target("a-longer-one")), matrix.standing(target("o-1.28"))) == ("unwanted", "wanted")


@pytest.mark.parametrize(
    ("variant", "is_one"),
    [("g-v100-1.28", True), ("g-v1.x", False), ("o-128", False), ("1.28", False), ("-1.28", False)],
)
def test_names_of_a_matrix(variant: str, is_one: bool) -> None:
    """A variant of a matrix is called by a machine and, behind a dash, a version."""
    assert is_of_matrix(variant) is is_one


def test_standing() -> None:
    """A target is wanted, not wanted, ended, or nobody can tell; variants with other parameters are none of it."""
    known = {
        "g-v100-1.28": Combination("G", "V100", "1.28.15").parameters,
        "g-t4-1.28": Combination("G", "T4", "1.28.15").parameters,
        "g-v100-1.24": Combination("G", "V100", "1.24.1").parameters,
        "gpu": {"MachineType": "G", "GPUType": "V100"},
    }
    matrix = OfferedMatrix.of(MatrixChoice(gpu_types=("V*", "T*")), {("hk", "hk-01"): OFFER}, known)
    assert matrix.standing(target("g-v100-1.28")) == "wanted"
    assert matrix.standing(target("g-t4-1.28")) == "ended"
    assert matrix.standing(target("g-v100-1.24")) == "ended"
    assert matrix.standing(target("g-v100-1.28", "hk-02")) == "unknown"
    assert matrix.standing(target("gpu")) is None
    assert matrix.standing(target("default")) is None
    assert matrix.variants_at("hk", "hk-01") == ["g-v100-1.28", "o-1.28"]
    assert matrix.variants_at("hk", "hk-02") == []
    none = OfferedMatrix.of(MatrixChoice(versions=("1.30",), gpu_types=("A*",)), {("hk", "hk-01"): OFFER}, known)
    assert {none.standing(target(name)) for name in ("g-v100-1.28", "g-t4-1.28", "g-v100-1.24")} == {"unwanted"}
    assert none.standing(target("g-v100-1.28", "hk-02")) == "unwanted"


@pytest.mark.parametrize("size", [1, 2, 7, 26, 60, 359, 360, 361])
def test_turns(size: int) -> None:
    """Every target comes once in a round, never more at once than there is room, and a round's sets come again."""
    turns = rotation(MatrixChoice(max_targets=50), size, 24)
    assert turns.at_once <= 26
    last = dict.fromkeys(range(size), 0)
    asked_at: dict[int, list[int]] = {one: [] for one in last}
    sets = set()
    for run in range(1, 3 * turns.runs + 1):
        chosen = in_turn(last, turns)
        assert 0 < len(chosen) <= turns.at_once
        sets.add(tuple(chosen))
        for one in chosen:
            last[one] = run
            asked_at[one].append(run)
    assert all(len(runs) == 3 for runs in asked_at.values())
    assert all(second - first == third - second == turns.runs for first, second, third in asked_at.values())
    assert len(sets) == turns.runs


def test_turns_of_what_comes_and_goes() -> None:
    """Whatever comes and goes and is asked in between, nothing waits longer than a round takes."""
    random = Random(7)
    last = dict.fromkeys(range(200), 0)
    known_since = dict.fromkeys(last, 0)
    longest = 0
    for run in range(1, 400):
        if random.random() < 0.1 and len(last) < 260:
            number = 1000 + run
            last[number], known_since[number] = 0, run
        if random.random() < 0.1:
            last.pop(random.choice(list(last)))
        turns = rotation(MatrixChoice(max_targets=40), len(last), 10)
        longest = max(longest, turns.runs)
        for one in in_turn(last, turns):
            last[one] = run
        for one, asked_in in last.items():
            assert run - max(asked_in, known_since[one]) <= longest
    assert longest == 8


@pytest.mark.parametrize(
    ("matrix", "others", "words"),
    [
        (26, 24, None),
        (360, 24, None),
        (1000, 24, "take 39 runs, which is 585m at one run in 15m and longer than stale_after (9h): set max_targets"),
        (1, 50, "leaves no room for the 1 target of the matrix beside the 50"),
        (0, 60, None),
    ],
)  # fmt: skip
def test_a_round_that_takes_too_long(matrix: int, others: int, words: str | None) -> None:
    """A round longer than stale_after is a problem that says how many would do; so is no room at all."""
    choice = MatrixChoice(max_targets=50)
    stale_after = timedelta(hours=9)
    problem = rotation(choice, matrix, others).problem(timedelta(minutes=15), stale_after, choice, others)
    assert (problem is None) == (words is None)
    if words is not None and problem is not None:
        assert words in problem


def test_texts_of_a_machine_and_its_question() -> None:
    """A machine reads as its words; a question sends those of its values that are not empty, and no others ask it."""
    assert [str(Machine("G", "V100")), str(Machine("O"))] == ["G V100", "O"]
    question = Combination("G", "V100", "1.30.14")
    assert (question.machine, Combination("O", "", "1").machine) == (Machine("G", "V100"), Machine("O"))
    assert question.parameters == {"GPUType": "V100", "K8sVersion": "1.30.14", "MachineType": "G"}
    assert Combination("O", "", "1.30").parameters == {"K8sVersion": "1.30", "MachineType": "O"}
    assert question_of({**question.parameters, "X": "y"}) is None


@pytest.mark.parametrize(
    ("name", "is_machine"), [("x" * 60, True), ("x" * 61, False), ("", False), (" O", False), ("a\tb", False)]
)
def test_values_that_may_be_sent(name: str, is_machine: bool) -> None:
    """A value of the cloud's has 1 to 60 characters, all printable, and no blank at its ends."""
    assert machines_of([(name, {})]) == ({Machine(name)} if is_machine else set())
    assert versions_of([name, "1.30"]) == ({name, "1.30"} if is_machine else {"1.30"})
    assert machines_of([("T4", {"parent_type": name or " ", "machine_class": "gpu"})]) == (
        {Machine(name, "T4")} if is_machine else set()
    )


@pytest.mark.parametrize("spot", ["spot", "Spot", " SPOT"])
def test_spot_capacity_in_any_spelling(spot: str) -> None:
    """Spot capacity is of the machine that its id names, however a brand writes the word for it."""
    assert machines_of([("V100/spot", {"instance_type": spot, "machine_class": "GPU"})]) == {Machine("G", "V100")}


def test_what_is_passed_over_ends_nothing() -> None:
    """What stands behind a record that makes no machine is read all the same."""
    assert machines_of([("G", {}), ("", {}), ("O", {"parent_type": "x"})]) == {Machine("O")}


@pytest.mark.parametrize(
    ("stated", "version", "does"),
    [
        ("", "1.30.14", True),
        ("1.30", "", True),
        ("1.30", "1.30.14", True),
        ("1.30.14", "1.30", True),
        ("1.30.14", "1.30.2", True),
        ("1", "1.30.14", True),
        ("v1.30", "v1.30.14", True),
        ("1.3", "1.30.14", False),
        ("1.28", "1.30.14", False),
    ],
)
def test_what_boots(stated: str, version: str, does: bool) -> None:
    """A question is about a machine in any case of its names, and about a version where the minor one is the same."""
    parameters = {"MachineType": "g", "GPUType": "v100", "K8sVersion": stated}
    assert boots(parameters, Machine("G", "V100"), version) is does
    assert not boots(parameters, Machine("G", "T4"), version)
    assert not boots(parameters, Machine("O", "V100"), version)
    assert boots({}, Machine(""), version)


def test_order_of_versions() -> None:
    """Versions go by their numbers, the newest first; machines of one version by their names."""
    assert version_key("1.30.14-rc2") == ((1, 30, 14, 2), "1.30.14-rc2")
    asked_of = list(MatrixChoice(versions=("all",)).questions(OFFER))
    assert asked_of[:3] == [
        Combination("G", "A100", "1.30.14"), Combination("G", "V100", "1.30.14"), Combination("O", "", "1.30.14"),
    ]  # fmt: skip
    assert [one.version for one in asked_of[::3]] == ["1.30.14", "1.28.15", "1.26.7"]


@pytest.mark.parametrize(
    ("versions", "version", "wanted"),
    [
        (("all",), "1.20", True),
        (("latest-1",), "1.20", True),
        (("1.20",), "1.20.3", True),
        (("1.20",), "1.2", False),
        (("1.20", "1.28"), "1.28.1", True),
    ],
)
def test_wanted_where_nobody_knows(versions: tuple[str, ...], version: str, wanted: bool) -> None:
    """Where no version is known to be offered a named one is wanted by its name, and any by the words for them."""
    choice = MatrixChoice(versions=versions, gpu_types=("V*",))
    assert choice.wants(Combination("G", "V100", version)) is wanted
    assert choice.wants(Combination("O", "", version)) is wanted
    assert not choice.wants(Combination("G", "T4", version))


def test_causes() -> None:
    """What went is told by what the zone lacks, its version first; what came by whichever makes fewer of it."""
    known = {
        "a": Combination("G", "V100", "1.28.15").parameters,
        "b": Combination("G", "T4", "1.28.15").parameters,
        "c": Combination("O", "", "1.20.1").parameters,
        "d": Combination("O", "", "1.28.15").parameters,
        "e": Combination("O", "", "1.30.14").parameters,
    }
    matrix = OfferedMatrix.of(MatrixChoice(), {("hk", "hk-01"): OFFER}, known)
    assert matrix.parameters["c"] == {"MachineType": "O", "K8sVersion": "1.20.1"}
    assert matrix.causes([target("b"), target("c")]) == {
        (("machine_type", "G"), ("gpu_type", "T4")): [target("b")],
        (("k8s_version", "1.20.1"),): [target("c")],
    }
    assert matrix.causes([target("a"), target("d")]) == {(("k8s_version", "1.28.15"),): [target("a"), target("d")]}
    assert matrix.causes([target("d"), target("e")]) == {(("machine_type", "O"),): [target("d"), target("e")]}
    assert matrix.causes([target("d")]) == {(("k8s_version", "1.28.15"),): [target("d")]}
    assert matrix.causes([target("d", "hk-09")]) == {(("k8s_version", "1.28.15"),): [target("d", "hk-09")]}
    assert matrix.question(target("a")) == Combination("G", "V100", "1.28.15")
    assert matrix.question(target("a")._replace(kind="other")) is None


@pytest.mark.parametrize(
    ("most", "matrix", "others", "turns"),
    [
        (50, 26, 24, (26, 26)),
        (50, 27, 24, (27, 14)),
        (50, 10, 50, (10, 0)),
        (50, 10, 49, (10, 1)),
        (50, 10, 60, (10, 0)),
        (50, 0, 0, (0, 0)),
        (2000, 100, 0, (100, 100)),
    ],
)
def test_rotation(most: int, matrix: int, others: int, turns: tuple[int, int]) -> None:
    """Rounds are even: what does not go into one run is spread over as few as it takes."""
    assert rotation(MatrixChoice(max_targets=most), matrix, others) == turns


def test_problems_in_words() -> None:
    """A round that takes too long is told with its figures and what would do; one as long as that is no problem."""
    choice, minute = MatrixChoice(max_targets=50), timedelta(minutes=1)
    advice = "or more, or narrow `versions` or `gpu_types`"
    assert MatrixChoice().max_targets == 2000
    assert Rotation(100, 10).problem(15 * minute, 150 * minute, choice, 40) is None
    assert Rotation(100, 10).problem(15 * minute, 149 * minute, choice, 40) == (
        "100 targets of the matrix, 10 in a run, take 10 runs, which is 150m at one run in 15m and longer than "
        f"stale_after (149m): set max_targets to 52 {advice}"
    )
    assert Rotation(2, 0).problem(15 * minute, 150 * minute, choice, 1) == (
        "max_targets = 50 leaves no room for the 2 targets of the matrix beside the 1 that is asked without: "
        f"set max_targets to 2 {advice}"
    )
    assert Rotation(2, 0).problem(15 * minute, 5 * minute, choice, 60) == (
        "max_targets = 50 leaves no room for the 2 targets of the matrix beside the 60 that are asked without: "
        f"set max_targets to 62 {advice}"
    )
    assert [Rotation(10, 0).runs, Rotation(10, 1).runs, Rotation(10, 3).runs] == [0, 10, 4]


def test_what_is_asked_together() -> None:
    """The longest unasked come first, by id among equals; sets stay together where a round takes no longer by it."""
    assert in_turn({3: 0, 1: 0, 2: 5}, Rotation(3, 2)) == [1, 3]
    assert in_turn({1: 4, 2: 5, 3: 5}, Rotation(3, 2)) == [1]
    assert in_turn({1: 4, 2: 5, 3: 6}, Rotation(3, 2)) == [1, 2]
    assert in_turn({1: 4, 2: 5, 3: 6, 4: 6, 5: 6}, Rotation(5, 2)) == [1, 2]
    assert in_turn({}, Rotation(0, 0)) == []
