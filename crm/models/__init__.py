"""The tables of the CRM, one file per topic."""

from crm.models.catalogue import Product, ProductKind
from crm.models.customers import Customer, CustomerStatus, ServiceSite
from crm.models.imports import ImportKind, ImportRun, ImportStatus
from crm.models.invoices import Invoice, InvoiceLine, InvoiceStatus
from crm.models.jobs import Job, JobPriority, JobStatus
from crm.models.numbering import DocumentCounter
from crm.models.payments import Payment, PaymentAllocation, PaymentMethod, PaymentStatus
from crm.models.quotes import Quote, QuoteLine, QuoteStatus
from crm.models.users import (
    AUDITOR_GROUP,
    OFFICE_GROUP,
    OWNER_GROUP,
    PLATFORM_ADMINISTRATOR_GROUP,
    PLATFORM_GROUPS,
    TECHNICIAN_GROUP,
    Account,
    User,
)

__all__ = [
    "AUDITOR_GROUP",
    "OFFICE_GROUP",
    "OWNER_GROUP",
    "PLATFORM_ADMINISTRATOR_GROUP",
    "PLATFORM_GROUPS",
    "TECHNICIAN_GROUP",
    "Account",
    "Customer",
    "CustomerStatus",
    "DocumentCounter",
    "ImportKind",
    "ImportRun",
    "ImportStatus",
    "Invoice",
    "InvoiceLine",
    "InvoiceStatus",
    "Job",
    "JobPriority",
    "JobStatus",
    "Payment",
    "PaymentAllocation",
    "PaymentMethod",
    "PaymentStatus",
    "Product",
    "ProductKind",
    "Quote",
    "QuoteLine",
    "QuoteStatus",
    "ServiceSite",
    "User",
]
