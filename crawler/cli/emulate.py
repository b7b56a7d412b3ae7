"""`crawler emulate`: serve an emulated cloud until Ctrl-C, and say how to point a client at it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crawler.cli.options import Number, WholeNumber
from crawler.domain.text import counted
from crawler.emulator import (
    BUILTIN,
    EmulatedAccount,
    EmulatorOptions,
    EmulatorServer,
    demo_path,
    load_timeline,
)
from crawler.errors import UsageError

if TYPE_CHECKING:
    from crawler.emulator import Timeline


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=WholeNumber(0, 65535), default=8484, show_default=True, help="0 takes a free port.")
@click.option(
    "--timeline",
    "source",
    metavar="FILE|NAME",
    default="demo",
    show_default=True,
    help=f"What the cloud shows: a JSON file, or one of {', '.join(BUILTIN)}.",
)
@click.option(
    "--public-key",
    envvar="UCLOUD_PUBLIC_KEY",
    help="The public half of the key pair that opens the cloud [env: UCLOUD_PUBLIC_KEY; default: the timeline's].",
)
@click.option(
    "--private-key",
    envvar="UCLOUD_PRIVATE_KEY",
    help="Its private half [env: UCLOUD_PRIVATE_KEY; default: the timeline's].",
)
@click.option(
    "--rate", type=Number(min=0, min_open=True), help="Requests per second; more get RetCode 153 [default: no limit]."
)
@click.option(
    "--latency-ms", type=Number(min=0), default=0, show_default=True, help="Milliseconds that every answer takes."
)
@click.option(
    "--step-every",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="Go to the next step this often, from the first signed request on; without it the cloud stays at --step.",
)
@click.option("--step", type=WholeNumber(min=1), default=1, show_default=True, help="Step to start at.")
@click.option(
    "--write-example",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the demo's timeline to this file, to start your own from, and end.",
)
def emulate(
    host: str,
    port: int,
    source: str,
    public_key: str | None,
    private_key: str | None,
    rate: float | None,
    latency_ms: float,
    step_every: float | None,
    step: int,
    write_example: Path | None,
) -> None:
    """Serve an emulated cloud until Ctrl-C, to try a configuration or a client against it."""
    if write_example is not None:
        _write_example(write_example)
        return
    timeline = _timeline(source)
    if step > len(timeline.worlds):
        raise UsageError(f"--step {step}: the timeline has {counted(len(timeline.worlds), 'step')}")
    accounts: tuple[EmulatedAccount, ...] = ()
    if public_key and private_key:
        accounts = (EmulatedAccount(public_key=public_key, private_key=private_key),)
    elif public_key or private_key:
        lacking = "private" if public_key else "public"
        raise UsageError(
            f"One half of a key pair is missing: give --{lacking}-key or UCLOUD_{lacking.upper()}_KEY as well, or "
            "neither half for the timeline's own pair."
        )
    options = EmulatorOptions(host=host, port=port, accounts=accounts, rate=rate, latency_ms=latency_ms, keep_log=False)
    server = EmulatorServer(timeline, options)
    server.step = step
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(server, step_every))
    click.echo("The emulated cloud is gone.", err=True)


async def _serve(server: EmulatorServer, step_every: float | None) -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # signal handlers do not exist on Windows
        loop.add_signal_handler(signal.SIGTERM, end.set)
        loop.add_signal_handler(signal.SIGINT, end.set)
    try:
        await server.__aenter__()
    except OSError as exc:
        place = f"{server.options.host}:{server.options.port}"
        raise UsageError(f"cannot listen on {place}: {exc.strerror or exc}; --port 0 takes a free port") from exc
    try:
        _introduce(server)
        if step_every is not None:  # the story's time begins with the first who watches it
            await _either(end, server.was_asked)
        while not end.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(end.wait(), step_every)
                break
            before = server.step
            if server.advance() != before:
                click.echo(_position(server), err=True)
    finally:
        await server.__aexit__(None, None, None)


async def _either(*events: asyncio.Event) -> None:
    """Wait until one of *events* is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()


def _introduce(server: EmulatorServer) -> None:
    account = server.accounts[0]
    lines = [f"Emulated cloud at {server.url}", _position(server), f"  export UCLOUD_BASE_URL={server.url}"]
    if server.options.accounts:
        lines.append("  with the key pair that was given on the command line or by the environment")
    else:
        lines += [
            f"  export UCLOUD_PUBLIC_KEY={account.public_key}",
            f"  export UCLOUD_PRIVATE_KEY={account.private_key}",
        ]
    if others := [other.name for other in server.accounts[1:]]:
        lines.append(f"  (the timeline has the keys of the other accounts: {', '.join(others)})")
    click.echo("\n".join([*lines, "Ctrl-C ends it."]), err=True)


def _position(server: EmulatorServer) -> str:
    world = server.world
    title = f": {world.title}" if world.title else ""
    zones, projects = counted(len(world.zones), "zone"), counted(len(world.projects), "project")
    return f"step {server.step} of {len(server.timeline.worlds)}, {zones}, {projects}{title}"


def _timeline(source: str) -> Timeline:
    if source in BUILTIN:  # whatever else is called so here; a file of that name is ./demo
        return BUILTIN[source]()
    path = Path(source)
    if not path.exists():
        raise UsageError(f"--timeline {source}: there is no such file, and the built-in ones are {', '.join(BUILTIN)}")
    return load_timeline(path)


def _write_example(path: Path) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(demo_path().read_text(encoding="utf-8"))
    except FileExistsError as exc:
        raise UsageError(f"{path} exists already; nothing was written") from exc
    except OSError as exc:
        raise UsageError(f"{path} cannot be written: {exc.strerror or exc}") from exc
    click.echo(f"Wrote {path}. Serve it with: crawler emulate --timeline {path}", err=True)
