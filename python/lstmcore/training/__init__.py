"""Training: losses, metrics, optimizers, schedules, callbacks, and the loop that joins them."""
