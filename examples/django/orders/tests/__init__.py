"""Tests of the shop: nothing of them reaches the real database or a broker."""
