"""The storage adapter for MongoDB."""
