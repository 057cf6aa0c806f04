"""What a workflow that broke still has to do, read from its records: how it could go on."""
