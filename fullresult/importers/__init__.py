"""What other programs recorded, read from their tables and files and merged into the records."""
