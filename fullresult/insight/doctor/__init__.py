"""What may go wrong with an app's tasks, with the evidence that it does or will."""
