"""``python -m climsim``: the command line."""

from climsim.cli import main

if __name__ == "__main__":
    main()
