"""An output in a bucket of S3, where nothing can be renamed: what makes it an image is put last.

The record and all documents of ``s3://bucket/out.zarr`` lie under ``out.partial.zarr/`` until the end. A chunk is put
once, under its final key below ``out.zarr/``; without documents beside it, it is no array to anybody. At the end the
arrays' documents are put there, then the root's, then ``out.partial.zarr/`` is deleted. Killed at any point in between,
`out.partial.zarr` still says that the output is incomplete, or the output is whole and the rest is swept by a resume.

An output that is to replace a finished one keeps its chunks under ``out.partial.zarr/``, too. At the end the old
root's documents are deleted, then all else of the old output, and S3 copies the chunks.

Buckets know no locks: two runs at once into one output are not kept apart. With equal digests they do no harm, since
both put the same bytes.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from pipeline.bucket import Bucket, bucket
from pipeline.durability import ZARR_DOCUMENTS
from pipeline.errors import StoreError
from pipeline.local_output import record_in

Record = Mapping[str, Any]
LAST = ("zarr.json", ".zattrs", ".zarray")  # of the root of an image or an array, as version 3 or 2 has it
ASKED_ONE_BY_ONE = 64  # chunks; of more, the whole array is listed, which is a request for each thousand

_found: dict[BucketOutput, frozenset[str]] = {}  # what was there when this process claimed an output


@dataclass(frozen=True)
class BucketOutput:
    """An output under a key; its methods are those of `pipeline.output.Output`.

    Parameters
    ----------
    bucket : str
        Name of the bucket.
    key : str
        Ends in ``.zarr``.
    staged : bool
        Whether chunks wait beside the documents, because a finished output is to be replaced.
    """

    bucket: str
    key: str
    staged: bool = False

    @property
    def target(self) -> str:
        """URL of the finished output."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def partial(self) -> str:
        """URL of the documents on the way."""
        return f"s3://{self.bucket}/{self.partial_key}"

    @property
    def partial_key(self) -> str:
        """Key of the documents on the way."""
        return f"{self.key.removesuffix('.zarr')}.partial.zarr"

    @property
    def chunks_key(self) -> str:
        """Key that the chunks are put under."""
        return self.partial_key if self.staged else self.key

    @property
    def name(self) -> str:
        """Its last part."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def single(self) -> bool:
        """Never one file."""
        return False

    @property
    def free_bytes(self) -> int | None:
        """A bucket has no end."""
        return None

    def made_by(self, record: Record) -> BucketOutput:
        """The output of a run with this record, which says where its chunks go."""
        return replace(self, staged=bool(record.get("replaces")))

    def exists(self) -> bool:
        """Whether something lies at the target: an image, or objects that are not those of a run on its way."""
        left = self.partial_record()
        on_its_way = left is not None and not left.get("replaces")
        return self._is_image() if on_its_way else self._bucket.holds(f"{self.key}/")

    def is_begun(self) -> bool:
        """Whether there is a partial output."""
        return self._bucket.holds(f"{self.partial_key}/")

    def finished_record(self) -> Record | None:
        """The record of what lies at the target."""
        return self._record(self.key)

    def partial_record(self) -> Record | None:
        """The record of the partial output."""
        return self._record(self.partial_key)

    def restore(self) -> None:
        """Nothing is ever set aside."""

    def check_replaceable(self) -> None:
        """Refuse to remove what is no output."""
        if self.partial_record() is not None or any(self._bucket.has([f"{self.key}/{n}" for n in ZARR_DOCUMENTS])):
            return
        for key in (self.key, self.partial_key):
            if self._bucket.holds(f"{key}/"):
                text = "is not an output (it has no document of Zarr), it will not be overwritten"
                raise StoreError(f"s3://{self.bucket}/{key} {text}")

    def discard(self) -> None:
        """Remove the partial output, whole or in part; what is finished stays."""
        if not self._is_image() and self.partial_record() is not None:
            self._remove(self.key)
        self._remove(self.partial_key)

    def drop_empty(self) -> None:
        """There are no folders, hence no empty ones."""

    def claim(self) -> None:
        """Look which chunks are there: to ask for each takes as long as writing it.

        There are no locks, and nothing to sweep: an upload that was cut off leaves no object.
        """
        _found[self] = frozenset(self._bucket.keys(f"{self.chunks_key}/"))

    def release(self) -> None:
        """Forget which chunks were there."""
        _found.pop(self, None)

    def zarr_store(self) -> PartialStore:
        """The store of the partial output: documents here, chunks there."""
        return PartialStore(self)

    def has(self, key: str) -> bool:
        """Whether the partial output has a document or a chunk."""
        return self._bucket.has([self.place(key)])[0]

    def missing(self, folder: str, keys: Iterable[str]) -> Iterator[str]:
        """Those of the chunks of an array that are not there."""
        found = _found.get(self, frozenset())
        wanted = (key for key in keys if self.place(f"{folder}/{key}") not in found)
        few = list(islice(wanted, ASKED_ONE_BY_ONE))
        there = self._bucket.has([self.place(f"{folder}/{key}") for key in few])
        yield from (key for key, is_there in zip(few, there, strict=True) if not is_there)
        known: set[str] | None = None
        for key in wanted:
            if known is None:
                known = set(self._bucket.keys(f"{self.chunks_key}/{folder}/"))
            if self.place(f"{folder}/{key}") not in known:
                yield key

    def remove_folder(self, folder: str) -> None:
        """Remove all below a key of the partial output, documents and chunks."""
        for key in dict.fromkeys((self.partial_key, self.chunks_key)):
            self._bucket.delete(self._bucket.keys(f"{key}/{folder}/"))

    def publish(self) -> None:
        """Make the target an image: chunks first, the root's documents last."""
        if self.staged:
            self._remove(self.key)
        theirs = self._bucket.keys(f"{self.partial_key}/")
        pairs = [(key, self.key + key.removeprefix(self.partial_key)) for key in theirs]
        ranks = [_rank(key.removeprefix(f"{self.key}/")) for _, key in pairs]
        for now in sorted(set(ranks)):
            self._bucket.copy([pair for pair, rank in zip(pairs, ranks, strict=True) if rank == now])
        self._remove(self.partial_key)

    def place(self, key: str) -> str:
        """The object of a key of the partial output's store."""
        return f"{self.partial_key if is_document(key) else self.chunks_key}/{key}"

    @property
    def _bucket(self) -> Bucket:
        return bucket(self.bucket)

    def _is_image(self) -> bool:
        """Whether the document that is put last is there."""
        return any(self._bucket.has([f"{self.key}/{name}" for name in LAST]))

    def _record(self, key: str) -> Record | None:
        return record_in({name: self._bucket.get(f"{key}/{name}") for name in ("zarr.json", ".zattrs")})

    def _remove(self, key: str) -> None:
        """Delete all below a key: of a finished output the root's documents first, of a partial one last."""
        found = self._bucket.keys(f"{key}/")
        root = [name for name in found if name.removeprefix(f"{key}/") in ZARR_DOCUMENTS]
        rest = [name for name in found if name not in root]
        for part in (root, rest) if key == self.key else (rest, root):
            self._bucket.delete(part)


