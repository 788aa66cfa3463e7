"""HTTP below the application."""
