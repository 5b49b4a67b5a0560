"""Database operations. Knows neither crm nor billing."""
