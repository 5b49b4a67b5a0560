"""Two-factor sign-in: a code from an authenticator app after the password.

Required of platform administrators (settings.REQUIRE_TWO_FACTOR), offered to everybody. The
devices' tables are reachable by the bare login only, so each view runs outside a request's role.
"""
