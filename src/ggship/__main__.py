"""Lets `python -m ggship` do what the console script does."""

from ggship.cli import main

if __name__ == "__main__":
    main()
