"""
The filters of readers as SQL conditions, and the words the history knows: a typo differs from an absence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import cache
from itertools import chain
from sys import intern
from typing import Any, NamedTuple, TypeVarTuple

from sqlalchemy import ColumnElement, Connection, Select, Text, bindparam, collate, exists, func, or_, select

from crawler.db.engine import is_sqlite
from crawler.db.schema import Account, ImageVersion, Interval, Run, TargetRow
from crawler.db.sql import PAGED, TARGET_COLUMNS, among, among_too, portions, written
from crawler.domain.filters import IMAGE_PARTS, TARGET_PARTS, Filters, is_glob, known_name, part_fits
from crawler.domain.models import Target, is_storable, normalise_name

Ts = TypeVarTuple("Ts")

#: Versions that are asked for by number; above that, reading all there is takes no longer.
MANY = 20_000
#: So many names and ids are looked up one by one.
FEW = 100


class ChosenTarget(NamedTuple):
    """A target that the filters want."""

    target: Target
    target_id: int
    account_id: int
    baseline_run_id: int | None


class Exact(NamedTuple):
    """Which parts of a target's name are stated without globs."""

    account: bool
    project: bool
    region: bool
    zone: bool
    kind: bool
    variant: bool


def chosen_targets(conn: Connection, filters: Filters) -> list[ChosenTarget]:
    """Return the targets that *filters* want, sorted."""
    exact, parameters = exact_parts(filters)
    rows = conn.execute(targets_with(exact), parameters).all()
    if not are_as_stated(rows, filters, exact):
        # A word may be written in another case than the cloud's, which no index finds.
        rest = exact._replace(project=False, region=False, zone=False)
        rows = conn.execute(targets_with(rest), parameters).all()
    return sorted_targets(rows, filters)


def are_as_stated(rows: Iterable[Any], filters: Filters, exact: Exact) -> bool:
    """Return whether in *rows* of `targets_with` is every region and zone that *filters* state, and every project."""
    if not (exact.project or exact.region or exact.zone):
        return True
    found = {word for row in rows for word in (row.project, row.project_name, row.region, row.zone)}
    words = {word for part in ("region", "zone") if getattr(exact, part) for word in getattr(filters, part)}
    if exact.project:  # which is asked for in small letters
        found.update({lowered for word in found for lowered in _lowered(word)})
        words.update(lowered for word in filters.project for lowered in _lowered(word))
    return found.issuperset(word for word in words if is_storable(word))


def exact_parts(filters: Filters) -> tuple[Exact, dict[str, tuple[str, ...]]]:
    """
    Tell which parts *filters* state without globs; give the values of these by part, but for what no word can be.

    Projects are given in small letters: what one account calls prod may be Prod in another. So may a region or a zone,
    which are given as clouds write them, beside as they are: an index finds these.
    """
    stated = {
        part: tuple(filter(is_storable, globs))
        for part, globs in filters.given(TARGET_PARTS).items()
        if not any(map(is_glob, globs))
    }
    if "project" in stated:
        stated["project"] = tuple({lowered for word in stated["project"] for lowered in _lowered(word)})
    for part in stated.keys() & {"region", "zone"}:
        spellings = ((word, word.lower(), word.upper(), word.capitalize()) for word in stated[part])
        stated[part] = tuple(set(chain.from_iterable(spellings)))
    return Exact(*(part in stated for part in Exact._fields)), stated


def _lowered(word: str) -> set[str]:
    """Return *word* in small letters, as PostgreSQL makes them and as SQLite does, which knows those of ASCII alone."""
    return {word.lower(), word.encode(errors="surrogatepass").lower().decode(errors="surrogatepass")}


@cache
def targets_with(exact: Exact) -> Select[*tuple[Any, ...]]:
    """Select targets; of the parts of their name the *exact* ones are parameters, `:account` to `:variant`."""
    statement: Select[*tuple[Any, ...]] = select(
        *TARGET_COLUMNS, TargetRow.id, TargetRow.account_id, TargetRow.project_name, TargetRow.baseline_run_id
    ).join(Account, Account.id == TargetRow.account_id)
    for part, column, is_exact in zip(Exact._fields, TARGET_COLUMNS, exact, strict=True):
        if is_exact:
            called: tuple[ColumnElement[str], ...] = (column,)
            if column is TargetRow.project:
                called = tuple(func.lower(one, type_=Text) for one in (column, TargetRow.project_name))
            statement = statement.where(or_(*(among(one, part) for one in called)))
    return statement


def sorted_targets(rows: Iterable[Any], filters: Filters) -> list[ChosenTarget]:
    """Return those of the targets in rows of `targets_with` that *filters* want, sorted; more columns may follow."""
    chosen: list[ChosenTarget] = []
    for row in rows:
        if filters.wants(Target(*row[:6]), row[8]):
            chosen.append(_chosen(row))
    return sorted(chosen, key=lambda choice: choice.target)


