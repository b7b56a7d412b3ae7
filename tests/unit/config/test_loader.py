"""`settings.load`: every problem at once, defaults, overrides, and no secret in any message."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from crawler.config.display import as_document
from crawler.config.loader import load
from crawler.config.models import Limits, PlaceSettings, Secret, Settings
from crawler.domain.matrix import MatrixChoice
from crawler.domain.subscriptions import When
from crawler.errors import ConfigurationError, ExitCode

KEYS = {"UCLOUD_PUBLIC_KEY": "public-of-test", "UCLOUD_PRIVATE_KEY": "private-of-test"}
ACCOUNT = '[[accounts]]\nname = "prod"\npublic_key = "pub"\nprivate_key = "priv"\n'


def read(tmp_path: Path, text: str, environ: dict[str, str] | None = None, **options: object) -> Settings:
    """Load *text* as a file of its own."""
    path = tmp_path / "crawler.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return load(path, None, {"HOME": str(tmp_path), **(environ or {})}, **options)  # type: ignore[arg-type]


def problems(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> dict[str, str]:
    """Return the problems of *text* by key."""
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text, environ)
    return dict(problem.partition(": ")[::2] for problem in caught.value.problems)


def test_defaults(tmp_path: Path) -> None:
    """Two keys in the environment are a whole configuration."""
    settings = load(None, None, {"HOME": str(tmp_path), **KEYS}, cwd=tmp_path)
    (account,) = settings.accounts

    assert settings.database == f"sqlite:///{tmp_path}/crawler.db"
    assert (str(settings.timezone), settings.stale_after) == ("Asia/Shanghai", timedelta(hours=26))
    assert (account.name, account.endpoint) == ("default", "https://api.ucloud.cn/")
    assert (account.public_key, account.private_key.reveal()) == ("public-of-test", "private-of-test")
    assert (account.projects, account.regions, account.zones) == (("*",), ("*",), ("*",))
    assert (
        account.limits
        == Limits()
        == Limits(rate=10, period_seconds=1, concurrency=16, attempts=4, timeout_seconds=65, run_deadline_seconds=600)
    )
    assert (settings.guard.ratio, settings.guard.min_images, settings.guard.confirmations) == (0.5, 2, 2)
    assert (settings.smtp, settings.reports, settings.source, settings.warnings) == (None, (), None, ())


def test_environment_account(tmp_path: Path) -> None:
    """The environment may also name the endpoint and the project, whose id alone counts."""
    environ = {**KEYS, "UCLOUD_BASE_URL": "https://api.example.com", "UCLOUD_PROJECT_ID": "org-x/Default"}
    (account,) = load(None, None, {"HOME": str(tmp_path), **environ}, cwd=tmp_path).accounts

    assert (account.endpoint, account.projects, account.project_ids) == (
        "https://api.example.com/",
        ("org-x",),
        ("org-x",),
    )


def test_example_of_the_design(tmp_path: Path) -> None:
    """A file that uses everything becomes the settings it says."""
    (tmp_path / "private.key").write_text("from-file\n")
    (tmp_path / "smtp.password").write_text("mail-secret\n")
    for name in ("private.key", "smtp.password"):
        (tmp_path / name).chmod(0o600)
    settings = read(
        tmp_path,
        """
        database = "postgresql://crawler:hidden@db.example.com/history"
        timezone = "Europe/Berlin"
        stale_after = "2d"
        [[accounts]]
        name = "prod"
        public_key = "${UCLOUD_PUBLIC_KEY}"
        private_key_file = "private.key"
        projects = ["org-*", "Team A"]
        zones = ["cn-*", "hk-*"]
        headers = { channel-key = "abc", empty = "" }
        [[accounts.variants]]
        name = "g-v100"
        MachineType = "G"
        GPUType = "V100"
        [[accounts.places]]
        region = "hk"
        zone = "hk-02"
        [accounts.limits]
        rate = 2.5
        [limits]
        concurrency = 4
        [guard]
        ratio = 1
        [smtp]
        host = "mail.example.com"
        username = "crawler"
        password_file = "smtp.password"
        from = "Crawler <crawler@example.com>"
        [[reports]]
        name = "sre"
        to = ["sre@example.com"]
        """,
        KEYS,
    )
    (account,) = settings.accounts

    assert settings.database.endswith(":hidden@db.example.com/history")
    assert "hidden" not in settings.database_shown
    assert account.private_key == Secret("from-file")
    assert account.headers == {"channel-key": "abc"}
    assert account.variants == {"default": {}, "g-v100": {"GPUType": "V100", "MachineType": "G"}}
    assert account.places == (PlaceSettings(region="hk", zone="hk-02"),)
    assert account.limits == Limits(rate=2.5, concurrency=4)
    assert account.selection().variants == ("default", "g-v100")
    assert settings.smtp is not None
    assert (settings.smtp.port, settings.smtp.security, settings.smtp.password) == (
        587,
        "starttls",
        Secret("mail-secret"),
    )
    assert [(report.name, report.channel, report.to, report.subscription.when) for report in settings.reports] == [
        ("sre", "email", ("sre@example.com",), When())
    ]
    assert settings.warnings == ()


def test_all_at_once(tmp_path: Path) -> None:
    """Every problem of a file is reported in one go, each with its key and what is wrong with the value."""
    found = problems(
        tmp_path,
        """
        databse = "x.db"
        timezone = "Asia/Shangai"
        stale_after = "26 hours"
        rate = 3
        [[accounts]]
        name = "a/b"
        endpoint = "ftp://x"
        public_key = "${NOT_SET}"
        private_key_file = "missing.key"
        zones = "cn-*"
        kinds = ["uk8s-imag"]
        headers = { "channel-key" = "a\\nb" }
        [accounts.limits]
        rate = 0
        concurrency = 1.5
        [[accounts.variants]]
        name = "g"
        MachinType = "G"
        [[accounts.variants]]
        name = "g"
        GPUType = "V100"
        [[accounts]]
        name = "a/b"
        public_key = "k"
        private_key = 5
        [guard]
        ratio = 1.5
        [smtp]
        host = "h"
        from = "x"
        security = "ssl"
        [[reports]]
        name = "r"
        to = []
        """,
    )

    said = {
        "databse": "did you mean database?",
        "timezone": "did you mean Asia/Shanghai?",
        "stale_after": "'26 hours' is no duration",
        "rate": "it belongs in [accounts.limits] or [limits]",
        "accounts[0].name": "must not contain /",
        "accounts[0].endpoint": "must be an http or https URL",
        "accounts[0].public_key": "the environment variable NOT_SET is not set",
        "accounts[0].private_key_file": "No such file",
        "accounts[0].zones": "'cn-*' must be a list, as in [\"cn-*\"]",
        "accounts[0].kinds[0]": "did you mean uk8s-image?",
        "accounts[0].headers.channel-key": "must not contain control characters",
        "accounts[0].limits.rate": "0 must be greater than 0",
        "accounts[0].limits.concurrency": "1.5 must be a whole number",
        "accounts[0].variants[0].MachinType": "did you mean MachineType?",
        "accounts[0].variants[1].name": "'g' is used already by accounts[0].variants[0]",
        "accounts[1].name": "'a/b' is used already by accounts[0]",
        "accounts[1].private_key": "must be a text in quotes",
        "guard.ratio": "1.5 must be at most 1",
        "smtp.from": "must be a mail address",
        "smtp.security": "must be one of 'starttls', 'tls', 'none'",
        "reports[0].to": "is empty",
    }
    assert found.keys() == said.keys()
    assert {key for key, words in said.items() if words not in found[key]} == set()


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("[limits]\nrate = nan", "limits.rate", "must be"),
        ("[limits]\nrate = inf", "limits.rate", "finite"),
        ("[limits]\nrate = true", "limits.rate", "must be a number"),
        ('[limits]\nrate = "10"', "limits.rate", "'10' must be a number"),
        ("[limits]\nattempts = 0", "limits.attempts", "0 must be at least 1"),
        ("[guard]\nratio = 0", "guard.ratio", "0 must be greater than 0"),
        ('stale_after = "0h"', "stale_after", "longer than nothing"),
        ("stale_after = 26", "stale_after", "must be a text"),
        ('timezone = "../etc/passwd"', "timezone", "no known time zone"),
        ('database = "mysql://h/d"', "database", "mysql"),
        ('database = "sqlite://crawler.db"', "database", "three slashes"),
        ('database = ":memory:"', "database", "in memory"),
        ('[[reports]]\nname = "r"\nto = ["a@b.c"]', "smtp", "a report goes by email"),
        ("accounts = []", "accounts", "nothing to ask"),
        ("accounts = 5", "accounts", "must be a list"),
        ("[accounts]\nname = 'x'", "accounts", "write [[accounts]], with two brackets: it is a list of tables"),
        ("[guard]\nratios = 0.5", "guard.ratios", "did you mean ratio?"),
        ("[gaurd]\nratio = 0.5", "gaurd", "did you mean guard?"),
    ],
)
def test_one_problem(tmp_path: Path, text: str, key: str, said: str) -> None:
    """A wrong value is named by its key, and only once."""
    whole = f"{text}\n" + ("" if "accounts" in text else ACCOUNT)
    found = problems(tmp_path, whole)

    assert list(found) == [key]
    assert said in found[key]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('endpoint = "https://user:topsecret@x.example/"', "must not carry a user or password"),
        ('endpoint = "api.ucloud.cn"', "must be an http or https URL"),
        ('endpoint = "https://x:99999/"', "is no URL"),
        ('endpoint = "https://x/?a=b"', "must not carry a query"),
        ('endpoint = "https:///path"', "must be an http or https URL"),
        ('endpoint = "https://api..ucloud.cn/"', "names a host that cannot be"),
        ('endpoint = "https://.ucloud.cn/"', "names a host that cannot be"),
        (f'endpoint = "https://{"a" * 64}.cn/"', "names a host that cannot be"),
        (f'endpoint = "https://{"a." * 127}cn/"', "names a host that cannot be"),
        ('endpoint = "https://-api.ucloud.cn/"', "names a host that cannot be"),
        ('endpoint = "https://256.1.1.1/"', "names a host that cannot be"),
        ('endpoint = "https://1.2.3/"', "names a host that cannot be"),
        ("projects = []", "is empty"),
        ('projects = [""]', "is empty"),
        ('kinds = ["nothing"]', "is no known kind"),
        ('headers = { "bad name" = "x" }', "is no header name"),
        ('headers = { x = "é" }', "must be ASCII"),
        ("places = [{ region = 'r' }]", "is missing"),
        ("places = [{ region = 'r', zone = 'a/b' }]", "must not contain /"),
        ("variants = [{ name = 'default', GPUType = 'V100' }]", "is always there"),
        ("variants = [{ name = 'x' }]", "sets no parameter"),
        ("variants = [{ name = 'x', GPUType = ['V100'] }]", "one value"),
        ("variants = [{ name = 'x', Region = 'hk' }]", "is no parameter of uk8s-image"),
        ("variants = [{ name = 'a\\u0007b', GPUType = 'V100' }]", None),
        ("variants = 'all'", 'must be "auto", or tables [[accounts.variants]]'),
        ("variants = 'auto'\nkinds = ['uhost-image']", '"auto" is for uk8s-image, which is not among `kinds`'),
        ("variants = 'auto'\nmatrix = { versions = 'newest' }", "is no version"),
        ("variants = 'auto'\nmatrix = { versions = ['all', '1.30'] }", "stand alone"),
        ("variants = 'auto'\nmatrix = { versions = [] }", "is empty"),
        ("variants = 'auto'\nmatrix = { max_targets = 0 }", "must be at least 1"),
        ("variants = 'auto'\nmatrix = { gpus = ['*'] }", "did you mean gpu_types?"),
        ("public_key_file = 'x'", "give either public_key or public_key_file"),
        ("profile = 'default'", "so public_key and private_key must go"),
        ("regoins = ['*']", "did you mean regions?"),
    ],
)
def test_one_problem_of_an_account(tmp_path: Path, line: str, said: str | None) -> None:
    """A wrong value of an account is named, too."""
    line = line.replace("'a\\u0007b'", '"a\\u0007b"')
    found = problems(tmp_path, ACCOUNT + line)

    assert len(found) == 1
    assert (said or "control characters") in next(iter(found.values()))


def test_matrix(tmp_path: Path) -> None:
    """A matrix is its defaults until something is said, shown as it is written, and idle while nobody turned it on."""
    (one,) = read(tmp_path, ACCOUNT + "variants = 'auto'\n").accounts
    assert (one.is_auto, dict(one.named_variants)) == (True, {"default": {}})
    assert one.matrix.choice == MatrixChoice(versions=("latest-1",), gpu_types=("*",), max_targets=2000)
    told = "variants = 'auto'\nmatrix = { versions = ['1.30', '1.28.15'], gpu_types = ['!A*'], max_targets = 7 }\n"
    settings = read(tmp_path, ACCOUNT + told)
    assert read(tmp_path, ACCOUNT + told).accounts[0].matrix.choice.versions == ("1.30", "1.28.15")
    shown = as_document(settings)["accounts"][0]
    assert shown["variants"] == "auto"
    assert shown["matrix"] == {"versions": ["1.30", "1.28.15"], "gpu_types": ["!A*"], "max_targets": 7}
    idle = read(tmp_path, ACCOUNT + "matrix = { max_targets = 7 }\n")
    assert 'accounts[0].matrix: is for variants = "auto", and does nothing now' in idle.warnings
    assert not idle.accounts[0].is_auto


def test_duplicates(tmp_path: Path) -> None:
    """A name is used once among accounts, variants of an account, and reports."""
    text = ACCOUNT + ACCOUNT + '[smtp]\nhost = "h"\nfrom = "a@b.c"\n' + '[[reports]]\nname = "r"\nto = ["a@b.c"]\n' * 2

    assert problems(tmp_path, text) == {
        "accounts[1].name": "'prod' is used already by accounts[0]",
        "reports[1].name": "'r' is used already by reports[0]",
    }


def test_syntax(tmp_path: Path) -> None:
    """A syntax error is told with its line."""
    with pytest.raises(ConfigurationError, match=r"is not TOML: .*line 2"):
        read(tmp_path, "[limits]\nrate 10\n")


def test_encoding(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused in a sentence; a byte order mark does no harm."""
    path = tmp_path / "crawler.toml"
    path.write_bytes(b'\xef\xbb\xbftimezone = "UTC"\n')
    assert str(load(path, None, {"HOME": "/", **KEYS}).timezone) == "UTC"

    path.write_bytes('timezone = "é"'.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load(path, None, KEYS)


def test_no_account(tmp_path: Path) -> None:
    """Without an account the error says where one may come from; half a key pair is told apart."""
    with pytest.raises(ConfigurationError, match="UCLOUD_PUBLIC_KEY and UCLOUD_PRIVATE_KEY are not set") as caught:
        load(None, None, {"HOME": str(tmp_path)}, cwd=tmp_path)
    assert caught.value.exit_code == ExitCode.USAGE

    with pytest.raises(ConfigurationError, match="UCLOUD_PUBLIC_KEY is set without UCLOUD_PRIVATE_KEY"):
        load(None, None, {"HOME": str(tmp_path), "UCLOUD_PUBLIC_KEY": "x"}, cwd=tmp_path)


def test_reader_needs_no_secrets(tmp_path: Path) -> None:
    """Who only reads the history needs neither keys nor a word of what concerns the crawl."""
    text = 'database = "h.db"\n[[accounts]]\nname = "prod"\npublic_key = "${NOT_SET}"\nprivate_key_file = "gone"\n'
    settings = read(tmp_path, text, need_accounts=False)

    assert settings.database == f"sqlite:///{tmp_path}/h.db"
    assert settings.accounts == ()


@pytest.mark.parametrize("given", ["elsewhere.db", "sqlite:///elsewhere.db"])
def test_database_option(tmp_path: Path, given: str) -> None:
    """The database of the command line is relative to the working directory, and wins over the file's."""
    path = tmp_path / "crawler.toml"
    path.write_text('database = "mysql://no"\n')
    cwd = tmp_path / "here"

    settings = load(path, given, {"HOME": "/", **KEYS}, cwd=cwd)

    assert settings.database == f"sqlite:///{cwd}/elsewhere.db"


def test_database_of_the_file(tmp_path: Path) -> None:
    """The file's database is relative to the file; odd characters in its folder survive."""
    folder = tmp_path / "50% off?"
    folder.mkdir()
    settings = read(folder, ACCOUNT)

    assert settings.database == f"sqlite:///{tmp_path}/50%25 off%3F/crawler.db"
    assert settings.database_shown == f"{folder}/crawler.db"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """No repr, format or pickle shows a secret."""
    text = 'database = "postgresql://u:dbsecret@h/d"\n' + ACCOUNT.replace('"priv"', '"keysecret"')
    settings = read(tmp_path, text + 'headers = { channel-key = "headersecret" }\n')
    shown = f"{settings!r} {settings} {settings.accounts[0].private_key} {settings.database_shown}"

    assert [secret for secret in ("dbsecret", "keysecret", "headersecret") if secret in shown] == []
    with pytest.raises(TypeError):
        pickle.dumps(settings.accounts[0].private_key)


def test_secrets_are_not_in_errors(tmp_path: Path) -> None:
    """Errors about secrets, and about values from the environment, do not repeat them."""
    with pytest.raises(ConfigurationError) as caught:
        read(
            tmp_path,
            """
            database = "mysql://u:topsecret@h/d"
            timezone = "${TOPSECRET}"
            privat_key = "topsecret"
            [[accounts]]
            name = "a"
            public_key = "topsecret\\u0007"
            private_key = "topsecret\\nline"
            endpoint = "https://u:topsecret@x/"
            headers = { channel-key = "topsecret\\n" }
            [smtp]
            host = "h"
            from = "a@b.c"
            username = "u"
            password = ["topsecret"]
            """,
            {"TOPSECRET": "topsecret"},
        )

    assert len(caught.value.problems) == 8
    assert "endpoint" in str(caught.value)
    assert "topsecret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_warnings(tmp_path: Path) -> None:
    """What is allowed but unwise is a warning: plain http, secrets that everyone may read or that go in the clear."""
    path = tmp_path / "crawler.toml"
    (tmp_path / "pass").write_text("x")
    (tmp_path / "pass").chmod(0o644)
    path.write_text(
        ACCOUNT + 'endpoint = "http://api.service.ucloud.cn"\n'
        '[smtp]\nhost = "mail.example.com"\nfrom = "a@b.c"\nsecurity = "none"\nusername = "u"\npassword_file = "pass"\n'
    )
    path.chmod(0o644)
    found = "\n".join(load(path, None, {"HOME": "/"}).warnings)

    assert "crawler.toml holds a secret and is readable by everyone" in found
    assert f"smtp.password_file: {tmp_path}/pass is readable by everyone" in found
    assert "api.service.ucloud.cn is asked over http" in found
    assert "the password is sent in the clear" in found


@pytest.mark.parametrize("host", ["127.0.0.1:8484", "localhost", "[::1]:80"])
def test_loopback_needs_no_warning(tmp_path: Path, host: str) -> None:
    """Plain http to this machine is no cause for a warning."""
    assert read(tmp_path, ACCOUNT + f'endpoint = "http://{host}/"\n').warnings == ()


def test_numbers_from_the_environment(tmp_path: Path) -> None:
    """A number may come from the environment, where everything is text; a wrong one is named without its value."""
    text = ACCOUNT + '[limits]\nrate = "${RATE:-2.5}"\nconcurrency = "${CONCURRENCY}"\n'
    settings = read(tmp_path, text, {"CONCURRENCY": "3"})
    assert (settings.limits.rate, settings.limits.concurrency) == (2.5, 3)

    assert problems(tmp_path, text, {"CONCURRENCY": "many"}) == {"limits.concurrency": "must be a whole number"}


def test_values_without_pydantic() -> None:
    """The frozen settings, their keys and defaults load no pydantic: it is for whoever checks a file."""
    program = "import sys; from crawler.config.models import Limits; print(Limits().rate, 'pydantic' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "10.0 False\n"


@pytest.mark.parametrize(
    "text",
    [
        'timezone = "Asia/Peking"',
        "timezone = 8",
        'stale_after = "soon"',
        'stale_after = "0s"',
        'database = " "',
        "database = 5",
        'database = "${NOBODY_SET_THIS}"',
        'colour = "red"',
        'stale = "1d"',
    ],
)
def test_readers_are_told_the_same(tmp_path: Path, text: str) -> None:
    """A key that readers need and that is wrong is the same problem to them as to a run."""
    with pytest.raises(ConfigurationError) as told:
        read(tmp_path, text + "\n" + ACCOUNT, need_accounts=False)

    assert dict(problem.partition(": ")[::2] for problem in told.value.problems) == problems(
        tmp_path, text + "\n" + ACCOUNT
    )


def test_readers_get_the_same(tmp_path: Path) -> None:
    """Read without pydantic, the keys that readers need have the values that a run gets; they look at no other key."""
    text = 'database = "${PLACE:-a}.db"\ntimezone = "Europe/Berlin"\nstale_after = "3d"\n'
    whole = read(tmp_path, text + ACCOUNT)
    needed = read(tmp_path, text + "report_deadline_seconds = -1\nping = 3\n" + ACCOUNT, need_accounts=False)

    for key in ("database", "timezone", "stale_after", "source"):
        assert getattr(needed, key) == getattr(whole, key)
    assert needed.accounts == ()
