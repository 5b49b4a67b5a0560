"""Looking by hand: tables, reports, plans of statements; what commands show and pages may."""
