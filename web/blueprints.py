"""Everything that the app answers, a blueprint each; their order is that of the list at /doc."""

from __future__ import annotations

from flask import Blueprint

from web import (
    api,
    api_pages,
    client_files,
    jobs_api,
    jobs_page,
    jobs_results,
    old_routes,
    old_settings,
    page,
    route_list,
    virtual,
)

BLUEPRINTS: tuple[Blueprint, ...] = (
    old_routes.blueprint,
    old_settings.blueprint,
    api.blueprint,
    jobs_api.blueprint,
    api_pages.blueprint,
    virtual.blueprint,
    page.blueprint,
    jobs_page.blueprint,
    jobs_results.blueprint,
    client_files.blueprint,
    route_list.blueprint,
)
