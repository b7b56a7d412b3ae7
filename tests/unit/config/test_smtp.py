"""`[smtp]`: how the mail server's certificate is checked, and how long anything may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.config.loader import load
from crawler.config.models import Settings, SmtpSettings
from crawler.errors import ConfigurationError
from tests.support.tls import make_tls

ACCOUNT = '[[accounts]]\nname = "prod"\npublic_key = "pub"\nprivate_key = "priv"\n'
SMTP = '[smtp]\nhost = "mail.example.com"\nfrom = "a@b.c"\n'


def read(tmp_path: Path, text: str) -> Settings:
    """Load *text* as a file of its own."""
    path = tmp_path / "crawler.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return load(path, None, {"HOME": str(tmp_path)})


def test_certificates_are_checked_by_default(tmp_path: Path) -> None:
    """STARTTLS with the system's certificates and bounded waits are the default; no check, a warning."""
    careful, careless = read(tmp_path, ACCOUNT + SMTP), read(tmp_path, ACCOUNT + SMTP + "verify = false\n")

    assert careful.smtp == SmtpSettings(host="mail.example.com", sender="a@b.c", port=587, security="starttls")
    assert (careful.smtp.verify, careful.smtp.ca_file, careful.smtp.timeout_seconds) == (True, None, 30)
    assert (careful.report_deadline_seconds, careful.warnings) == (120, ())
    assert "smtp.verify: whoever stands in between" in careless.warnings[0]


def test_certificates_of_ones_own(tmp_path: Path) -> None:
    """`ca_file` is relative to the configuration and has to hold certificates."""
    _, certificate = make_tls(tmp_path)
    certificate.rename(tmp_path / "ca.pem")
    (tmp_path / "damaged.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    (tmp_path / "other.txt").write_text("hello")

    smtp = read(tmp_path, ACCOUNT + SMTP + 'ca_file = "ca.pem"\n').smtp
    assert smtp is not None
    assert smtp.ca_file == tmp_path / "ca.pem"
    for name, problem in {
        "none.pem": "cannot be read: No such file",
        "other.txt": "holds no certificate",
        "damaged.pem": "holds a certificate that is damaged",
    }.items():
        with pytest.raises(ConfigurationError, match=f"smtp.ca_file: .*{problem}"):
            read(tmp_path, f'{ACCOUNT}{SMTP}ca_file = "{name}"\n')
