"""An adapter of fullresult that keeps records in an append-only file: `journal:///file`."""
