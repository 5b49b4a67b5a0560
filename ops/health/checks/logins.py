"""Logins and roles: what they may, how they prove who they are."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from ops.health.context import Context
from ops.health.contract import DAILY, SOON, Reported, check, several
from ops.health.quoting import quoted
from ops.health.steps import as_superuser
from ops.models import Area, Severity
from ops.postgres.roles import APP, LOGINS, OWNER, REQUEST_ROLES
from ops.rls.audit import login_findings

# Predefined roles that read or write past grants, or leave the database: PostgreSQL's
# documentation, chapter 22.5.
_POWERFUL = (
    "pg_read_all_data",
    "pg_write_all_data",
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_execute_server_program",
    "pg_database_owner",
)
_NOT_SEEN = "Who may sign in without a password (pg_hba.conf)"
_ALLOW_RULES = as_superuser(
    "GRANT SELECT ON pg_catalog.pg_hba_file_rules TO {role};\n"
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO {role};"
)


@check(Area.SECURITY, "What the web process's login may", every=SOON)
def application_login(context: Context) -> Iterator[Reported]:
    """All isolation between accounts hangs on the login of the web process: a superuser, an owner,
    a role with BYPASSRLS, or whoever may become one, sees every row whatever the policies say.
    """
    login = _application_login()
    for finding in login_findings(context.connection.cursor(), login, context.endpoint.database):
        # A login may have several attributes too many; the SQL ends by the name of each.
        attribute = finding.sql.rpartition(" ")[2].rstrip(";") if finding.id == "ops.E101" else ""
        yield Reported(
            f"{finding.id} {finding.subject} {attribute}".rstrip(),
            Severity.CRITICAL,
            finding.message,
            finding.hint,
            finding.sql if finding.sql.startswith("manage.py ") else as_superuser(finding.sql),
            f"role {finding.subject}",
        )
    ours = [login, *REQUEST_ROLES]
    for (role,) in context.rows(_CREATING, [ours]):
        yield Reported(
            f"{role} CREATEDB",
            Severity.WARNING,
            f"{role} may make databases",
            "It is a role of the web process, which needs none; and what it makes it owns.",
            as_superuser(f"ALTER ROLE {quoted(role)} NOCREATEDB;"),
            f"role {role}",
        )
    for member, role in context.rows(_MEMBERSHIPS, [ours, list(REQUEST_ROLES)]):
        is_powerful = role in _POWERFUL
        yield Reported(
            f"{member} in {role}",
            Severity.CRITICAL if is_powerful else Severity.WARNING,
            f"{member} is a member of {role}",
            "It reads or writes past what was granted table by table."
            if is_powerful
            else "Nobody declared that it has that role's rights as well as its own.",
            as_superuser(f"REVOKE {quoted(role)} FROM {quoted(member)};"),
            f"role {member}",
        )


@check(Area.SECURITY, "Logins that see past row security", every=DAILY)
def powerful_roles(context: Context) -> Iterator[Reported]:
    """A superuser, a role with BYPASSRLS or a member of a role that reads everything sees the rows
    of all accounts. Backups and migrations need one such login; each further one is one more
    password that opens everything.
    """
    superusers, others = [], []
    for role, is_superuser, bypasses, memberships in context.rows(
        _POWERFUL_LOGINS, {"powerful": list(_POWERFUL)}
    ):
        if is_superuser:
            superusers.append(role)
        elif role != OWNER:
            others.append((role, bypasses, memberships))
    most = context.limits.superusers
    if len(superusers) > most:
        yield Reported(
            "superusers",
            Severity.WARNING,
            f"{len(superusers)} superusers may sign in: {several(superusers, 6)}",
            f"More than {most}. Nothing holds a superuser: no row security, no grant, no limit of "
            "time. Leave one to whoever runs the server.",
            as_superuser(
                "\n".join(f"ALTER ROLE {quoted(role)} NOSUPERUSER;" for role in superusers[most:])
            ),
            "server",
        )
    for role, bypasses, memberships in others:
        whys = ["has BYPASSRLS"] if bypasses else []
        whys += [f"is a member of {name}" for name in memberships]
        steps = [f"ALTER ROLE {quoted(role)} NOBYPASSRLS;"] if bypasses else []
        steps += [f"REVOKE {quoted(name)} FROM {quoted(role)};" for name in memberships]
        yield Reported(
            f"role {role}",
            Severity.WARNING,
            f"{role} may sign in and {' and '.join(whys)}",
            "It enters this database and sees rows of all accounts, or writes them.",
            as_superuser("\n".join(steps)),
            f"role {role}",
        )


@check(Area.SECURITY, "Passwords that are kept as MD5", every=DAILY)
def password_storage(context: Context) -> Iterator[Reported]:
    """An MD5 verifier signs in by itself, so whoever reads one needs no password; PostgreSQL 18
    calls it deprecated. SCRAM verifiers can't be used that way.
    """
    if context.value("SELECT current_setting('password_encryption')") != "scram-sha-256":
        yield Reported(
            "password_encryption",
            Severity.WARNING,
            "New passwords are kept as MD5",
            "The server's password_encryption is md5: every password that is set from now on is "
            "kept in a form that signs in by itself when it leaks.",
            as_superuser(
                "ALTER SYSTEM SET password_encryption = 'scram-sha-256';\nSELECT pg_reload_conf();"
            ),
            "server",
        )
    # Verifiers are for superusers alone, and rightly so: without sight of them nothing is told.
    if context.value("SELECT has_column_privilege('pg_authid', 'rolpassword', 'SELECT')"):
        for (role,) in context.rows(_MD5):
            yield Reported(
                f"role {role}",
                Severity.WARNING,
                f"The password of {role} is kept as MD5",
                "Set it once more while password_encryption is scram-sha-256. The old one goes on "
                "working until then.",
                "manage.py provision"
                if role in LOGINS
                # psql asks for the new one. Without a password whoever uses it is shut out.
                else as_superuser(f"\\password {quoted(role)}"),
                f"role {role}",
            )


@check(Area.SECURITY, "Connections that need no password", every=DAILY)
def trusted_connections(context: Context) -> Iterator[Reported]:
    """A line `trust` in pg_hba.conf lets in whoever reaches the server, as whatever login they
    name; `password` sends it in clear.
    """
    if not context.value("SELECT has_function_privilege('pg_hba_file_rules()', 'EXECUTE')"
                         " AND has_table_privilege('pg_hba_file_rules', 'SELECT')"):  # fmt: skip
        # A developer's own server says nothing to be acted on; one that serves people does.
        if settings.PRODUCTION_LIKE:
            role = quoted(context.facts.role)
            context.blind(f"{_NOT_SEEN} can't be seen by {role}.", _ALLOW_RULES.format(role=role))
        return
    for kind, databases, users, address, method in context.rows(_RULES):
        yield from judge_rule(kind, databases, users, address, method)


def judge_rule(
    kind: str, databases: list[str], users: list[str], address: str, method: str
) -> Iterator[Reported]:
    """Report one line of pg_hba.conf, when it lets somebody in without a proof."""
    is_local = kind == "local" or address in {"127.0.0.1", "::1", "localhost", "samehost"}
    if method != "trust" and (method != "password" or is_local or kind == "hostssl"):
        return
    line = " ".join([kind, ",".join(databases), ",".join(users), address, method])
    where = "from this machine" if is_local else f"from {address}"
    what = (
        "is let in without a password"
        if method == "trust"
        else "sends the password in clear over the network"
    )
    yield Reported(
        " ".join(line.split()),
        Severity.WARNING if is_local else Severity.CRITICAL,
        f"Whoever signs in as {', '.join(users)} {where} {what}",
        f"pg_hba.conf has the line `{' '.join(line.split())}`. Let its last word be scram-sha-256, "
        "and reload.",
        as_superuser("SHOW hba_file;\nSELECT pg_reload_conf();"),
        "server",
    )


def _application_login() -> str:
    """The login of the web process; some poolers want a tenant behind its name."""
    name: str = settings.DATABASES["default"].get("USER", "")
    return name.partition(".")[0] or APP


_CREATING = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY (%s) AND rolcreatedb"
# Of the web process's own roles only; that a login may become them is how requests work.
_MEMBERSHIPS = """
    SELECT m.rolname::text, r.rolname::text
    FROM pg_auth_members a
    JOIN pg_roles m ON m.oid = a.member
    JOIN pg_roles r ON r.oid = a.roleid
    WHERE m.rolname = ANY (%s) AND r.rolname <> ALL (%s) ORDER BY 1, 2
"""
_POWERFUL_LOGINS = """
    SELECT r.rolname::text, r.rolsuper, r.rolbypassrls, ARRAY(
        SELECT p.rolname::text FROM pg_roles p
        WHERE p.rolname = ANY (%(powerful)s) AND p.rolname <> 'pg_database_owner'
          AND pg_has_role(r.oid, p.oid, 'MEMBER') ORDER BY 1)
    FROM pg_roles r
    WHERE r.rolcanlogin AND (r.rolsuper
      OR has_database_privilege(r.oid, current_database(), 'CONNECT') AND (r.rolbypassrls
        OR EXISTS (SELECT FROM pg_roles p WHERE p.rolname = ANY (%(powerful)s)
                   AND p.rolname <> 'pg_database_owner' AND pg_has_role(r.oid, p.oid, 'MEMBER'))))
    ORDER BY r.oid
"""
_MD5 = """
    SELECT rolname::text FROM pg_authid
    WHERE rolcanlogin AND rolpassword LIKE 'md5%' ORDER BY 1
"""
_RULES = """
    SELECT type, database, user_name, coalesce(address, ''), auth_method
    FROM pg_hba_file_rules WHERE error IS NULL ORDER BY line_number
"""
