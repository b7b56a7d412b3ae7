"""
Where an account's keys come from: the file, secret files, the UCloud CLI's profiles, or the environment alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crawler.settings.sources import Findings, Location, SecretFiles, plain_project, read_profile, warn_open


def resolve_accounts(
    document: dict[str, Any],
    secrets: SecretFiles,
    environ: Mapping[str, str],
    findings: Findings,
    path: Path | None,
) -> None:
    """Complete every account of *document* with its keys, or make one from *environ* when there is none."""
    if "accounts" not in document:
        account = _environment_account(environ, findings, path)
        document["accounts"] = [account] if account else []
        return
    accounts = document["accounts"]
    if accounts == []:
        findings.problem(("accounts",), "is empty: there is nothing to ask")
    for index, account in enumerate(accounts if isinstance(accounts, list) else []):
        if isinstance(account, dict):
            _resolve_account(account, ("accounts", index), secrets, environ, findings)


def _resolve_account(
    account: dict[str, Any], at: Location, secrets: SecretFiles, environ: Mapping[str, str], findings: Findings
) -> None:
    secrets.inline(account, "public_key", at)
    secrets.inline(account, "private_key", at)
    headers = account.get("headers")
    if isinstance(headers, dict):
        for name in [name.removesuffix("_file") for name in headers if name.endswith("_file")]:
            secrets.inline(headers, name, (*at, "headers"))
    profile = account.get("profile")
    if not isinstance(profile, str):
        for key in ("public_key", "private_key"):
            if key not in account:
                findings.problem((*at, key), f"is missing (or give {key}_file, or a profile of the UCloud CLI)")
        return
    both = [key for key in ("public_key", "private_key") if key in account]
    if both:
        findings.problem((*at, "profile"), f"gives the keys, so {' and '.join(both)} must go (or the profile)")
        return
    found = read_profile(profile, environ, lambda sentence: findings.problem((*at, "profile"), sentence))
    credentials = Path(environ.get("HOME") or Path.home()) / ".ucloud" / "credential.json"
    warn_open(credentials, str(credentials), findings)
    # Placeholders keep a profile that cannot be read from also being two missing keys.
    account["public_key"] = found.get("public_key", "unreadable")
    account["private_key"] = found.get("private_key", "unreadable")
    if found.get("base_url"):
        account.setdefault("endpoint", found["base_url"])
    if found.get("project_id"):
        account.setdefault("projects", [plain_project(found["project_id"])])


def _environment_account(environ: Mapping[str, str], findings: Findings, path: Path | None) -> dict[str, Any] | None:
    names = ("UCLOUD_PUBLIC_KEY", "UCLOUD_PRIVATE_KEY")
    absent = [name for name in names if not environ.get(name)]
    if absent:
        where = f"[[accounts]] to {path.name}" if path else "a crawler.toml (crawler init writes one)"
        state = "are not set" if len(absent) == 2 else f"is set without {absent[0]}"
        lead = " and ".join(names) if len(absent) == 2 else next(name for name in names if name not in absent)
        findings.problem((), f"there is no account: add {where}; {lead} {state} in the environment")
        return None
    account: dict[str, Any] = {
        "name": "default",
        "public_key": environ["UCLOUD_PUBLIC_KEY"].strip(),
        "private_key": environ["UCLOUD_PRIVATE_KEY"].strip(),
    }
    if environ.get("UCLOUD_BASE_URL"):
        account["endpoint"] = environ["UCLOUD_BASE_URL"]
    if environ.get("UCLOUD_PROJECT_ID"):
        account["projects"] = [plain_project(environ["UCLOUD_PROJECT_ID"])]
    return account