def is_document(key: str) -> bool:
    """Whether a key of a Zarr store is a document, else a chunk."""
    return key.rsplit("/", 1)[-1] in ZARR_DOCUMENTS


def _rank(key: str) -> int:
    """When a key is put at the target: chunks, then documents, then those of the root, the one that counts last."""
    if not is_document(key):
        return 0
    return 1 if "/" in key else 3 if key in LAST else 2


class PartialStore(Store):
    """A zarr store over the objects of a partial output.

    Parameters
    ----------
    output : BucketOutput
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = False

    def __init__(self, output: BucketOutput) -> None:
        super().__init__(read_only=False)
        self.output = output

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartialStore) and self.output == other.output

    def __hash__(self) -> int:
        return hash(self.output)

    @property
    def _bucket(self) -> Bucket:
        return bucket(self.output.bucket)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object, or a part of it."""
        data = await self._bucket.get_async(self.output.place(key), **_range(byte_range))
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> builtins.list[Buffer | None]:
        """Read parts of objects."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is an object."""
        return await self._bucket.has_async(self.output.place(key))

    async def set(self, key: str, value: Buffer) -> None:
        """Put an object."""
        self._check_writable()
        await self._bucket.put_async(self.output.place(key), value.to_bytes())

    async def delete(self, key: str) -> None:
        """Delete an object."""
        self._check_writable()
        await self._bucket.delete_async(self.output.place(key))

    def list(self) -> AsyncIterator[str]:
        """Not offered; nor are the other listings."""
        raise OSError(f"{self.output.partial} is not listed")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Not offered."""
        return self.list()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Not offered."""
        return self.list()


def _range(wanted: ByteRequest | None) -> dict[str, int]:
    """What to ask the bucket for."""
    if isinstance(wanted, RangeByteRequest):
        return {"start": wanted.start, "end": wanted.end}
    if isinstance(wanted, OffsetByteRequest):
        return {"start": wanted.offset}
    return {"start": -wanted.suffix} if isinstance(wanted, SuffixByteRequest) else {}
