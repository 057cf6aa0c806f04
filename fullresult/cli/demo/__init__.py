"""`python -m fullresult demo`: a real worker, and what is recorded of it."""
