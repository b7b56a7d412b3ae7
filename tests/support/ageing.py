"""Databases of earlier schemas, as the programs of their time left them."""

from __future__ import annotations

import signal
import subprocess
import sys

from alembic import command
from alembic.config import Config

from crawler.db import migrations
from crawler.db.engine import opened
from crawler.db.migrations import migrations_folder
from tests.support.house import ROOT

#: An upgrade that is killed as soon as a statement begins with sys.argv[2].
KILLED = """
import os, signal, sys
from sqlalchemy import event
from crawler.db.engine import opened
from crawler.db.migrations import upgrade
with opened(sys.argv[1]) as engine:
    @event.listens_for(engine, "before_cursor_execute")
    def kill(conn, cursor, statement, parameters, context, executemany):
        if statement.startswith(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    upgrade(engine)
"""


def upgrade_to(url: str, revision: str) -> None:
    """Bring an empty or older database to the schema *revision*."""
    with opened(url) as engine, migrations._upgrading(engine) as connection:
        config = Config()
        config.set_main_option("script_location", str(migrations_folder()))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def upgrade_killed_at(url: str, statement: str) -> None:
    """Upgrade a database in a process of its own, which is killed at the first statement that begins so."""
    killed = subprocess.run([sys.executable, "-c", KILLED, url, statement], cwd=ROOT, check=False, timeout=600)
    assert killed.returncode == -signal.SIGKILL
