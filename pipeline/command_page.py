"""The page docs/reference/commands.md: ``python -m pipeline.command_page > docs/reference/commands.md``."""

from __future__ import annotations

import typer
from typer.cli import get_docs_for_click

from pipeline import cli


def render() -> str:
    """All commands with their arguments and options, as Markdown, from what ``--help`` is made of."""
    cli.join_commands()
    command = typer.main.get_command(cli.app)
    context = typer.Context(command, info_name="voxelforest")
    with context:
        page = get_docs_for_click(obj=command, ctx=context, name="voxelforest", title="Commands")
    # Lines of usage are no commands to type: tests run blocks of `console`.
    return page.replace("```console", "```text").rstrip() + "\n"


if __name__ == "__main__":
    print(render(), end="")
