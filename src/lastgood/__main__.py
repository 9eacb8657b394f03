"""``python -m lastgood`` is the ``lastgood`` command."""

from lastgood.cli.main import main

if __name__ == "__main__":
    main()
