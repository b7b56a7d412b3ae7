"""`crawler doctor`: what is wrong with this installation, and how to fix it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.language import tr
from crawler.cli.output import json_line, write_out
from crawler.domain.text import padded, visible
from crawler.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from crawler.ops.findings import Finding


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.option("--test-mail", metavar="TO", help="Send a test mail to this address over the configured server.")
@click.option(
    "--assumptions",
    is_flag=True,
    help="Ask the cloud what its documentation leaves open instead: some forty requests per account.",
)
@pass_cli
def doctor(context: CliContext, as_json: bool, test_mail: str | None, assumptions: bool) -> ExitCode:
    """
    Look at everything a run needs, for real: files, keys, clock, cloud, database, mail.

    Each check is ok, warn or fail, with the fix; exit 1 when one fails. Changes nothing.

    What --assumptions prints names no key, account, project, image or address: it may be sent to the maintainers.
    """
    if assumptions:
        return _assumptions(context, as_json)
    from crawler.ops.findings import worst

    findings = []
    for finding in _examined(context, test_mail):
        findings.append(finding)
        if not as_json:
            write_out(f"{visible(line)}\n" for line in _lines(finding))
    state = worst(findings)
    if as_json:
        write_out([json_line({"state": state, "findings": [finding.as_dict() for finding in findings]}), "\n"])
    return ExitCode.NO if state == "fail" else ExitCode.DONE


def _lines(finding: Finding) -> Iterator[str]:
    """Yield what a person reads of a finding, the fix indented below."""
    about = f"{finding.about}{tr(': ')}" if finding.about else ""
    yield f"{padded(tr(finding.state), 4)}  {padded(tr(finding.check), 13)}  {about}{tr(finding.message)}"
    if finding.fix:
        yield f"{'':21}→ {tr(finding.fix)}"


def _assumptions(context: CliContext, as_json: bool) -> ExitCode:
    """Print what the clouds of the accounts answer to the open questions."""
    import crawler
    from crawler.client.api_options import Timing
    from crawler.ops.assumptions import ask_all

    answers = ask_all(context.settings(), Timing(clock=context.clock))
    if as_json:
        document = {"version": crawler.__version__, "assumptions": [answer.as_dict() for answer in answers]}
        write_out([json_line(document), "\n"])
        return ExitCode.DONE
    for answer in answers:
        details = "".join(f"    {visible(name)}: {visible(str(said))}\n" for name, said in answer.details.items())
        write_out(
            [f"account {answer.account} ({answer.endpoint}): {answer.question}? {visible(answer.answer)}\n", details]
        )
    return ExitCode.DONE


def _examined(context: CliContext, test_mail: str | None) -> Iterator[Finding]:
    from crawler.ops.findings import fail

    try:
        settings = context.settings(quiet=True)
    except ConfigurationError as exc:
        for problem in exc.problems:
            yield fail(
                "configuration",
                problem,
                "correct it; `crawler init --file example.toml` writes an example",
                about=exc.source,
            )
        return
    from crawler.ops.doctor import examine

    yield from examine(settings, clock=context.clock, environ=context.environ, test_mail=test_mail)
