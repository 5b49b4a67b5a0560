"""Loading made-up businesses with their plans: composes what `crm.seeding` writes."""
