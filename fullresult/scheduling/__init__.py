"""Tasks that wait in the storage: diverted, claimed, sent at most once."""
