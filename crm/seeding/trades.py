"""What made-up businesses sell and do, by trade."""

from __future__ import annotations

from dataclasses import dataclass

from crm.models import ProductKind


@dataclass(frozen=True)
class Article:
    """A product of a trade; the price is per unit, without tax."""

    name: str
    kind: str
    unit: str
    price: str


@dataclass(frozen=True)
class Work:
    """A kind of job: its title, how long it takes, and the articles it is billed with."""

    title: str
    minutes: int
    # Position in the trade's articles, and the least and most of it.
    parts: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Trade:
    """A trade."""

    key: str
    label: str
    articles: tuple[Article, ...]
    work: tuple[Work, ...]


def _service(name: str, unit: str, price: str) -> Article:
    return Article(name, ProductKind.SERVICE, unit, price)


def _material(name: str, price: str, unit: str = "piece") -> Article:
    return Article(name, ProductKind.MATERIAL, unit, price)


PLUMBING = Trade(
    "plumbing",
    "Plumbing",
    (
        _service("Plumber, per hour", "hour", "125"),
        _service("Call-out", "visit", "79"),
        _service("Drain camera inspection", "visit", "195"),
        _material("Kitchen faucet", "184.50"),
        _material("Toilet, complete", "329"),
        _material("Water heater, 50 gal", "1249"),
        _material("Copper pipe", "6.85", "foot"),
        _material("Shut-off valve", "23.4"),
    ),
    (
        Work("Replace kitchen faucet", 90, ((0, 1, 2), (3, 1, 1))),
        Work("Clear blocked drain", 60, ((1, 1, 1), (0, 1, 2))),
        Work("Install water heater", 240, ((0, 3, 5), (5, 1, 1), (6, 6, 20))),
        Work("Repair leaking toilet", 60, ((1, 1, 1), (0, 1, 1), (7, 1, 2))),
        Work("Camera inspection of main drain", 90, ((2, 1, 1),)),
        Work("Replace toilet", 120, ((0, 2, 3), (4, 1, 2), (7, 1, 1))),
        Work("Repipe bathroom", 480, ((0, 6, 9), (6, 30, 80), (7, 2, 5))),
    ),
)
HVAC = Trade(
    "hvac",
    "Heating & Cooling",
    (
        _service("HVAC technician, per hour", "hour", "139"),
        _service("Seasonal tune-up", "visit", "149"),
        _service("Diagnosis", "visit", "95"),
        _material("Filter, pleated 16x25", "18.75"),
        _material("Smart thermostat", "239"),
        _material("Refrigerant R-410A", "64.2", "pound"),
        _material("Blower motor", "418"),
        _material("Heat pump, 3 ton", "3890"),
    ),
    (
        Work("Spring tune-up", 75, ((1, 1, 1), (3, 1, 2))),
        Work("No heat: diagnose and repair", 120, ((2, 1, 1), (0, 1, 3))),
        Work("Replace blower motor", 180, ((0, 2, 3), (6, 1, 1))),
        Work("Install smart thermostat", 60, ((0, 1, 1), (4, 1, 2))),
        Work("Recharge air conditioner", 90, ((0, 1, 2), (5, 2, 6))),
        Work("Install heat pump", 480, ((0, 8, 12), (7, 1, 1), (4, 1, 1))),
    ),
)
CLEANING = Trade(
    "cleaning",
    "Cleaning",
    (
        _service("Cleaner, per hour", "hour", "28.5"),
        _service("Deep clean, per room", "room", "65"),
        _service("Carpet cleaning", "room", "48"),
        _service("Window cleaning", "visit", "55"),
        _material("Eco cleaning pack", "14.95"),
        _material("Bin liners, box", "9.6", "box"),
    ),
    (
        Work("Weekly office clean", 120, ((0, 2, 6), (5, 1, 1))),
        Work("End of tenancy clean", 300, ((1, 3, 6), (2, 1, 4), (4, 1, 2))),
        Work("Carpet clean", 120, ((2, 2, 5),)),
        Work("Window clean", 90, ((3, 1, 1),)),
        Work("Deep clean of kitchen and bathrooms", 180, ((1, 2, 3), (4, 1, 1))),
    ),
)
LANDSCAPING = Trade(
    "landscaping",
    "Landscaping",
    (
        _service("Gardener, per hour", "hour", "58"),
        _service("Lawn mowing", "visit", "72"),
        _service("Tree pruning", "tree", "145"),
        _service("Irrigation check", "visit", "110"),
        _material("Topsoil", "46.5", "cubic yard"),
        _material("Bark mulch", "39", "cubic yard"),
        _material("Shrub, 5 gal", "34.25"),
        _material("Paving stone", "4.35"),
    ),
    (
        Work("Mow and edge lawn", 60, ((1, 1, 1),)),
        Work("Plant front border", 240, ((0, 3, 6), (6, 6, 18), (5, 1, 3))),
        Work("Prune trees", 180, ((2, 1, 5),)),
        Work("Lay patio", 480, ((0, 12, 24), (7, 80, 240), (4, 1, 3))),
        Work("Spring clean-up", 180, ((0, 2, 5), (5, 1, 4))),
        Work("Irrigation start-up", 90, ((3, 1, 1), (0, 1, 2))),
    ),
)
TRADES = (PLUMBING, HVAC, CLEANING, LANDSCAPING)
