"""Everything that the app answers, a blueprint each; their order is that of the list at /doc."""

from __future__ import annotations

from flask import Blueprint

BLUEPRINTS: tuple[Blueprint, ...] = ()
