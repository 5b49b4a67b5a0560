"""Checks of the area security."""

from __future__ import annotations

from ops.health.checks.exposed import sensitive_columns, unprotected_copies, views_past_policies
from ops.health.checks.functions import (
    definer_functions,
    extension_versions,
    extensions_within_reach,
    function_search_paths,
)
from ops.health.checks.granted import public_rights, undeclared_rights
from ops.health.checks.logins import (
    application_login,
    password_storage,
    powerful_roles,
    trusted_connections,
)
from ops.health.checks.policy_shapes import (
    open_policies,
    overlapping_policies,
    policies_per_row,
    policies_without_index,
)
from ops.health.checks.privileges import (
    expiring_passwords,
    parameter_rights,
    role_attributes,
    system_functions,
    untrusted_functions,
)
from ops.health.checks.row_security import missing_policies, row_security, unprotected_tables
from ops.health.checks.secrets import api_keys, deployment, settings_secrets
from ops.health.checks.server_settings import session_settings
from ops.health.contract import Check

# What lets one account see another's rows comes first.
CHECKS: tuple[Check, ...] = (
    application_login,
    session_settings,
    row_security,
    unprotected_tables,
    open_policies,
    views_past_policies,
    unprotected_copies,
    definer_functions,
    parameter_rights,
    system_functions,
    untrusted_functions,
    undeclared_rights,
    public_rights,
    sensitive_columns,
    function_search_paths,
    missing_policies,
    overlapping_policies,
    policies_per_row,
    policies_without_index,
    extensions_within_reach,
    extension_versions,
    powerful_roles,
    role_attributes,
    password_storage,
    expiring_passwords,
    trusted_connections,
    settings_secrets,
    deployment,
    api_keys,
)
