"""What the present role of a PostgreSQL database may do with the history."""

from __future__ import annotations

from sqlalchemy import Connection, text

from crawler.db.schema import Base

#: The rights that a run uses, on the tables and on the sequences that number their rows.
_MISSING = text(
    """
    SELECT wanted.name || ' on ' || c.relname
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = current_schema()
    CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS wanted(name)
    WHERE c.relkind = 'r' AND c.relname = ANY(:tables) AND NOT has_table_privilege(c.oid, wanted.name)
    UNION ALL
    SELECT 'USAGE on ' || s.relname
    FROM pg_class AS s
    JOIN pg_depend AS d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.refclassid = d.classid
    JOIN pg_class AS c ON c.oid = d.refobjid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = current_schema()
    WHERE d.deptype = 'a' AND c.relname = ANY(:tables)
      AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') END
    ORDER BY 1
    """
)
_OWNER = text(
    """
    SELECT pg_get_userbyid(c.relowner)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = current_schema()
    WHERE c.relname = ANY(:tables) AND NOT pg_has_role(c.relowner, 'USAGE')
    LIMIT 1
    """
)


def missing_rights(conn: Connection) -> tuple[str, ...]:
    """Return each right that a run needs and the role of *conn*, on PostgreSQL, lacks, such as `INSERT on runs`."""
    return tuple(conn.execute(_MISSING, {"tables": list(Base.metadata.tables)}).scalars())


def schema_owner(conn: Connection) -> str | None:
    """Return the role that has to upgrade the schema of *conn*, on PostgreSQL; None: the present role can."""
    owner: str | None = conn.execute(_OWNER, {"tables": list(Base.metadata.tables)}).scalar()
    return owner
