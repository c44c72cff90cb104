"""`python -m ncpl`: the program `ncpl`."""

from ncpl.entry import main

if __name__ == "__main__":
    main()
