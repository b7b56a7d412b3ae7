"""A private CA and the certificate it gives this machine, made by the machine's own openssl when a test wants one."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def make_tls(folder: Path, names: Sequence[str] = ()) -> tuple[ssl.SSLContext, Path]:
    """
    Return a server's context and the CA's certificate, which a client must trust; skip the test without openssl.

    The certificate is for 127.0.0.1, localhost and the further *names*.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    authority, authority_key = folder / "certificate.pem", folder / "ca.key"
    key, request, certificate = folder / "key.pem", folder / "request.pem", folder / "server.pem"
    extensions = folder / "extensions"
    listed = ",".join(["IP:127.0.0.1", "DNS:localhost", *(f"DNS:{name}" for name in names)])
    # Python 3.13 verifies strictly: it wants the CA to say what it signs, and the certificate whose key signed it.
    extensions.write_text(f"subjectAltName={listed}\nauthorityKeyIdentifier=keyid\n")

    def call(*words: object) -> None:
        subprocess.run([openssl, *words], check=True, capture_output=True)  # type: ignore[list-item]

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    own = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", authority_key, "-out", authority)
    call(*new, "-x509", "-days", "2", "-subj", "/CN=Private CA", *own)
    call(*new, "-subj", "/CN=localhost", "-keyout", key, "-out", request)
    signing = ("-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-days", "2", "-extfile", extensions)
    call("x509", "-req", "-in", request, *signing, "-out", certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, authority
