"""`python -m fullresult demo`: watch a real worker being remembered."""
