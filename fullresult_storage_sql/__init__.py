"""Records of `fullresult` in PostgreSQL and SQLite."""
