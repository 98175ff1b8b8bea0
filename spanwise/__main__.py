"""`python -m spanwise` is the command."""

from spanwise.cli import main

main()
