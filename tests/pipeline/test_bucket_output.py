"""Outputs in a bucket, on moto's server: whole or not there, with the same states as in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from pipeline.errors import StoreError, VolumeError, WriteError
from pipeline.formats import open_source, retry
from pipeline.output import read_record
from pipeline.store import Store
from tests.outputs import begin, contents, make_spec, make_values, whole_levels, write_all, write_level_0
from tests.pipeline.formats.contract import read_whole
from tests.pipeline.formats.servers import Faults
from tests.pipeline.test_output import CASES

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

from pipeline.bucket import Bucket, bucket
from tests.pipeline.formats.servers import volumes_bucket

SPEC = make_spec((2, 20, 18), "cyx")
VALUES = {"probabilities": make_values(SPEC)}
URL: Any = "s3://volumes/a/out.zarr"


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def server() -> Iterator[Faults]:
    with volumes_bucket() as faults:
        yield faults


@pytest.fixture(autouse=True)
def faults(server: Faults, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """An empty bucket, and the faults of its server."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    yield server
    server.every = 0
    bucket("volumes").delete(bucket("volumes").keys(""))


def objects(prefix: str = "a/out.zarr/") -> dict[str, bytes | None]:
    """Everything below a prefix."""
    found = bucket("volumes")
    return {key.removeprefix(prefix): found.get(key) for key in found.keys(prefix)}


def make_finished(digest: str = "d1") -> None:
    write_all(begin(URL, SPEC, digest=digest), VALUES)


def make_partial(digest: str = "d1") -> None:
    store = begin(URL, SPEC, digest=digest)
    store.write("probabilities", (0, 0, 0), VALUES["probabilities"][:, :16, :16])
    store.close()


STATES: dict[str, Any] = {
    "nothing": lambda: None,
    "finished": make_finished,
    "finished other": lambda: make_finished("d2"),
    "partial": make_partial,
    "partial other": lambda: make_partial("d2"),
    "foreign folder": lambda: bucket("volumes").put("a/out.zarr/thesis.tex", b"mine"),
}


@pytest.mark.parametrize(
    ("state", "mode", "outcome"), [case for case in CASES if case[0] in STATES], ids=lambda part: str(part)[:9]
)
def test_what_exists_decides_with_the_mode(state: str, mode: Any, outcome: str) -> None:
    STATES[state]()
    before = objects("")
    if outcome not in ("begin", "continue", "finished"):
        with pytest.raises(StoreError) as caught:
            begin(URL, SPEC, mode=mode)
        assert outcome in str(caught.value)
        assert objects("") == before
        return
    store = begin(URL, SPEC, mode=mode)
    assert store.finished == (outcome == "finished")
    if not store.finished:
        assert store.is_written("probabilities", (0, 0, 0), (2, 16, 16)) == (outcome == "continue")
        write_all(store, VALUES)
    assert read_record(URL)["complete"] is True  # type: ignore[index]
    assert not objects("a/out.partial.zarr")


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_output_is_that_of_a_folder_and_others_read_it(tmp_path: Path, version: Any) -> None:
    import tensorstore

    local = write_all(begin(tmp_path / "out.zarr", SPEC, version=version), VALUES)
    write_all(begin(URL, SPEC, version=version), VALUES)
    assert objects() == contents(local)
    group = zarr.open_group(URL, mode="r")
    driver = {"0.5": "zarr3", "0.4": "zarr"}[version]
    for level, expected in enumerate(whole_levels(SPEC, VALUES["probabilities"])):
        np.testing.assert_array_equal(np.asarray(group[str(level)][...]), expected)  # type: ignore[index]
        np.testing.assert_array_equal(read_whole(open_source(URL, level=level)), expected)
        place = {"driver": "s3", "bucket": "volumes", "path": f"a/out.zarr/{level}/", **_server()}
        array = tensorstore.open({"driver": driver, "kvstore": place}, read=True).result()
        np.testing.assert_array_equal(np.asarray(array.read().result()), expected)


def _server() -> dict[str, str]:
    import os

    return {"endpoint": os.environ["AWS_ENDPOINT_URL"], "aws_region": "us-east-1"}


def test_several_images_and_shards(tmp_path: Path) -> None:
    specs = [
        make_spec(shards=(2, 16, 32, 32)),
        make_spec((20, 35, 33), "zyx", name="segmentation", dtype="uint8", reduce="stride"),
    ]
    values = {spec.name: make_values(spec) for spec in specs}
    write_all(begin(tmp_path / "out.zarr", *specs), values)
    write_all(begin(URL, *specs), values)
    assert objects() == contents(tmp_path / "out.zarr")


