"""Records do what a dataclass of the same fields does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, ClassVar

import pytest

from freezelint.records import REQUIRED, asdict, field, fields, record, replace


@record(frozen=True, order=True)
class Point:
    """A frozen one."""

    NAMES: ClassVar[tuple[str, ...]] = ("x", "y")
    x: int
    y: int = 0

    @property
    def far(self) -> int:
        return self.x + self.y


@record
class Row:
    place: Point
    words: list[str] = field(default_factory=list)


@record
class Named(Row):
    name: str = ""


@record(eq=False)
class Thing:
    name: str


@dataclasses.dataclass(frozen=True, order=True)
class Like:
    x: int
    y: int = 0


def test_fields_defaults_and_errors() -> None:
    assert (Point(1).x, Point(1).y, Point(1, y=2).far) == (1, 0, 3)
    assert list(fields(Named)) == ["place", "words", "name"]
    assert fields(Point)["x"] is REQUIRED
    assert Point.NAMES == ("x", "y")
    wrong: list[dict[str, Any]] = [{}, {"x": 1, "z": 2}]
    for given in wrong:
        with pytest.raises(TypeError):
            Point(**given)
    with pytest.raises(AttributeError):
        Row(Point(1)).other = 1  # type: ignore[attr-defined]


def test_a_default_made_anew_is_nobody_elses() -> None:
    first, second = Row(Point(1)), Row(Point(1))
    first.words.append("a")
    assert second.words == []
    assert Row(Point(1), ["b"]).words == ["b"]


def test_a_default_that_all_would_share_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Bad\.rows"):

        @record
        class Bad:
            rows: list[str] = []  # noqa: RUF012


def test_equality_hash_and_order_are_those_of_the_fields() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(2, 1)
    assert Point(1, 2) != Like(1, 2)
    assert {Point(1, 2), Point(1, 2)} == {Point(1, 2)}
    assert sorted([Point(2), Point(1, 9), Point(1)]) == [Point(1), Point(1, 9), Point(2)]
    assert Row(Point(1)) == Row(Point(1))
    with pytest.raises(TypeError):
        hash(Row(Point(1)))
    assert len({Thing("a"), Thing("a")}) == 2


def test_one_like_it_and_as_a_dict() -> None:
    assert replace(Point(1, 2), y=3) == Point(1, 3)
    assert asdict(Row(Point(1), ["a"])) == {"place": {"x": 1, "y": 0}, "words": ["a"]}
    assert repr(Point(1)) == repr(Like(1)).replace("Like", "Point") == "Point(x=1, y=0)"


def test_copies_and_pickles() -> None:
    row = Named(Point(1), ["a"], "n")
    for other in (copy.deepcopy(row), pickle.loads(pickle.dumps(row))):
        assert asdict(other) == asdict(row)
        assert other.words is not row.words