def _chosen(row: Any) -> ChosenTarget:
    return ChosenTarget(Target(*map(intern, row[:6])), row[6], row[7], row[9])


def target_pages(conn: Connection, filters: Filters, size: int) -> Iterator[list[ChosenTarget]]:
    """
    Yield the targets that *filters* want, sorted, in lists of at most *size*.

    Where nothing but accounts is stated they are read so as well: in memory is one list, however many there are.
    """
    given = filters.given(TARGET_PARTS)
    exact, parameters = exact_parts(filters)
    if given and not (exact.account and given.keys() == {"account"}):
        yield from portions(chosen_targets(conn, filters), size)
        return
    statement = _in_order(exact, "BINARY" if is_sqlite(conn) else "C")
    with conn.execute(statement, parameters, execution_options={"yield_per": size}) as result:
        for rows in result.partitions():
            yield [_chosen(row) for row in rows]


def has_variants(conn: Connection) -> bool:
    """Return whether any account ever had a variant beside `default`."""
    return conn.exec_driver_sql("SELECT 1 FROM variants WHERE name <> 'default' LIMIT 1").first() is not None


def targets_in(conn: Connection, zones: Collection[tuple[str, str, str]]) -> list[ChosenTarget]:
    """Return the targets in *zones* (account, region, zone), sorted."""
    names = {"account": sorted({zone[0] for zone in zones}), "zone": sorted({zone[2] for zone in zones})}
    exact = Exact(*(part in names for part in Exact._fields))
    with conn.execute(targets_with(exact), names, execution_options=PAGED) as rows:
        return sorted(_chosen(row) for row in rows if (row[0], row[2], row[3]) in zones)


@cache
def _in_order(exact: Exact, collation: str) -> Select[*tuple[Any, ...]]:
    """Select the same as `targets_with`, in the order in which Python sorts targets."""
    return targets_with(exact).order_by(*(collate(column, collation) for column in TARGET_COLUMNS))


def targets_by_id(conn: Connection, target_ids: Iterable[int]) -> dict[int, Target]:
    """Return the targets with these ids."""
    return {
        target_id: Target(*names)
        for portion in portions(target_ids)
        for target_id, *names in conn.execute(_targets_of(), {"targets": portion}).all()
    }


@cache
def _targets_of() -> Select[*tuple[Any, ...]]:
    columns = (TargetRow.project, TargetRow.region, TargetRow.zone, TargetRow.kind, TargetRow.variant)
    statement: Select[*tuple[Any, ...]] = select(TargetRow.id, Account.name, *columns)
    return statement.join(Account, Account.id == TargetRow.account_id).where(among(TargetRow.id, "targets"))


def with_known_names(conn: Connection, filters: Filters) -> Filters:
    """Return *filters* with the names that the history knows, where one is written with other spaces."""
    names = tuple(meant_name(conn, name, filters.kind) for name in filters.name)
    return filters if names == filters.name else replace(filters, name=names)


def meant_name(conn: Connection, wanted: str, kinds: Collection[str] = ()) -> str:
    """
    Return the name of the history that *wanted* is but for its spaces, where there is exactly one; else *wanted*.

    Only the names of *kinds* count, which are globs; none: all.
    """
    if is_glob(wanted) or not is_storable(wanted):
        return wanted
    if conn.scalar(of_kinds(conn, _named(), kinds), {"name": normalise_name(wanted)}):
        return wanted
    return known_name(wanted, conn.scalars(of_kinds(conn, select(ImageVersion.name_key).distinct(), kinds)))


def of_kinds(conn: Connection, statement: Select[*Ts], kinds: Collection[str]) -> Select[*Ts]:
    """
    Narrow a *statement* about versions to those of *kinds*, which are globs; none: all of them.

    A version knows no kind: it is of those whose targets have listed it.
    """
    wanted = _kinds_meant(conn, kinds)
    if wanted is None:
        return statement
    listed = select(Interval.id).join(TargetRow, TargetRow.id == Interval.target_id)
    return statement.where(exists(listed.where(Interval.version_id == ImageVersion.id, TargetRow.kind.in_(wanted))))


def _kinds_meant(conn: Connection, kinds: Collection[str]) -> list[str] | None:
    """Return which of the kinds of the history *kinds* mean, which are globs; None: every one."""
    if not kinds:
        return None
    known = conn.scalars(select(TargetRow.kind).distinct()).all()
    wanted = sorted(kind for kind in known if part_fits("kind", kind, kinds))
    return wanted if len(wanted) < len(known) else None


