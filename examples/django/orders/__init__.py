"""Orders, and the tasks that charge them."""
