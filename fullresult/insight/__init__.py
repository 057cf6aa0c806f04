"""Questions about records: they read the storage, and neither write to it nor touch the broker."""
