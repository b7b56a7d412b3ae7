"""`crawler completion`: the script that lets a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from crawler.cli.options import OneOf

_WHERE = {
    "bash": 'eval "$(crawler completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(crawler completion zsh)" in ~/.zshrc',
    "fish": "crawler completion fish > ~/.config/fish/completions/crawler.fish",
}


@click.command(epilog="\b\nInstall:\n" + "\n".join(f"  {line}" for line in _WHERE.values()))
@click.argument("shell", type=OneOf(list(_WHERE)))
def completion(shell: str) -> None:
    """Print the completion script of SHELL."""
    found = get_completion_class(shell)
    if found is None:  # pragma: no cover - click brings all three
        raise click.UsageError(f"no completion for {shell}")
    from crawler.cli.app import cli
    from crawler.cli.output import write_out

    complete = found(cli, {}, "crawler", "_CRAWLER_COMPLETE")
    # The template alone: `source()` would start the shell to look at its version.
    write_out([complete.source_template % complete.source_vars(), "\n"])
