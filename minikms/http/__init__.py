"""HTTP below the applications: web/ and doors/ stand on it."""