def test_half_an_output_is_no_image() -> None:
    store = begin(URL, SPEC)
    write_level_0(store, "probabilities", VALUES["probabilities"])
    for path in ("", "0"):
        with pytest.raises((FileNotFoundError, zarr.errors.GroupNotFoundError, zarr.errors.ArrayNotFoundError)):
            zarr.open(URL, path=path, mode="r")
    assert not [key for key in objects() if key.endswith((".json", ".zarray", ".zgroup"))]
    attributes = zarr.open_group("s3://volumes/a/out.partial.zarr", mode="r").attrs.asdict()
    assert attributes["voxelforest"]["complete"] is False  # type: ignore[index, call-overload]
    with pytest.raises(WriteError, match="level 1 of image probabilities lacks"):
        store.finish()


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("replacing", [False, True])
def test_killed_while_it_is_published_it_is_whole_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacing: bool, version: Any
) -> None:
    """The end is cut off after each of its requests in turn; a resume ends it, to the same values."""
    spec = make_spec((17, 16), "yx")
    values, old = make_values(spec), make_values(spec, 7)
    whole = contents(write_all(begin(tmp_path / "out.zarr", spec, version=version), {"probabilities": values}))
    for allowed in range(0, 60, 3 if replacing else 1):
        if replacing:
            write_all(begin(URL, spec, version=version, digest="d2"), {"probabilities": old})
        store = begin(URL, spec, version=version, mode="overwrite" if replacing else "new")
        prepare(store, values)
        if not cut_off_after(monkeypatch, allowed, store):
            assert objects().keys() == whole.keys()
            break
        assert_old_or_new_or_none(old, values)
        resumed = begin(URL, spec, version=version, mode="resume")
        if not resumed.finished:
            resumed.finish()
        assert not objects("a/out.partial.zarr")
        np.testing.assert_array_equal(read_whole(open_source(URL)), values)
        bucket("volumes").delete(bucket("volumes").keys(""))
    else:
        pytest.fail("the end takes more requests than were allowed")


def prepare(store: Store, values: NDArray[Any]) -> None:
    """Write all but the end."""
    write_level_0(store, "probabilities", values)
    for level in store.level_blocks("probabilities"):
        for block in level:
            store.build_level_block("probabilities", *block)


def cut_off_after(monkeypatch: pytest.MonkeyPatch, allowed: int, store: Store) -> bool:
    """Finish an output, with the process gone after so many changes to the bucket; whether it came to that."""
    call, left = Bucket._call, iter(range(allowed))

    async def call_or_die(self: Bucket, method: str, key: str, **options: Any) -> Any:
        if method in ("copy_object", "delete_objects") and next(left, None) is None:
            raise Killed
        return await call(self, method, key, **options)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.bucket.AT_ONCE", 1)
        patch.setattr(Bucket, "_call", call_or_die)
        try:
            store.finish()
        except Killed:
            return True
        finally:
            store.close()
    return False


def assert_old_or_new_or_none(old: NDArray[Any], new: NDArray[Any]) -> None:
    """What a reader makes of the target: the old output, the new one, or an error."""
    try:
        found = read_whole(open_source(URL))
    except VolumeError:
        return
    assert np.array_equal(found, new) or np.array_equal(found, old)


def test_old_output_stays_whole_until_it_is_replaced() -> None:
    make_finished("d2")
    before = objects()
    store = begin(URL, SPEC, mode="overwrite")
    write_level_0(store, "probabilities", VALUES["probabilities"])
    assert objects() == before
    store.close()
    write_all(begin(URL, SPEC, mode="resume"), VALUES)
    assert read_record(URL)["digest"] == "d1"  # type: ignore[index]


def test_output_given_up_leaves_what_was_there() -> None:
    begin(URL, SPEC).abandon()
    assert objects("") == {}
    make_finished("d2")
    before = objects("")
    begin(URL, SPEC, mode="overwrite").abandon()
    assert objects("") == before


def test_calls_that_fail_now_and_then_leave_nothing_torn(faults: Faults) -> None:
    spec = make_spec()
    values = {"probabilities": make_values(spec)}
    faults.every, faults.seen["failed"] = 20, 0
    write_all(begin(URL, spec), values)
    assert faults.seen["failed"] >= 3
    faults.every = 0
    np.testing.assert_array_equal(read_whole(open_source(URL)), values["probabilities"])


def test_server_that_always_fails_is_one_line(faults: Faults) -> None:
    store = begin(URL, SPEC)
    faults.every = 1
    with pytest.raises(WriteError, match=r"cannot write s3://volumes/a/out.partial.zarr: .*--resume goes on") as caught:
        store.write("probabilities", (0, 0, 0), VALUES["probabilities"][:, :16, :16])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://nowhere/out.zarr", "there is no bucket 'nowhere'"),
        ("s3://volumes/denied/out.zarr", "access is denied; check the credentials"),
    ],
)
def test_what_cannot_be_written_is_told_before_any_work(url: Any, words: str) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        begin(url, SPEC)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_missing_chunks_of_many_are_found_by_listing() -> None:
    spec = make_spec((2, 130, 130), "cyx")  # 81 chunks
    store = begin(URL, spec)
    store.write("probabilities", (0, 0, 0), make_values(spec)[:, :, :128])
    for x in (0, 128):
        assert store.is_written("probabilities", (0, 0, x), (2, 130, x + 2)) is (x == 0)
    assert len(list(store.output.missing("0", [f"c/0/{y}/{x}" for y in range(9) for x in range(9)]))) == 9


def test_name_taken_meanwhile_is_not_overwritten() -> None:
    store = begin(URL, SPEC)
    prepare(store, VALUES["probabilities"])
    bucket("volumes").put("a/out.zarr/zarr.json", b"{}")
    with pytest.raises(StoreError, match="has appeared meanwhile"):
        store.finish()
    assert objects()["zarr.json"] == b"{}"
