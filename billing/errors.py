"""The one error class that every edge of billing catches and shows."""


class BillingError(Exception):
    """An expected refusal, told in words that can be acted on. Nothing was changed."""
