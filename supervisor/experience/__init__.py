"""The experience store: steps of play in PostgreSQL or SQLite, in and out as columns."""
