"""
The channels there are, and how each is made from the settings.
"""

from __future__ import annotations

from crawler.report.channels import Channel
from crawler.report.email import EmailChannel, SmtpOptions
from crawler.settings import Settings, SmtpSettings


def channels_of(settings: Settings) -> dict[str, Channel]:
    """Give the channels that the reports of *settings* go over, by name."""
    found: dict[str, Channel] = {}
    if settings.smtp is not None:
        found["email"] = EmailChannel(_smtp(settings.smtp))
    return found


def _smtp(chosen: SmtpSettings) -> SmtpOptions:
    return SmtpOptions(
        host=chosen.host,
        port=chosen.port,
        security=chosen.security,
        username=chosen.username,
        password=chosen.password.reveal() if chosen.password is not None else None,
        sender=chosen.sender,
        timeout_seconds=chosen.timeout_seconds,
        ca_file=chosen.ca_file,
        verify=chosen.verify,
    )
