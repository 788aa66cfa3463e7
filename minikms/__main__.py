"""`python -m minikms` is the console script `minikms`."""

from minikms.cli.main import main

if __name__ == "__main__":
    main(prog_name="minikms")
