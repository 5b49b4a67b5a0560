"""The admin's pages of plans and subscriptions. Importing this package registers them."""

from billing.admin import plans, subscriptions

__all__ = ["plans", "subscriptions"]
