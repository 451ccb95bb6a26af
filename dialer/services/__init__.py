"""Use cases that the API offers: they own the transaction, the store owns the SQL."""
