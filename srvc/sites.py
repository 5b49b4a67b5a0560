"""The one admin site."""

from unfold.sites import UnfoldAdminSite


class SrvcAdminSite(UnfoldAdminSite):
    """SRVC's admin."""
