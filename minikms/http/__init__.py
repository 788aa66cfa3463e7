"""HTTP below the applications in web/ and doors/."""
