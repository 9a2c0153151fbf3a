from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import PlanError
from pipeline.plan import value_range
from pipeline.project import open_project
from pipeline.results import OUTPUTS, STORED_TYPES, Result, choose_results
from tests.oracles import GOLDEN

STAGES = open_project(GOLDEN / "projects" / "ac_2d.ilp").stages


def choose(outputs: Any, stored_type: str = "float32", stages: Any = STAGES) -> tuple[Result, ...]:
    return choose_results(outputs, stored_type, stages, 1, 1)


def test_results_come_in_the_order_asked_for() -> None:
    results = choose(["features", "uncertainty", "probabilities", "segmentation"])
    assert [result.name for result in results] == ["features", "uncertainty", "probabilities", "segmentation"]
    assert [result.dtype for result in results] == ["float32", "float32", "float32", "uint8"]


def test_results_are_those_of_the_last_stage() -> None:
    assert choose(["probabilities"])[0].channels == STAGES[1].class_names
    assert choose(["probabilities"], stages=STAGES[:1])[0].channels == STAGES[0].class_names
    (features,) = choose(["features"])
    assert features.channels == STAGES[1].features.names(1 + len(STAGES[0].class_names), 1)
    assert len(features.channels) == STAGES[1].forest.n_columns


def test_stored_type_is_for_values_from_0_to_1() -> None:
    results = {r.name: r.dtype for r in choose(OUTPUTS, "uint16")}
    assert results == {
        "probabilities": "uint16", "segmentation": "uint8", "uncertainty": "uint16", "features": "float32",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("outputs", "stored_type", "code"),
    [
        ([], "float32", "output"),
        (["labels"], "float32", "output"),
        (["probabilities", "probabilities"], "float32", "output"),
        (["probabilities"], "int8", "dtype"),
        (["segmentation"], "uint16", "dtype"),
        (["features"], "uint8", "dtype"),
    ],
)
def test_other_requests_are_refused(outputs: list[str], stored_type: str, code: str) -> None:
    with pytest.raises(PlanError) as caught:
        choose(outputs, stored_type)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("probabilities", "float32", (0, 1)),
        ("probabilities", "uint8", (0, 255)),
        ("uncertainty", "uint16", (0, 65535)),
        ("segmentation", "uint8", None),
        ("features", "float32", None),
    ],
)
def test_value_range_is_that_of_the_stored_type(name: str, dtype: str, expected: Any) -> None:
    assert value_range(Result(name, (), dtype)) == expected


def test_bytes_of_a_voxel_count_all_channels() -> None:
    assert [Result("x", channels, "uint16").voxel_bytes for channels in ((), ("a",), ("a", "b", "c"))] == [2, 2, 6]
    assert STORED_TYPES[0] == "float32"
