"""Which thresholding settings a command means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import PipelineError, PlanError, ProjectError
from pipeline.project import Project, open_project
from pipeline.threshold_options import ThresholdOptions, choose_thresholding, parse_sigma
from pipeline.thresholding import Thresholding

NAMES = ("Cell", "Gap", "1")


def choose(options: ThresholdOptions, project: Project | None = None) -> tuple[Thresholding, str]:
    return choose_thresholding(options, project, dims="zyx", names=NAMES, n_channels=3)


@pytest.fixture
def project(golden_dir: Path) -> Project:
    return open_project(golden_dir / "projects" / "pc_3d.ilp")


def test_nothing_asked_is_ilastiks_applet() -> None:
    chosen, said = choose(ThresholdOptions())
    assert chosen == Thresholding()
    assert said.endswith("'Cell' (ilastik's defaults)")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ThresholdOptions(threshold=0.3), Thresholding(low=0.3)),
        (ThresholdOptions(low=0.3), Thresholding(low=0.3)),
        (ThresholdOptions(high=0.9), Thresholding("hysteresis", high=0.9)),
        (ThresholdOptions(channel="Gap", high=0.9), Thresholding("hysteresis", 1, 1, high=0.9)),
        (ThresholdOptions(channel="1"), Thresholding(channel=2, core_channel=2)),  # a name wins
        (ThresholdOptions(channel="Gap", core_channel="Cell"), Thresholding("hysteresis", 1, 0)),
        (ThresholdOptions(method="hysteresis"), Thresholding("hysteresis")),
        (
            ThresholdOptions(sigma="2,1,0.5", min_size=0, max_size=9),
            Thresholding(sigma_zyx=(2, 1, 0.5), min_size=0, max_size=9),
        ),
    ],
)
def test_options_change_the_defaults(options: ThresholdOptions, expected: Thresholding) -> None:
    chosen, said = choose(options)
    assert chosen == expected
    assert said.endswith("(ilastik's defaults, changed as asked)")


def test_settings_of_the_project_are_the_defaults(project: Project) -> None:
    saved = replace(project, thresholding=Thresholding("hysteresis", 1, 0, 0.3, 0.6, min_size=5))
    chosen, said = choose(ThresholdOptions(), saved)
    assert chosen == saved.thresholding
    assert said.endswith("'Gap' (saved in the project)")
    chosen, said = choose(ThresholdOptions(threshold=0.7), saved)
    assert chosen == Thresholding("simple", 1, 1, 0.7, 0.6, min_size=5)
    assert said.endswith("(saved in the project, changed as asked)")


def test_settings_of_the_project_that_cannot_be_used_matter_where_they_are_needed(project: Project) -> None:
    bad = replace(project, thresholding=ProjectError("uses graph cut", code="bad_threshold"))
    with pytest.raises(ProjectError, match="uses graph cut; choose settings with --threshold"):
        choose(ThresholdOptions(), bad)
    assert choose(ThresholdOptions(threshold=0.4), bad)[0] == Thresholding(low=0.4)


@pytest.mark.parametrize(
    "options",
    [
        ThresholdOptions(threshold=0.5, low=0.2),
        ThresholdOptions(threshold=0.5, method="hysteresis"),
        ThresholdOptions(high=0.5, method="simple"),
        ThresholdOptions(core_channel="Gap", threshold=0.5),
        ThresholdOptions(channel="Nucleus"),
        ThresholdOptions(sigma="a"),
        ThresholdOptions(low=float("nan")),
    ],
)
def test_contradictions_are_refused(options: ThresholdOptions) -> None:
    with pytest.raises(PlanError):
        choose(options)


def test_channel_that_the_project_saved_must_be_there(project: Project) -> None:
    with pytest.raises(PipelineError, match="there are: 0 Cell"):
        choose(ThresholdOptions(), replace(project, thresholding=Thresholding(channel=7)))


def test_sigma_of_two_dimensions() -> None:
    assert parse_sigma("0", "yx") == (0, 0, 0)
    with pytest.raises(PlanError, match="as y,x"):
        parse_sigma("1,1,1", "tyx")
