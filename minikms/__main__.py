"""The console script `minikms`, and `python -m minikms`."""

from minikms.serve import garbage


def main() -> None:
    """Run the command."""
    with garbage.growing():
        from minikms.cli.main import main as command

    command(prog_name="minikms")


if __name__ == "__main__":
    main()
