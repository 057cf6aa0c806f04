"""What goes on while a storage does not answer: the breaker, the spool, the flusher."""
