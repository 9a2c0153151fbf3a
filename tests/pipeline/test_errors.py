"""What every message is, whatever was given."""

from __future__ import annotations

import pickle

from pipeline.errors import PipelineError, VolumeError, one_line, printable


def test_a_line_has_no_breaks_and_nothing_that_a_terminal_obeys() -> None:
    assert one_line("a\r\n b\t\x07c") == "a b \N{REPLACEMENT CHARACTER}c"
    assert printable("σ × µm") == "σ × µm"


def test_a_message_is_one_line_that_ends_whatever_it_repeats() -> None:
    assert VolumeError("v.zarr:  two\tblanks").message == "v.zarr: two blanks"
    assert str(VolumeError("a\nb\x1b[2J", "code")) == "a b\N{REPLACEMENT CHARACTER}[2J [code]"
    long = VolumeError("no axis " + "x" * 10_000 + "; write one of zyx")
    assert len(long.message) < 2000
    assert long.message.startswith("no axis xx")
    assert long.message.endswith("xx; write one of zyx")
    again = pickle.loads(pickle.dumps(long))
    assert isinstance(again, PipelineError)
    assert again.message == long.message
