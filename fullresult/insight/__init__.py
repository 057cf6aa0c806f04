"""Questions: reads only, and never touches the broker."""
