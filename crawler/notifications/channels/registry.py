"""
The channels there are, and how each is made from the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from crawler.config.models import ReportSettings, Settings
from crawler.notifications.channels.apprise import AppriseChannel
from crawler.notifications.channels.base import Channel
from crawler.notifications.channels.email import EmailChannel
from crawler.notifications.channels.feishu import FeishuChannel
from crawler.notifications.channels.http import HookOptions
from crawler.notifications.channels.webhook import WebhookChannel

Clock = Callable[[], datetime]


def channels_of(settings: Settings, clock: Clock) -> dict[str, Channel]:
    """Return what the reports of *settings* go over, by `route`; *clock* dates signatures."""
    found: dict[str, Channel] = {}
    if settings.smtp is not None:
        found["email"] = EmailChannel(settings.smtp)
    for report in settings.reports:
        if report.url is not None:
            found[report.route] = _hook(report, report.url.reveal(), clock)
    return found


def _hook(report: ReportSettings, url: str, clock: Clock) -> Channel:
    secret = report.secret.reveal() if report.secret is not None else None
    options = HookOptions(
        name=report.to[0],
        url=url,
        secret=secret,
        old_secret=report.old_secret.reveal() if report.old_secret is not None else None,
        format=report.format,
        proxy=report.proxy,
        ca_file=report.ca_file,
    )
    if report.channel == "apprise":
        return AppriseChannel(options)
    return FeishuChannel(options, clock) if report.channel == "feishu" else WebhookChannel(options, clock)
