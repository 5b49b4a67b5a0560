"""Who the demo's businesses are."""

from __future__ import annotations

from dataclasses import dataclass

from crm.seeding.places import CANADA, UNITED_KINGDOM, UNITED_STATES, Country
from crm.seeding.trades import CLEANING, LANDSCAPING, PLUMBING, Trade


@dataclass(frozen=True)
class Business:
    """A business of the demo and its three people: owner, office, technician."""

    name: str
    domain: str
    plan: str
    trade: Trade
    country: Country
    people: tuple[tuple[str, str], tuple[str, str], tuple[str, str]]
    prices_include_tax: bool = False

    def email(self, role: str) -> str:
        """What somebody of the business signs in with."""
        return f"{role}@{self.domain}"


BUSINESSES = (
    Business(
        "Cascade Plumbing",
        "demo.example",
        "professional",
        PLUMBING,
        UNITED_STATES,
        (("Dana", "Whitfield"), ("Marcus", "Bell"), ("Luis", "Ortega")),
    ),
    Business(
        "Brightside Cleaning",
        "second.example",
        "starter",
        CLEANING,
        UNITED_KINGDOM,
        (("Priya", "Shah"), ("Tom", "Hughes"), ("Ewa", "Kowalska")),
        prices_include_tax=True,
    ),
    Business(
        "Greenline Landscaping",
        "third.example",
        "enterprise",
        LANDSCAPING,
        CANADA,
        (("Noah", "Tremblay"), ("Grace", "Chan"), ("Owen", "Singh")),
    ),
)
