"""The settings table: parsing, refusals, and the page written from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import Settings, settings, settings_page
from pipeline.errors import PlanError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_defaults_hold_without_variables() -> None:
    assert settings().task_memory == 256 << 20
    assert settings().ilp_elements == 200_000_000


@pytest.mark.parametrize(("text", "size"), [("900MiB", 900 << 20), ("1.5GB", 1_500_000_000), ("2097152", 1 << 21)])
def test_sizes_take_units(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("VOXELFOREST_TASK_MEMORY", text)
    assert settings().task_memory == size


@pytest.mark.parametrize("text", ["lots", "-1", "0"])
def test_unusable_value_names_the_variable(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("VOXELFOREST_HANDLE_CACHE", text)
    with pytest.raises(PlanError, match=f"VOXELFOREST_HANDLE_CACHE={text} ") as caught:
        settings()
    assert caught.value.code == "setting"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("JOB_PARAMETERS", "{", "it is to be JSON"), ("CHUNK_CACHE", "9" * 400 + ".5", "no size has so many digits")],
)
def test_what_is_no_value_at_all_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: str
) -> None:
    monkeypatch.setenv(f"VOXELFOREST_{name}", text)
    with pytest.raises(PlanError, match=f"VOXELFOREST_{name} is not usable: {words}"):
        settings()


def test_secret_that_is_too_short_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_SECRET_KEY", "hush")
    with pytest.raises(PlanError, match="VOXELFOREST_SECRET_KEY is not usable") as caught:
        settings()
    assert "hush" not in caught.value.message


@pytest.mark.parametrize("text", ["lab.example", "ftp://lab.example", "https://user@lab.example", "https://lab?x=1"])
def test_public_url_is_one(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("VOXELFOREST_PUBLIC_URL", text)
    with pytest.raises(PlanError, match="VOXELFOREST_PUBLIC_URL="):
        settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LINK_DAYS", "0"),
        ("EVENT_STREAMS", "-1"),
        ("SMTP_PORT", "0"),
        ("SMTP_PORT", "65536"),
        ("SMTP_TLS", "ssl"),
        ("SMTP_SECONDS", "0"),
        ("MAIL_DAYS", "-1"),
    ],
)
def test_settings_of_mail_and_links_are_bounded(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"VOXELFOREST_{name}", text)
    with pytest.raises(PlanError, match=f"VOXELFOREST_{name}={text} "):
        settings()


def test_settings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings()
    monkeypatch.setenv("VOXELFOREST_CHUNK_VOXELS", "7")
    assert settings() is before


def test_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "run: python -m pipeline.config > " + str(PAGE)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_has_unit_and_meaning(name: str) -> None:
    field = Settings.model_fields[name]
    assert isinstance(field.json_schema_extra, dict)
    assert field.json_schema_extra["unit"]
    assert field.description
    assert field.description.endswith(".")
