"""The mail that a real mail server package accepts, delivers and leaves as it was."""

from __future__ import annotations

from crawler.emulator import run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.driving import Driver, account
from tests.support.exim import exim
from tests.support.worlds import make_timeline


def test_a_real_mail_server(light: Driver, proven: Proven) -> None:
    """Exim takes the mails over verified STARTTLS and delivers them; one unknown recipient keeps them from nobody."""
    timeline = make_timeline(
        zones={"hk-02": {"uimage-vareox": "Ubuntu 20.04", "uimage-puxm0l": "CentOS 7.6"}},
        steps=[{"remove": {"hk-02": ["uimage-vareox"]}, "add": {"hk-02": {"uimage-rccvz4l9itr": "Ubuntu 20.04"}}}],
    )
    with exim() as server, run_in_thread(timeline) as cloud:
        light.configure(
            account(cloud.url),
            smtp={"host": "127.0.0.1", "port": server.port, "from": "Image crawler <crawler@example.com>"}
            | {"security": "starttls", "ca_file": str(server.certificate)},
            reports=[
                {"name": "sre", "to": ["sre@example.com"], "pins": ["hk-02 uimage-vareox"]},
                {"name": "运维", "to": ["On call <oncall@example.com>", "gone@example.com"], "language": "zh"},
            ],
        )
        first = light.run()
        cloud.step = 2
        second = light.run()
        mails = server.mails(4)

    assert first.summary["reports"] == second.summary["reports"] == {"queued": 2, "sent": 1, "failed": 1}
    assert "refused to gone@example.com: 550 no such user" in first.result.stderr
    by_list = {str(mail["List-Id"]): mail for mail in mails}  # the last mail of each report
    assert len(by_list) == 2
    listed = {row["message_id"] for row in light.rows("report", "list", "--all") if row["message_id"]}
    for mail in by_list.values():
        assert not mail.defects
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["Message-ID"] in listed
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        assert text is not None
        assert html is not None
        for word in ("hk-02", "uimage-vareox", "uimage-rccvz4l9itr", "Ubuntu 20.04"):
            assert word in text.get_content()
            assert word in html.get_content()
    proven("mails over a real mail server package, STARTTLS verified", f"{len(mails)} delivered by Exim, none changed")
    assert {str(mail["Envelope-to"]) for mail in mails} == {"sre@example.com", "oncall@example.com"}