@cache
def _named() -> Select[int]:
    return select(ImageVersion.id).where(ImageVersion.name_key == bindparam("name")).limit(written(1))


def version_ids(conn: Connection, filters: Filters, *, cheaply: bool) -> list[int] | None:
    """
    Return the versions of every wanted image, and of all images of the same names (they may supersede it).

    None: there is no short list of them, so all images of a target have to be looked at. With *cheaply*, names that are
    globs are not looked up, which takes reading every version once.
    """
    names, ids = filters.name, filters.image_id
    if not (names or ids) or (cheaply and any(map(is_glob, names or ids))):
        return None
    keys, image_ids = _wanted_names(conn, filters)
    if len(keys) > MANY or len(image_ids) > MANY:
        return None
    # apart: for an OR PostgreSQL goes through the whole list for each version, which takes seconds where both are many;
    # a join reads every version, which is too much for a few
    listed = among if len(keys) + len(image_ids) <= FEW else among_too
    named = select(ImageVersion.id).where(listed(ImageVersion.name_key, "keys"))
    called = select(ImageVersion.id).where(listed(ImageVersion.image_id, "ids"))
    statement = named.union(called).limit(written(MANY + 1))
    found = conn.execute(statement, {"keys": sorted(keys), "ids": sorted(image_ids)}).scalars().all()
    return list(found) if len(found) <= MANY else None


def _wanted_names(conn: Connection, filters: Filters) -> tuple[set[str], set[str]]:
    """Return the normalised names of the wanted images, and the ids of those looked up, which may have no name."""
    names, ids = filters.name, filters.image_id
    if names and not any(map(is_glob, names)):
        return {normalise_name(name) for name in names if is_storable(name)}, set()
    every = select(ImageVersion.name_key, ImageVersion.image_id, ImageVersion.image_name).distinct()
    if any(map(is_glob, names or ids)):
        any_set = replace(filters, image_set=())
        found = [row for row in conn.execute(every) if any_set.wants_image(None, row.image_id, row.image_name)]
    else:
        exact = every.where(among(ImageVersion.image_id, "ids"))
        found = list(conn.execute(exact, {"ids": tuple(filter(is_storable, ids))}))
    return {row.name_key for row in found if row.name_key}, {row.image_id for row in found}


def images_wanted(conn: Connection, filters: Filters) -> list[str] | None:
    """Return the ids of all images that *filters* ever wanted, under any of their names; None: too many to name."""
    every = conn.execute(select(ImageVersion.image_id, ImageVersion.image_name).distinct()).all()
    any_set = replace(filters, image_set=())
    ids = {image_id for image_id, name in every if any_set.wants_image(None, image_id, name)}
    return sorted(ids) if len(ids) <= MANY else None


#: Each part of a selection and the columns that hold its values; a project is called by its id or its name.
_COLUMNS = {
    "account": (Account.name,),
    "project": (TargetRow.project, TargetRow.project_name),
    "region": (TargetRow.region,),
    "zone": (TargetRow.zone,),
    "kind": (TargetRow.kind,),
    "variant": (TargetRow.variant,),
    "image_set": (ImageVersion.image_set,),
    "name": (ImageVersion.image_name,),
    "image_id": (ImageVersion.image_id,),
}


def known_words(conn: Connection, part: str, kinds: Collection[str] = ()) -> set[str]:
    """
    Return every value that was ever recorded for *part* of a selection (`zone`, `image_id`, …).

    Of *kinds* alone, which are globs; none: of all.
    """
    statements = [select(column).distinct() for column in _COLUMNS[part]]
    if part in IMAGE_PARTS:
        statements = [of_kinds(conn, statement, kinds) for statement in statements]
    elif part not in ("account", "kind") and (wanted := _kinds_meant(conn, kinds)) is not None:
        statements = [statement.where(TargetRow.kind.in_(wanted)) for statement in statements]
    return {value for statement in statements for value in conn.scalars(statement) if value}


def zones_by_kind(conn: Connection) -> dict[str, set[str]]:
    """Return every zone that was ever asked, by the kind that was asked about there."""
    found: dict[str, set[str]] = {}
    for kind, zone in conn.execute(select(TargetRow.kind, TargetRow.zone).distinct()):
        found.setdefault(kind, set()).add(zone)
    return found


def is_anything_recorded(conn: Connection) -> bool:
    """Return whether any run that ended recorded something; sooner than `first_run_at`, which reads all runs."""
    some = select(Run.id).where(Run.finished_at.is_not(None), Run.ok + Run.held > 0).limit(written(1))
    return conn.scalar(some) is not None


def first_run_at(conn: Connection) -> datetime | None:
    """Return the end of the first run that recorded anything; None when there is none yet."""
    return conn.scalar(select(func.min(Run.finished_at)).where(Run.ok + Run.held > 0))
