"""What other database users may do with the public views, kept while a migration makes the views anew (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, bindparam, text

from crawler.store.engine import is_sqlite
from crawler.store.view_columns import VIEWS

#: One statement per right on a view, or on a column of it, that anybody but its owner has.
_GRANTS = text(
    """
    SELECT c.relname, a.column_name, format('GRANT %s%s ON %I.%I TO %s%s', acl.privilege_type,
        CASE WHEN a.column_name IS NULL THEN '' ELSE format(' (%I)', a.column_name) END, n.nspname, c.relname,
        CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END,
        CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = current_schema()
    CROSS JOIN LATERAL (
        SELECT CAST(NULL AS name) AS column_name, c.relacl AS acl
        UNION ALL SELECT t.attname, t.attacl FROM pg_attribute AS t WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL
    ) AS a
    CROSS JOIN LATERAL aclexplode(a.acl) AS acl
    WHERE c.relkind = 'v' AND c.relname IN :views AND acl.grantee <> c.relowner
    """
).bindparams(bindparam("views", expanding=True))
#: Views that are not the present user's, and whose owner may own the new ones too.
_OWNERS = text(
    """
    SELECT c.relname, NULL AS column_name,
        format('ALTER VIEW %I.%I OWNER TO %I', n.nspname, c.relname, pg_get_userbyid(c.relowner))
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = current_schema()
    WHERE c.relkind = 'v' AND c.relname IN :views AND pg_get_userbyid(c.relowner) <> current_user
      AND pg_has_role(current_user, c.relowner, 'MEMBER')
    """
).bindparams(bindparam("views", expanding=True))
_COLUMNS = text(
    "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE table_schema = current_schema() AND table_name IN :views"
).bindparams(bindparam("views", expanding=True))


@contextmanager
def kept_grants(connection: Connection) -> Iterator[None]:
    """Give the public views, after the block, the owners and the rights they had before it."""
    if is_sqlite(connection):
        yield
        return
    views = {"views": list(VIEWS)}
    before = [row for query in (_OWNERS, _GRANTS) for row in connection.execute(query, views)]
    yield
    if not before:
        return
    columns = {(view, column) for view, column in connection.execute(_COLUMNS, views)}
    columns |= {(view, None) for view, _ in columns}
    for view, column, statement in before:
        if (view, column) in columns:
            connection.exec_driver_sql(statement)
