"""Rights that reach past tables: parameters, the server's own functions, code from outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ops.health.checks.dangerous import RULES
from ops.health.checks.rights import quoted_role
from ops.health.checks.row_policies import EVERYBODY
from ops.health.checks.server_settings import our_logins
from ops.health.context import Context
from ops.health.contract import DAILY, SOON, Reported, check, several
from ops.health.quoting import quoted
from ops.health.steps import as_superuser
from ops.models import Area, Severity
from ops.postgres.roles import APP, OWNER, REPLICATION, REQUEST_ROLES

# Who answers requests: what these may, whoever finds a hole in the site may.
_REQUESTS = {EVERYBODY, APP, *REQUEST_ROLES}


@check(Area.SECURITY, "Settings that others than superusers may change", every=SOON)
def parameter_rights(context: Context) -> Iterator[Reported]:
    """GRANT SET ON PARAMETER lets a role change what only superusers change, such as the setting
    that switches triggers and foreign keys off. ALTER SYSTEM on one changes the whole server.
    """
    for name, role, privilege in context.rows(_PARAMETERS):
        everywhere = privilege == "ALTER SYSTEM"
        rule = RULES.get(name)
        means = rule.means if rule else "Only superusers change it otherwise."
        worst = everywhere or (rule and rule.severity is Severity.CRITICAL) or role in _REQUESTS
        yield Reported(
            f"{privilege} {name} {role}",
            Severity.CRITICAL if worst else Severity.WARNING,
            f"{_who(role)} may {'set' if not everywhere else 'change for the whole server'} {name}",
            f"It was granted by GRANT {privilege} ON PARAMETER. {means}",
            as_superuser(f"REVOKE {privilege} ON PARAMETER {name} FROM {quoted_role(role)};"),
            f"role {role}",
        )


@check(Area.SECURITY, "The server's own functions in others' hands", every=SOON)
def system_functions(context: Context) -> Iterator[Reported]:
    """PostgreSQL keeps functions that read files, load files or change the server's state to
    superusers. A grant on one of them lets a role read passwords and other databases' files.
    """
    granted: dict[str, list[str]] = defaultdict(list)
    for function, role in context.rows(_FUNCTIONS, [OWNER]):
        granted[role].append(function)
    for role, functions in granted.items():
        yield Reported(
            f"functions {role}",
            Severity.CRITICAL if role in _REQUESTS else Severity.WARNING,
            f"{_who(role)} may call {several(functions)}",
            "PostgreSQL or the extension keeps them to superusers and to roles of the server: they "
            "read or write files, or change the server's state. This database grants them.",
            _revoking(functions, quoted_role(role)),
            f"role {role}",
        )
    calls = [row[0] for row in context.rows(_DBLINK)]
    if calls:
        yield Reported(
            "dblink",
            Severity.WARNING,
            "Everybody may open connections by the extension dblink",
            "Whoever can send SQL reaches other servers and this one's other databases from "
            "within, as the server's own user. It is granted to everybody when it is installed.",
            _revoking(calls, "PUBLIC"),
            "extension dblink",
        )


@check(Area.SECURITY, "Functions in languages that nothing holds", every=SOON)
def untrusted_functions(context: Context) -> Iterator[Reported]:
    """A function in C, or in an untrusted language such as plpython3u, does in the server's
    process whatever the server's user may: read files, run programs. Extensions bring such
    functions; one that belongs to no extension was made by hand.
    """
    for function, language, owner in context.rows(_UNTRUSTED):
        yield Reported(
            function,
            Severity.CRITICAL,
            f"The function {function} is in the language {language} and of no extension",
            f"It belongs to {owner}, and runs with all rights of the server's user.",
            as_superuser(f"DROP ROUTINE {function};"),
            f"function {function}",
        )


@check(Area.SECURITY, "Logins that can give themselves more, or copy everything", every=DAILY)
def role_attributes(context: Context) -> Iterator[Reported]:
    """CREATEROLE makes logins and gives them memberships, up to PostgreSQL 15 in any role but a
    superuser's. REPLICATION copies the whole server, past every grant and policy.
    """
    known = [OWNER, REPLICATION, *our_logins()]
    for role, attribute in context.rows(_ATTRIBUTES, {"replication": known[1:], "known": known}):
        yield Reported(
            f"{role} {attribute}",
            Severity.WARNING,
            f"{role} may sign in and has {attribute}",
            "It gives itself and others rights that nobody declared."
            if attribute == "CREATEROLE"
            else "It reads all databases of the server as they are on the disk.",
            as_superuser(f"ALTER ROLE {quoted(role)} NO{attribute};"),
            f"role {role}",
        )


@check(Area.SECURITY, "Passwords that end", every=DAILY)
def expiring_passwords(context: Context) -> Iterator[Reported]:
    """VALID UNTIL ends a password at a moment that nobody remembers. From then on the site, its
    backups or its WAL archive can't sign in.
    """
    for role, until, is_past in context.rows(
        _EXPIRING, {"ours": our_logins(), "now": context.now, "days": context.limits.password_days}
    ):
        moment = f"{until:%Y-%m-%d %H:%M} UTC"
        yield Reported(
            f"role {role}",
            Severity.CRITICAL if is_past else Severity.WARNING,
            f"The password of {role} {'ended' if is_past else 'ends'} at {moment}",
            "New sessions are refused; those that are open go on."
            if is_past
            else "From then on new sessions are refused.",
            as_superuser(f"ALTER ROLE {quoted(role)} VALID UNTIL 'infinity';"),
            f"role {role}",
        )


def _revoking(functions: list[str], role: str) -> str:
    """They belong to a superuser, so only one can take them from others."""
    return as_superuser(
        "\n".join(f"REVOKE EXECUTE ON FUNCTION {each} FROM {role};" for each in functions)
    )


def _who(role: str) -> str:
    return "Everybody" if role == EVERYBODY else role


_ROLE = f"CASE a.grantee WHEN 0 THEN '{EVERYBODY}' ELSE pg_get_userbyid(a.grantee)::text END"
# Number 10 is the superuser that the server was made with, whose parameters are.
_PARAMETERS = f"""
    SELECT p.parname::text, {_ROLE}, a.privilege_type
    FROM pg_parameter_acl p, aclexplode(p.paracl) a
    WHERE a.grantee <> 10 ORDER BY 1, 2, 3
