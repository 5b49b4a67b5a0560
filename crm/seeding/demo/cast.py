"""Who and what a demo business's year is told with: its people, products and customers."""

from __future__ import annotations

import datetime
import zoneinfo
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from crm.models import (
    Account,
    Customer,
    CustomerStatus,
    Invoice,
    InvoiceLine,
    Product,
    Quote,
    QuoteLine,
    ServiceSite,
    User,
)
from crm.seeding import places
from crm.seeding.demo.businesses import Business
from crm.seeding.trades import Work
from crm.services.customers import archive_customer

_CUSTOMERS, _LEADS, _ARCHIVED, _WITH_SITE = 26, 4, 2, 6


@dataclass
class Cast:
    """Everything the story of one business refers to."""

    business: Business
    account: Account
    owner: User
    technician: User
    rng: Random
    today: datetime.date
    products: list[Product] = field(default_factory=list)
    customers: list[Customer] = field(default_factory=list)
    sites: dict[int, ServiceSite] = field(default_factory=dict)

    def day(self, offset: int) -> datetime.date:
        """A day counted from today."""
        return self.today + datetime.timedelta(days=offset)

    def at(self, day: datetime.date, hour: int) -> datetime.datetime:
        """An hour of a day where the business is."""
        zone = zoneinfo.ZoneInfo(self.account.time_zone)
        return datetime.datetime.combine(day, datetime.time(hour), zone)

    def someone(self) -> Customer:
        """A customer there is work for."""
        return self.rng.choice(self.customers)

    def some_work(self) -> Work:
        """A kind of work of the trade."""
        return self.rng.choice(self.business.trade.work)

    def add_lines(self, document: Quote | Invoice, work: Work) -> None:
        """Fill a draft with what the work takes."""
        for position, (article, least, most) in enumerate(work.parts):
            quantity = Decimal(self.rng.randint(least, most))
            product = self.products[article]
            line: QuoteLine | InvoiceLine
            if isinstance(document, Quote):
                line = QuoteLine(quote=document, position=position, product=product)
            else:
                line = InvoiceLine(invoice=document, position=position, product=product)
            line.quantity = quantity
            line.copy_product()
            line.save()

    def make_products(self) -> None:
        """The trade's articles, taxed as in the business's country."""
        country = self.business.country
        for number, article in enumerate(self.business.trade.articles, 1):
            self.products.append(
                Product.objects.create(
                    kind=article.kind,
                    name=article.name,
                    sku=f"{self.business.trade.key[:3].upper()}-{number:03d}",
                    unit=article.unit,
                    unit_price=Decimal(article.price),
                    tax_name=country.tax_name,
                    tax_rate=Decimal(country.tax_rate),
                )
            )

    def make_customers(self) -> None:
        """Active customers, some with a second site, and a few leads and archived ones."""
        names = self.rng.sample(places.LAST_NAMES, _CUSTOMERS)
        for number, last_name in enumerate(names):
            customer = self._make_customer(number, last_name)
            if number < _LEADS:
                continue
            if number < _LEADS + _ARCHIVED:
                archive_customer(customer=customer, by=self.owner)
                continue
            self.customers.append(customer)
            if len(self.sites) < _WITH_SITE:
                self.sites[customer.pk] = self._make_site(customer)

    def _make_customer(self, number: int, last_name: str) -> Customer:
        rng, country = self.rng, self.business.country
        company, title, first_name = "", "", rng.choice(places.FIRST_NAMES)
        if number % 3 == 0:
            company = f"{rng.choice(places.COMPANY_NAMES)} {rng.choice(places.COMPANY_KINDS)}"
            title = rng.choice(places.JOB_TITLES)
        city, region, postal_code = rng.choice(country.towns)
        created = self.at(self.day(-420 + 16 * number), 10)
        if number < _LEADS:
            created = self.at(self.day(-9 + 2 * number), 10)
        return Customer.objects.create(
            status=CustomerStatus.LEAD if number < _LEADS else CustomerStatus.ACTIVE,
            first_name=first_name,
            last_name=last_name,
            company_name=company,
            job_title=title,
            email=f"{first_name}.{last_name.replace("'", '')}@example.com".lower(),
            phone=country.phone(rng.randint(0, 9_999))[0],
            address_line1=f"{rng.randint(1, 999)} {rng.choice(country.streets)}",
            city=city,
            region=region,
            postal_code=postal_code,
            country=country.name,
            created_at=created,
        )

    def _make_site(self, customer: Customer) -> ServiceSite:
        city, region, postal_code = self.rng.choice(self.business.country.towns)
        return ServiceSite.objects.create(
            customer=customer,
            name=self.rng.choice(("Rental", "Workshop", "Summer house", "Office", "Warehouse")),
            address_line1=f"{self.rng.randint(1, 999)} "
            f"{self.rng.choice(self.business.country.streets)}",
            city=city,
            region=region,
            postal_code=postal_code,
            country=self.business.country.name,
            access_notes=self.rng.choice(("Key box by the door.", "Ring twice.", "Dog is kind.")),
        )
