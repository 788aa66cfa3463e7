"""What was done, written down."""