"""  # noqa: S608 (constants)
# More than was granted when the server was made or the extension installed.
_FUNCTIONS = f"""
    SELECT format('%%I.%%I(%%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
        {_ROLE}
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    LEFT JOIN pg_init_privs i ON i.objoid = p.oid AND i.classoid = 'pg_proc'::regclass,
    aclexplode(p.proacl) a
    WHERE (n.nspname = 'pg_catalog' OR i.objoid IS NOT NULL)
      AND a.grantee <> p.proowner AND pg_get_userbyid(a.grantee) <> %s
      AND NOT EXISTS (
        SELECT FROM aclexplode(coalesce(i.initprivs, acldefault('f', p.proowner))) d
        WHERE d.grantee = a.grantee)
    ORDER BY 2, 1
"""  # noqa: S608 (constants)
_DBLINK = """
    SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
    FROM pg_extension x
    JOIN pg_depend e ON e.refobjid = x.oid AND e.refclassid = 'pg_extension'::regclass
        AND e.classid = 'pg_proc'::regclass AND e.deptype = 'e'
    JOIN pg_proc p ON p.oid = e.objid
    JOIN pg_namespace n ON n.oid = p.pronamespace,
    aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE x.extname = 'dblink' AND a.grantee = 0
      AND p.proname IN ('dblink', 'dblink_connect', 'dblink_exec', 'dblink_send_query',
        'dblink_open', 'dblink_get_result')
    ORDER BY 1
"""
_UNTRUSTED = """
    SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
        l.lanname::text, pg_get_userbyid(p.proowner)::text
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_language l ON l.oid = p.prolang
    WHERE NOT l.lanpltrusted AND l.lanname <> 'sql' AND p.oid >= 16384
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = p.oid
        AND e.classid = 'pg_proc'::regclass AND e.deptype IN ('e', 'i'))
    ORDER BY 1
"""
_ATTRIBUTES = """
    SELECT rolname::text, 'CREATEROLE' FROM pg_roles
    WHERE rolcanlogin AND rolcreaterole AND NOT rolsuper AND rolname <> ALL (%(known)s)
      AND has_database_privilege(oid, current_database(), 'CONNECT')
    UNION ALL
    SELECT rolname::text, 'REPLICATION' FROM pg_roles
    WHERE rolcanlogin AND rolreplication AND NOT rolsuper AND rolname <> ALL (%(replication)s)
    ORDER BY 1, 2
"""
_EXPIRING = """
    SELECT rolname::text, rolvaliduntil AT TIME ZONE 'UTC', rolvaliduntil <= %(now)s
    FROM pg_roles
    WHERE rolcanlogin AND rolname = ANY (%(ours)s) AND isfinite(rolvaliduntil)
      AND rolvaliduntil <= %(now)s + %(days)s * interval '1 day'
    ORDER BY 1
"""
