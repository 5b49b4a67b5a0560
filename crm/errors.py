"""The one error class that every edge of crm catches and shows."""


class CrmError(Exception):
    """An expected refusal, told in words a dispatcher can act on. Nothing was changed."""
