"""Subscription plans and user subscriptions. May import crm and ops."""
