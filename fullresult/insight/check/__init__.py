"""The deploy guard: what waits in the storage, bound to the code that runs here."""
