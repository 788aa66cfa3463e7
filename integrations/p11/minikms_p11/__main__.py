"""`python -m minikms_p11`."""

from minikms_p11.command import main

main()
