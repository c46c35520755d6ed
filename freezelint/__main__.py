"""`python -m freezelint`."""

from freezelint.cli import main

main()
