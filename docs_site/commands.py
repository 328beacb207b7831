"""The page of commands, from the options that the commands themselves have."""

import re

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from self_ensemble.cli.main import app

OTHER = "Options"


def commands_page() -> str:
    """Every command with its help and options, as Markdown."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    parts = [
        "# Commands",
        "Made from the commands' own help: `self-ensemble COMMAND --help` says the same. Options "
        "may be written with underscores, too. Exit codes: 0 done, 2 something given cannot be "
        "used, 130 or 143 stopped by a signal; others stand with their command. `--debug`, "
        "anywhere in a command, shows the traceback behind a message.",
    ]
    for name, command in group.commands.items():
        assert isinstance(command, TyperCommand)
        parts += [f"## {name}", _prose(command.help or "")]
        for panel, table in _panels(command):
            parts.append(f"### {panel} {{#{name}-{_slug(panel)}}}\n\n{table}")
    return "\n\n".join(parts) + "\n"


def _panels(command: TyperCommand) -> list[tuple[str, str]]:
    rows: dict[str, list[str]] = {}
    for option in command.params:
        if isinstance(option, TyperOption) and option.hidden:
            continue
        panel = getattr(option, "rich_help_panel", None) or OTHER
        rows.setdefault(panel, []).append(_row(option, command))
    head = "| option | what it does | default |\n| --- | --- | --- |\n"
    return [(panel, head + "\n".join(lines)) for panel, lines in rows.items()]


def _row(option: object, command: TyperCommand) -> str:
    assert isinstance(option, TyperOption | TyperArgument)
    help_text = (option.help or "").replace("\\[", "[")
    names = ", ".join(f"`{one}`" for one in (*option.opts, *option.secondary_opts))
    flag = getattr(option, "is_flag", False)
    value = "" if flag else f" `{option.metavar or _kind(option, command)}`"
    given = "required" if option.required else _default(option)
    return f"| {names}{value} | {_prose(help_text)} | {given} |"


def _kind(option: TyperOption | TyperArgument, command: TyperCommand) -> str:
    shown = option.display_type(typer.Context(command))
    return shown.strip("<>[]").removeprefix("list[").upper()


def _default(option: TyperOption | TyperArgument) -> str:
    value = option.default
    if value is None or callable(value) or getattr(option, "is_flag", False):
        return ""
    return f"`{','.join(map(str, value)) if isinstance(value, list | tuple) else value}`"


def _prose(text: str) -> str:
    """Help text in a cell: no markup, no line of its own, no end of the cell."""
    line = re.sub(r"(?<![\w`-])(--[a-z][\w-]*)(?![\w`])", r"`\1`", " ".join(text.split()))
    # What is code already stays; the rest is escaped where Markdown would obey it.
    pieces = re.split(r"(`[^`]*`)", line)
    return "".join(
        one if one.startswith("`") else re.sub(r"([*_<\[\]])", r"\\\1", one) for one in pieces
    ).replace("|", "\\|")


def _slug(text: str) -> str:
    return text.lower().replace(" ", "-")
